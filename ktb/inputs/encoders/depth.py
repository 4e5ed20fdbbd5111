"""Depth: conversion of any unit to metres, hole filling, and encoding."""

import math

import cv2
import numpy as np

from ktb.config import InputConfig
from ktb.inputs.encoders.depth_units import (
    NEAR_BRIGHT,
    NEAR_DARK,
    below_to_above,
    depth_unit,
    depth_unit_name,
    find_sky,
    guess_unit,
    per_metre,
)
from ktb.inputs.histogram import histogram
from ktb.inputs.limits import InputError, check_layout
from ktb.inputs.options import XOptions
from ktb.inputs.types import Confidence, DepthMap, Encoded, RawX

_LEVELS_PER_METRE = 25.5  # of 8-bit depth: 255 = 10 m
_BACKGROUND = 1e9  # renderers write such floats for the background
_USUAL_MEDIANS = (0.2, 200.0)
_MANY_HOLES = 0.95
_CLEAR_RISE = 1.25  # of the lowest fifth of the image over the uppermost
_LOSSY = ("JPEG", "WEBP")


def read_depth_metres(
    raw: np.ndarray, unit: str = "auto", name: str = "the X array", surety: Confidence = "certain"
) -> DepthMap:
    """Convert stored depth values to metres.

    Holes: 0, negative, NaN and infinite values; the largest value of an integer type of 16 bits or more;
    65535 in wider types and floats, if nothing is larger; floats of 1e9 and more (a renderer's background).
    A constant far beyond all other values (`depth_units.find_sky`) is far away, but takes no part in a guess
    or in the statistics.

    unit "auto" guesses, first rule that fits:
        Float: by the near tenth of the pixels: up to 30 metres, up to 200 centimetres, above millimetres.
        Values up to 255, also times 256 or 257 in 16 bits: near dark; near bright if the lowest fifth of the
        picture (the near floor) is brighter than the uppermost one.
        16-bit: all levels multiples of 8 -> "sun"; of exactly 5 -> "1/5000m" (TUM scales millimetres by 5);
        at least 2.5 times as wide as high -> "1/256m"; median up to 10 000 -> "mm"; above -> "0.1mm". The
        multiples count only among 32 levels or more.

    Args:
        raw: (H, W), or (H, W, C) with equal channels; integers or floats.
        unit: "auto", a key of DEPTH_UNITS, or a scale (see `ktb.inputs.encoders.depth_units.depth_unit`).
        name: of the file, for messages.
        surety: of the unit, unless it is "auto"; "certain" if the user chose it.

    Raises:
        InputError: the unit is unknown or does not match the values, the image is in colour, or has no value.
    """
    if unit != "auto":
        try:
            unit = depth_unit(unit)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    check_layout(raw.shape, raw.dtype, name)
    values = _one_channel(raw.squeeze(), name)
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    values, levels, stored = _eight_bits_in_sixteen(values, unit)
    valid = _measured(values)
    if not valid.any():
        raise InputError(f"{name}: {_nothing_measured(values)}")
    stored_values = values[valid]
    sky = find_sky(stored_values)
    below = valid if sky is None else valid & (values != sky)
    if levels is not None:
        levels = levels[(levels > 0) & (levels < 65535) & (levels != sky)]
    if unit == "auto":
        unit, confidence, why = guess_unit(values, below, levels)
        why = "; ".join(filter(None, (stored, why)))
    else:
        confidence, why = surety, ""
    metres = np.full(values.shape, np.nan, np.float32)
    metres[valid] = measured = _to_metres(stored_values, unit, name)
    if sky is not None:
        measured = metres[below]
    low, middle, high = float(measured.min()), float(np.median(measured)), float(measured.max())
    hole_share = 1 - np.count_nonzero(valid) / valid.size
    notes = _doubts(middle, hole_share) + _sky_note(sky, np.count_nonzero(valid) - measured.size, valid.size)
    if confidence == "as in training":
        notes += _direction_doubts(values, below, unit)
    if confidence in ("likely", "guess"):
        notes += _guess_doubts(values, below, unit)
    return DepthMap(metres, unit, confidence, low, middle, high, hole_share, why, notes)


def fill_holes(values: np.ndarray) -> np.ndarray:
    """Fill every NaN with the value of the nearest measured pixel.

    values: (H, W) or (H, W, C) float32, not modified; returns a new array.

    Raises:
        InputError: no pixel has a value.
    """
    hole = np.isnan(values) if values.ndim == 2 else np.isnan(values).any(axis=-1)
    if hole.all():
        raise InputError("X has only holes, nothing to fill from; check the file and its unit")
    if not hole.any():
        return values.copy()
    mask = hole.astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        mask, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # The measured pixel that is nearest to a hole touches one; only such pixels and the holes are looked up.
    border = cv2.dilate(mask, np.ones((3, 3), np.uint8)).view(bool) & ~hole
    value_of = np.zeros((int(nearest.max()) + 1, *values.shape[2:]), np.float32)
    value_of[nearest[border]] = values[border]
    filled = values.astype(np.float32)
    filled[hole] = value_of[nearest[hole]]
    return filled


