"""Encoding of a raw X input for a checkpoint's X stream at the RGB image's size, with facts and warnings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ktb.config import InputConfig
from ktb.inputs.alignment.cameras import Intrinsics
from ktb.inputs.alignment.place import Placed, place_encoded
from ktb.inputs.alignment.turn import turned
from ktb.inputs.detect import taken_for
from ktb.inputs.encoders import depth_picture
from ktb.inputs.encoders.byte_order import in_order
from ktb.inputs.encoders.channels import choose_channel
from ktb.inputs.encoders.depth import fill_holes
from ktb.inputs.encoders.depth_units import NEAR_BRIGHT, NEAR_DARK
from ktb.inputs.events.stream import EventStream
from ktb.inputs.histogram import Histogram, ends
from ktb.inputs.limits import InputError
from ktb.inputs.options import AUTO, XOptions
from ktb.inputs.types import DepthMap, Encoded, MeasuredValues, Origin, RawX, RgbImage, as_raw
from ktb.inputs.units import kind_of, unit_name
from ktb.modalities import DEFAULT_ENCODINGS, ENCODERS, MODALITIES, Encoding, Modality
from ktb.utils.lazy import resolve
from ktb.utils.text import percent
from ktb.visualize import scalar_to_colors

_KINDS = {"8-bit": "8-bit levels", "levels": "levels of more than 8 bits", "float": "fractions"}


@dataclass(frozen=True, eq=False)
class EncodedX:
    """An encoded X input at the size of the RGB image.

    Attributes:
        image: (H, W, 3) float32, network input before normalisation; 0..1 (aolp -1..1).
        preview: (H, W, 3) uint8 RGB for display; depth is bright where near, grey where not measured.
        summary: description in one line.
        modality, encoding: the modality used for X, and the encoder of the image.
        facts: title -> text for display: file, format, unit, range, holes, ...
        histogram: of the physical values, None if there are none.
        holes: (H, W) bool, pixels without a measurement, None if there are none.
        depth: metres at the RGB image's size with statistics at its own size; None unless X is depth.
        measured: other measured values at the RGB image's size, such as degrees Celsius; None for depth and
            where a pixel has no single value (events, angles, colours).
        warnings: sentences shown by every interface.
        origin: "measured", "estimated" by a network, or "missing": the network runs without X.
        camera: of `depth` in the RGB image's pixels; None unless X is depth.
        camera_is_assumed: whether the user gave no camera.
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
    camera: Intrinsics | None = None
    camera_is_assumed: bool = False
    measured: MeasuredValues | None = None


