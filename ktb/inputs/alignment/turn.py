"""X turned as the RGB image was by an EXIF orientation that X lacks."""

from dataclasses import replace

import numpy as np

from ktb.inputs.events.stream import EventStream
from ktb.inputs.limits import InputError
from ktb.inputs.options import XOptions
from ktb.inputs.types import RawX, RgbImage

ORIENTATIONS = {"90": 6, "180": 3, "270": 8}
"""EXIF orientation of a clockwise turn by these degrees."""
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""
ASPECT_TOLERANCE = 0.02


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W[, C]) stored with an EXIF orientation, as viewers show it; a view."""
    if orientation in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def turned(raw: RawX, options: XOptions, rgb: RgbImage | None) -> RawX:
    """A raw X turned as the options say.

    Without an option, X stays as it is, with a note if the RGB image was turned and X may lie otherwise.

    Raises:
        InputError: "exif" without an RGB image from a file, or X fits the RGB image only before its turn.
    """
    if options.turn == "auto":
        return _doubted(raw, options, rgb)
    if options.turn == "exif":
        if rgb is None:
            raise InputError(
                'turn "exif" needs the RGB image with its orientation, as ktb.read_rgb gives it (on the '
                "command line --rgb); give it, or say 90, 180 or 270 degrees clockwise"
            )
        orientation = rgb.orientation if raw.orientation == 1 else 1
    else:
        orientation = ORIENTATIONS[options.turn]
    if orientation == 1:
        return raw
    if isinstance(raw.data, EventStream):
        data: np.ndarray | EventStream = _turned_events(raw.data, orientation)
    else:
        data = np.ascontiguousarray(upright(raw.data, orientation))
    why = "as the RGB image" if options.turn == "exif" else f"{options.turn} degrees clockwise"
    return replace(raw, data=data, facts={**raw.facts, "turned": f"{why} (certain)"})


def _turned_events(stream: EventStream, orientation: int) -> EventStream:
    (height, width), x, y = stream.size_hw, stream.x.astype(np.int32), stream.y.astype(np.int32)
    if orientation in SIDEWAYS:
        x, y, width, height = y, x, height, width
    y = height - 1 - y if orientation in (3, 4, 7, 8) else y
    x = width - 1 - x if orientation in (2, 3, 6, 7) else x
    return EventStream(x, y, stream.t, stream.polarity, (height, width), stream.recording_us)


def _turned_back(raw: RawX, rgb: RgbImage) -> RawX:
    """X that was turned by its own orientation, with a note, or an InputError if it fitted only before."""
    (height, width), (to_height, to_width) = raw.size_hw, rgb.pixels.shape[:2]
    back = {3: "180", 6: "270", 8: "90"}.get(raw.orientation)
    offer = f'. Turn it back: "Turn X" {back} degrees on the page, --turn {back}' if back else ""
    said = f"X was turned by its EXIF orientation ({raw.orientation}), and the RGB image has none"
    is_other = not _fits(width, height, to_width, to_height)
    if is_other and raw.orientation in SIDEWAYS and _fits(width, height, to_height, to_width):
        raise InputError(f"{raw.name}: {said}; X fits it only before that turn{offer}")
    if is_other:
        return raw
    return replace(raw, notes=(*raw.notes, f"{said}. Look whether both show the same view{offer}."))


def _doubted(raw: RawX, options: XOptions, rgb: RgbImage | None) -> RawX:
    """X as it is, with a note, or an InputError if it fits only the RGB image as stored."""
    if rgb is None or raw.orientation == rgb.orientation or raw.origin == "estimated":
        return raw
    if options.matrix is not None or options.calibration is not None:
        return raw
    if raw.orientation != 1:
        return _turned_back(raw, rgb) if rgb.orientation == 1 else raw
    (height, width), (to_height, to_width) = raw.size_hw, rgb.pixels.shape[:2]
    is_sideways = rgb.orientation in SIDEWAYS
    fits = _fits(width, height, to_width, to_height)
    fits_stored = _fits(width, height, to_height, to_width)
    offer = 'Turn X likewise: "Turn X" on the page, --turn exif, or turn: exif in a YAML file'
    if is_sideways and fits_stored and not fits:
        raise InputError(
            f"{raw.name}: the RGB image was turned by its EXIF orientation ({rgb.orientation}) from "
            f"{to_height} x {to_width} to {to_width} x {to_height}; X has the unturned size, {width} x "
            f"{height} (width x height). {offer}"
        )
    if is_sideways and not fits_stored:
        return raw  # X is upright, too
    note = (
        f"The RGB image was turned by its EXIF orientation ({rgb.orientation}). X has none and was left as "
        f"it is; if it lies as the sensor stored the pixels, it does not fit. {offer}."
    )
    return replace(raw, notes=(*raw.notes, note))


def _fits(width: int, height: int, to_width: int, to_height: int) -> bool:
    """Whether two sizes have the same proportions."""
    return abs(width * to_height / (height * to_width) - 1) <= ASPECT_TOLERANCE