def encode_depth(metres: np.ndarray, max_metres: float = 10.0) -> np.ndarray:
    """Encode depth without holes (H, W) in metres as (H, W, 3) float32: metres / max_metres, clipped to 0..1.

    With 10 m this equals 8-bit depth of 25.5 levels per metre, divided by 255.

    Raises:
        InputError: NaN in metres, or max_metres is not a positive number.
    """
    if not (math.isfinite(max_metres) and max_metres > 0):
        raise InputError(f"max_metres = {max_metres}: give a positive distance in metres, such as 10")
    if np.isnan(metres).any():
        raise InputError("the depth map has holes (NaN); call fill_holes first")
    return np.repeat(np.clip(metres / max_metres, 0, 1).astype(np.float32)[..., None], 3, axis=-1)


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Encode depth for a checkpoint of encoding "depth"; holes remain NaN until resized to the RGB image.

    Raises:
        InputError: as `read_depth_metres`, and for anything but a picture.
    """
    depth = depth_of(raw, options)
    facts = depth_facts(depth, raw)
    scaled = depth.metres / inputs.max_metres
    return Encoded(
        np.clip(scaled, 0, 1, out=scaled),
        depth.metres,
        f"{facts['unit']}: {facts['range']}, {facts['holes']} holes",
        facts,
        histogram(depth.metres, "m"),
        interpolation="nearest",
        notes=depth_notes(depth, raw),
        depth=depth,
        far_is_bright=False,
    )


def depth_of(raw: RawX, options: XOptions) -> DepthMap:
    """The depth of a raw X in the unit chosen by the user (InputError as for `encode`)."""
    require_picture(raw, "depth")
    assert isinstance(raw.data, np.ndarray)
    return read_depth_metres(raw.data, options.unit, raw.name, options.surety)


def require_picture(raw: RawX, wanted: str) -> None:
    """Raise an InputError for events and polarization, which contain no depth."""
    if raw.kind != "picture":
        found = {"events": "an event stream", "counts": "a histogram of events"}.get(raw.kind)
        found = "pictures behind a polarizer" if raw.kind == "angles" else found
        found = found or "an angle of polarization"
        raise InputError(f"{raw.name}: this is {found}, not {wanted}; choose another modality for X")


def depth_facts(depth: DepthMap, raw: RawX) -> dict[str, str]:
    """Facts, title -> text: unit, reason for the unit, range, holes."""
    sure = "estimated" if raw.origin == "estimated" else depth.confidence
    return {
        "unit": f"{depth_unit_name(depth.unit)} ({sure})",
        **({"unit guessed from": depth.why} if depth.why else {}),
        "range": f"{depth.minimum:.2f} / {depth.median:.2f} / {depth.maximum:.2f} m (min / median / max)",
        "holes": f"{100 * depth.hole_share:.1f} %",
    }


def depth_notes(depth: DepthMap, raw: RawX) -> tuple[str, ...]:
    """Notes of the depth map, and one on lossy formats."""
    lossy = [kind for kind in _LOSSY if kind in raw.format]
    if not lossy:
        return depth.notes
    note = f"Depth stored as {lossy[0]} has lost levels and has false ones along edges; a PNG keeps them all."
    return (*depth.notes, note)


def is_colour(data: np.ndarray) -> bool:
    """Whether the channels, without alpha, differ by more than JPEG artefacts; NaN is ignored."""
    if data.ndim == 2:
        return False
    tolerance = 4 if data.dtype == np.uint8 else 0
    first, *others = np.moveaxis(data[..., :3], -1, 0)
    lowest, highest = first, first
    for channel in others:
        lowest, highest = np.minimum(lowest, channel), np.maximum(highest, channel)
    differs = highest - lowest > tolerance if tolerance else highest > lowest
    return bool(differs.mean() > 0.001)


def _one_channel(raw: np.ndarray, name: str) -> np.ndarray:
    if is_colour(raw):
        raise InputError(
            f"{name}: this depth map is in colour: it looks like a colourised depth map or an HHA picture. "
            "Give the measured depth (16-bit PNG, or .npy in metres), or say that X is HHA or a plain picture"
        )
    return raw if raw.ndim == 2 else raw[..., 0]


def _eight_bits_in_sixteen(values: np.ndarray, unit: str) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Values, the levels of 16-bit integers, and a remark if these were 8-bit ones and are so again."""
    if values.dtype != np.uint16:
        return values, None, ""
    found = cv2.calcHist([np.ascontiguousarray(values)], [0], None, [65536], [0, 65536])
    levels = np.flatnonzero(found)
    if unit in ("auto", NEAR_DARK, NEAR_BRIGHT) and np.count_nonzero(levels) >= 16:
        for factor in (257, 256):
            if not (levels % factor).any():
                remark = f"levels are multiples of {factor}, as 8 bits stored in 16 have them"
                return (values // factor).astype(np.uint8), None, remark
    return values, levels, ""


def _measured(values: np.ndarray) -> np.ndarray:
    valid = values > 0
    if values.dtype.kind == "f":
        valid &= values < _BACKGROUND
    elif values.dtype.itemsize > 1:
        valid &= values != np.iinfo(values.dtype).max
    if valid.any() and values.max(where=valid, initial=0) == 65535:
        valid &= values != 65535
    return valid


def _nothing_measured(values: np.ndarray) -> str:
    if np.any(values < 0):
        return "the depth map has negative values only; multiply them by -1, distances are positive"
    return "the depth map has no measurement: all is 0, 65535, NaN or infinite; check the file"


def _to_metres(measured: np.ndarray, unit: str, name: str) -> np.ndarray:
    """Measured values (N,) -> metres (N,) float32."""
    top = measured.max()
    if unit in (NEAR_DARK, NEAR_BRIGHT):
        if top > 255:
            raise InputError(
                f"{name}: unit {unit!r} is for values up to 255, found {top:g}; choose mm or auto"
            )
        levels = measured.astype(np.float32)
        # Near bright: 255 is at least half a level away from the camera, so that it stays a measurement.
        levels = np.maximum(256 - levels, 0.5) if unit == NEAR_BRIGHT else levels
        return levels / np.float32(_LEVELS_PER_METRE)
    if unit == "sun":
        if measured.dtype.kind == "f" or top > 65535:
            found = f"{measured.dtype} up to {top:g}"
            raise InputError(
                f"{name}: unit 'sun' is for 16-bit integers, found {found}; choose m, mm or auto"
            )
        bits = measured.astype(np.uint16)
        return ((bits >> 3) | (bits << 13)).astype(np.float32) / 1000
    return np.divide(measured, per_metre(unit), out=np.empty(measured.shape, np.float32))


def _doubts(median: float, hole_share: float) -> tuple[str, ...]:
    notes = []
    if not _USUAL_MEDIANS[0] <= median <= _USUAL_MEDIANS[1]:
        notes.append(f"The median depth is {median:.3g} m, which is unusual: check its unit.")
    share = f"{100 * hole_share:.1f} % of the depth map are holes"
    if hole_share > _MANY_HOLES:
        notes.append(f"{share}; what fills them is far away: check file and unit.")
    elif hole_share > 0.5:
        notes.append(f"{share}, filled with the nearest depth: X tells the network little there.")
    return tuple(notes)


def _sky_note(sky: float | None, count: int, size: int) -> tuple[str, ...]:
    if sky is None:
        return ()
    return (
        f"{100 * count / size:.1f} % of the pixels hold {sky:,.10g}, far beyond all others, as the sky in a "
        "rendered map: they are taken as far away. Set them to 0 if nothing was measured there.",
    )


def _direction_doubts(values: np.ndarray, valid: np.ndarray, unit: str) -> tuple[str, ...]:
    """A note if 8-bit depth rises downwards where the checkpoint's falls, or the reverse.

    Of NYUv2's 1,122 frames at hand, one rises by 1.25; of these frames inverted, a third do.
    """
    if unit not in (NEAR_DARK, NEAR_BRIGHT):
        return ()
    rise = below_to_above(values, valid)
    if (rise if unit == NEAR_DARK else 1 / rise) < _CLEAR_RISE:
        return ()
    trained, other = ("dark", NEAR_BRIGHT) if unit == NEAR_DARK else ("bright", NEAR_DARK)
    return (
        f"8-bit depth of this checkpoint's training is {trained} where near, and the bottom of this image, "
        f"where a floor is near, is not. If it is stored the other way round, choose the unit '{other}'.",
    )


def _guess_doubts(values: np.ndarray, valid: np.ndarray, unit: str) -> tuple[str, ...]:
    if unit in (NEAR_DARK, NEAR_BRIGHT):
        return ()
    notes = []
    if below_to_above(values, valid) >= _CLEAR_RISE:
        notes.append(
            "The values grow towards the bottom of the picture, where a floor is near: they may be disparity "
            "or inverse depth. Depth is needed: focal length x baseline / disparity."
        )
    if values.dtype == np.uint16 and values.max(where=valid, initial=0) >= 65_000:
        notes.append(
            "The values span all 16 bits, as a normalised or relative depth map does: then they are no "
            "distances, and what is far here is unknown. Check the unit."
        )
    return tuple(notes)