def encode_x(
    x: np.ndarray | EventStream | RawX,
    inputs: InputConfig,
    size_hw: tuple[int, int] | None = None,
    options: XOptions = AUTO,
    rgb: RgbImage | None = None,
) -> EncodedX:
    """Encode an X input for a checkpoint with these inputs.

    Args:
        x: the result of `ktb.inputs.read_x`, an array, or an event stream.
        inputs: input configuration of the checkpoint: its encoder and the encoder's options.
        size_hw: (height, width) of the RGB image; by default X's own size, or the calibration's.
        options: the user's options of X.
        rgb: the RGB image from `ktb.read_rgb`, in place of its size: X may be turned as its EXIF orientation
            turned it, and its notes are among the warnings.

    Raises:
        InputError: the aspect ratios differ, the alignment is impossible, or the encoder refuses X.
    """
    raw = as_raw(x)
    if isinstance(x, np.ndarray):  # a file's byte order was judged as it was read
        raw = in_order(raw, options)
    if rgb is not None:
        size_hw = rgb.pixels.shape[:2]
    if raw.origin == "estimated":  # in metres and aligned: options for a camera's file do not apply
        options = XOptions(field_of_view=options.field_of_view, intrinsics=options.intrinsics, unit="m")
    raw = turned(choose_channel(raw, said_modality(inputs, options), options), options, rgb)
    modality, warnings = taken_for(raw, inputs.modality, options)
    if rgb is not None:
        warnings = (*rgb.notes, *warnings)
    is_events = raw.kind in ("events", "counts")
    if is_events and modality != "event":
        noun = MODALITIES[modality].noun
        raise InputError(f"{raw.name}: events cannot be read as {noun}; give modality event or auto")
    encoding = inputs.encoding if modality == inputs.modality else DEFAULT_ENCODINGS[modality]
    if is_events and not encoding.startswith("event"):
        warnings += (
            "This checkpoint was trained on event images of unknown encoding: the stream was encoded as "
            "positive events, negative events and recency, which may differ from training.",
        )
        encoding = "event_frame"
    if modality == inputs.modality == "hha" and raw.origin == "measured":
        options, doubts = _camera_of_training(raw, inputs, options)
        warnings += doubts
    options, differs = _unit_of_training(raw, inputs, options, modality)
    encode = depth_picture.encode if (modality, encoding) == ("depth", "image") else encoder(encoding)
    encoded = encode(raw, inputs, options)
    warnings += tuple(filter(None, (differs(encoded), *_recording_doubts(raw, inputs))))
    if modality == "event":  # also pictures of events, whose encoding is "image"
        encoded = replace(encoded, interpolation="nearest")
    own_size = options.calibration.rgb.size_hw if options.calibration is not None else raw.size_hw
    height, width = size_hw or own_size
    size_hw = (height, width)
    placed = place_encoded(encoded, size_hw, options, raw.name)
    scaled, holes = placed.image, placed.holes
    if encoding == "depth" and options.calibration is not None:  # the other camera has other distances
        assert placed.metres is not None
        scaled = np.clip(fill_holes(placed.metres) / inputs.max_metres, 0, 1)
    if scaled.ndim == 2:
        scaled = cv2.merge([scaled, scaled, scaled])
    own = {"file": raw.name, "format": raw.format, "size": f"{raw.size_hw[1]} x {raw.size_hw[0]}"}
    kind = {"LiDAR": "a projected image, used unchanged"} if modality == "lidar" else {}
    facts = own | kind | dict(raw.facts) | dict(encoded.facts) | placed.facts
    preview, colours = _preview(placed.display, encoded)
    camera, is_assumed = options.rgb_camera(raw.size_hw, size_hw) if encoded.depth else (None, False)
    mark = "ESTIMATED " if raw.origin == "estimated" else ""
    return EncodedX(
        image=np.ascontiguousarray(scaled, np.float32),
        preview=preview,
        summary="; ".join((f"{mark}{modality}, {raw.format}, {encoded.summary}", *placed.facts.values())),
        modality=modality,
        encoding=encoding,
        facts=facts | colours,
        histogram=encoded.histogram,
        holes=holes if holes.any() or modality == "depth" else None,
        depth=_placed_depth(encoded.depth, placed, raw) if encoded.depth else None,
        warnings=(*warnings, *raw.notes, *encoded.notes, *placed.notes),
        origin=raw.origin,
        camera=camera,
        camera_is_assumed=is_assumed,
        measured=None if placed.values is None else replace(encoded.measured, values=placed.values),
    )


def encoder(encoding: Encoding) -> Callable[[RawX, InputConfig, XOptions], Encoded]:
    """The function of an encoding, from `ktb.modalities.ENCODERS`."""
    return resolve(ENCODERS[encoding])


def _placed_depth(depth: DepthMap, placed: Placed, raw: RawX) -> DepthMap:
    """Depth at the RGB image's size; a scale that the estimating network did not give counts as a guess."""
    confidence = "guess" if "unit" in raw.guessed else depth.confidence
    return replace(depth, metres=placed.metres, confidence=confidence)


