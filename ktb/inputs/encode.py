"""A raw X input -> what a checkpoint's X stream gets, at the RGB image's size, and what to tell the user."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ktb.config import InputConfig
from ktb.inputs.alignment.place import place_encoded
from ktb.inputs.detect import taken_for
from ktb.inputs.encoders.depth import fill_holes
from ktb.inputs.events.stream import EventStream
from ktb.inputs.histogram import Histogram, ends
from ktb.inputs.limits import InputError
from ktb.inputs.options import AUTO, XOptions
from ktb.inputs.types import DepthMap, Encoded, Origin, RawX, as_raw
from ktb.modalities import DEFAULT_ENCODINGS, ENCODERS, MODALITIES, Encoding, Modality
from ktb.utils.lazy import resolve
from ktb.visualize import scalar_to_colors


@dataclass(frozen=True, eq=False)
class EncodedX:
    """An X input at the size of the RGB image.

    Attributes:
        image: (H, W, 3) float32, what the network gets before its normalisation; 0..1 (aolp -1..1).
        preview: (H, W, 3) uint8 RGB for display; depth is bright where near, grey where not measured.
        summary: one line.
        modality, encoding: what X was taken for, and the encoder that made the image.
        facts: title -> text for display: file, format, unit, range, holes, ...
        histogram: of the physical values, None if there are none.
        holes: (H, W) bool where nothing was measured, None if there is no such place.
        depth: its metres at the RGB image's size, its figures as measured at its own size; None if no depth.
        warnings: sentences that every interface shows.
        origin: "measured", "estimated" by a network, or "missing": the network runs without X.
    """

    image: np.ndarray
    preview: np.ndarray
    summary: str
    modality: Modality
    encoding: Encoding
    facts: Mapping[str, str]
    histogram: Histogram | None
    holes: np.ndarray | None
    depth: DepthMap | None
    warnings: tuple[str, ...] = ()
    origin: Origin = "measured"


def encode_x(
    x: np.ndarray | EventStream | RawX,
    inputs: InputConfig,
    size_hw: tuple[int, int] | None = None,
    options: XOptions = AUTO,
) -> EncodedX:
    """What a checkpoint with these inputs gets of an X input.

    Args:
        x: from `ktb.inputs.read_x`, or an array, or a stream.
        inputs: of the checkpoint: its encoder and the encoder's options.
        size_hw: height and width of the RGB image; by default X's own size, or the calibration's.
        options: what the user says about X.

    Raises:
        InputError: proportions that do not match, an alignment that cannot be, and what encoders refuse.
    """
    raw = as_raw(x)
    if raw.origin == "estimated":  # in metres, aligned: what is said about a camera's file does not hold
        options = XOptions(field_of_view=options.field_of_view, intrinsics=options.intrinsics, unit="m")
    modality, warnings = taken_for(raw, inputs.modality, options)
    if raw.kind == "events" and modality != "event":
        noun = MODALITIES[modality].noun
        raise InputError(f"{raw.name}: events cannot be read as {noun}; say event or auto")
    encoding = inputs.encoding if modality == inputs.modality else DEFAULT_ENCODINGS[modality]
    if raw.kind == "events" and not encoding.startswith("event"):
        warnings += (
            "This checkpoint was trained on event pictures of unknown making: the stream was drawn as "
            "positive events, negative events and recency, which may not be what it knows.",
        )
        encoding = "event_frame"
    encoded = encoder(encoding)(raw, inputs, options)
    own_size = options.calibration.rgb.size_hw if options.calibration is not None else raw.size_hw
    height, width = size_hw or own_size
    size_hw = (height, width)
    placed = place_encoded(encoded, size_hw, options, raw.name)
    scaled, holes = placed.image, placed.holes
    if encoding == "depth" and options.calibration is not None:  # the other camera measures other distances
        assert placed.metres is not None
        scaled = np.clip(fill_holes(placed.metres) / inputs.max_metres, 0, 1)
    if scaled.ndim == 2:
        scaled = cv2.merge([scaled, scaled, scaled])
    own = {"file": raw.name, "format": raw.format, "size": f"{raw.size_hw[1]} x {raw.size_hw[0]}"}
    kind = {"LiDAR": "an image projected already, taken as it is"} if modality == "lidar" else {}
    facts = own | kind | dict(raw.facts) | dict(encoded.facts) | placed.facts
    mark = "ESTIMATED " if raw.origin == "estimated" else ""
    return EncodedX(
        image=np.ascontiguousarray(scaled, np.float32),
        preview=_preview(placed.display, encoded.far_is_bright),
        summary="; ".join((f"{mark}{modality}, {raw.format}, {encoded.summary}", *placed.facts.values())),
        modality=modality,
        encoding=encoding,
        facts=facts,
        histogram=encoded.histogram,
        holes=holes if holes.any() or modality == "depth" else None,
        depth=replace(encoded.depth, metres=placed.metres) if encoded.depth else None,
        warnings=(*warnings, *raw.notes, *encoded.notes, *placed.notes),
        origin=raw.origin,
    )


def encoder(encoding: Encoding) -> Callable[[RawX, InputConfig, XOptions], Encoded]:
    """The function that makes an encoding, as `ktb.modalities.ENCODERS` names it."""
    return resolve(ENCODERS[encoding])


def missing_x(inputs: InputConfig, size_hw: tuple[int, int]) -> EncodedX:
    """No X: the network runs with zero tokens in its X stream, as masked-modality training showed it."""
    blank = np.zeros((*size_hw, 3), np.float32)
    return EncodedX(
        image=blank,
        preview=np.full((*size_hw, 3), 128, np.uint8),
        summary="no X: zero tokens in the X stream",
        modality=inputs.modality,
        encoding=inputs.encoding,
        facts={"file": "none"},
        histogram=None,
        holes=None,
        depth=None,
        warnings=(
            "There is no X: this result comes from the RGB image alone. The X head has only what the "
            "prompts pass to it from there.",
        ),
        origin="missing",
    )


def _preview(display: np.ndarray, far_is_bright: bool) -> np.ndarray:
    if display.ndim == 3:
        return display
    near, far = ends(display[~np.isnan(display)], 2, 98)
    return scalar_to_colors(display, near, far) if far_is_bright else scalar_to_colors(display, far, near)