def _camera_of_training(
    raw: RawX, inputs: InputConfig, options: XOptions
) -> tuple[XOptions, tuple[str, ...]]:
    """Options with the depth camera of the checkpoint's training, and a warning if it cannot be X's."""
    trained = options.as_trained(inputs)
    if "intrinsics" not in trained.assumed or trained.intrinsics is None:
        return trained, ()
    (height, width), (_, _, cx, cy) = raw.size_hw, trained.intrinsics
    if all(1 / 3 < share < 2 / 3 for share in (cx / width, cy / height)):
        return trained, ()
    return options, (
        f"The depth camera of this checkpoint's training has its centre at {cx:.1f}, {cy:.1f} pixels, which "
        f"does not fit an image of {width} x {height}. Give this camera's intrinsics or field of view.",
    )


def _unit_of_training(
    raw: RawX, inputs: InputConfig, options: XOptions, modality: Modality
) -> tuple[XOptions, Callable[[Encoded], str]]:
    """Options with the unit of the checkpoint's training, where the user says none and the file can have it.

    Returns the options, and a function that words a warning if the encoder found another unit ("" if not).
    """
    if options.unit != "auto" or inputs.unit == "auto" or modality != inputs.modality:
        return options, lambda encoded: ""
    found = kind_of(raw)
    if inputs.stored in ("any", found):
        return replace(options, unit=inputs.unit, surety="as in training"), lambda encoded: ""

    def differs(encoded: Encoded) -> str:
        read_as = encoded.facts.get("unit", "")
        trained = unit_name(modality, inputs.unit)
        if not read_as or read_as.startswith(trained) or inputs.unit in (NEAR_DARK, NEAR_BRIGHT):
            return ""  # a unit of 8-bit images tells nothing of other files
        return (
            f"This checkpoint was trained with X in {trained} ({_KINDS[inputs.stored]}). This file holds "
            f"{_KINDS[found]}, so it was read by itself as {read_as}. Give the unit if that is wrong."
        )

    return options, differs


def _recording_doubts(raw: RawX, inputs: InputConfig) -> tuple[str, ...]:
    """A warning if events were read otherwise than in the checkpoint's training, by a guess."""
    if inputs.modality != "event":
        return ()
    known = {name: getattr(inputs, name) for name in raw.guessed}
    wrong = [name for name, value in known.items() if value not in ("auto", None, raw.guessed[name])]
    return tuple(
        f"The {name} of these events was guessed as {raw.guessed[name]}, but was {known[name]} in this "
        "checkpoint's training. Read the file with the options of Predictor.x_options(), or say it."
        for name in wrong
    )


def said_modality(inputs: InputConfig, options: XOptions) -> Modality:
    """The modality that the user says, else the checkpoint's."""
    return inputs.modality if options.modality == "auto" else options.modality


def missing_x(inputs: InputConfig, size_hw: tuple[int, int], rgb: RgbImage | None = None) -> EncodedX:
    """A missing X: the network runs with zero tokens in its X stream, as in masked-modality training."""
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
            *(rgb.notes if rgb else ()),
        ),
        origin="missing",
    )


def preview_range(measured: np.ndarray, far_is_bright: bool) -> tuple[float, float]:
    """The values drawn dark and bright in a preview in colours: the 2nd and the 98th percentile.

    Args:
        measured: (N,) finite values.
        far_is_bright: whether large values are drawn bright; depth is not.
    """
    low, high = ends(measured, 2, 98)
    return (low, high) if far_is_bright else (high, low)


def _preview(display: np.ndarray, encoded: Encoded) -> tuple[np.ndarray, dict[str, str]]:
    """A display as (H, W, 3) uint8, and for coloured values their range and the share beyond it as a fact."""
    if display.ndim == 3:
        return display, {}
    measured = display[~np.isnan(display)]
    first, last = preview_range(measured, encoded.far_is_bright)
    low, high = sorted((first, last))
    unit = f" {encoded.histogram.unit}" if encoded.histogram and encoded.histogram.unit else ""
    outside = np.count_nonzero(measured < low) + np.count_nonzero(measured > high)
    beyond = percent(outside / measured.size)
    said = f"dark {first:.3g} to bright {last:.3g}{unit}; {beyond} of the values lie beyond"
    return scalar_to_colors(display, first, last), {"preview colours": said}
