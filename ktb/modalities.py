"""What an RGB or X file is, and how an X array becomes the three channels the network gets.

Way of an upload: `read_image_rgb` for the photo, `read_x` for the X array at full depth, `read_modal_x` for
the rest (unit, size, holes, channels, preview). What a user can get wrong raises ValueError with the remedy.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Literal

import cv2
import numpy as np
from PIL import Image, ImageOps

from ktb.visualize import scalar_to_colors

Encoding = Literal["depth", "image"]
Confidence = Literal["certain", "likely", "guess"]
Source = str | Path | bytes

MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384
MIN_SIDE = 32
MAX_FILE_BYTES = 512 * 2**20
ASPECT_TOLERANCE = 0.02
NEAR_DARK, NEAR_BRIGHT = "8-bit near dark (255 = 10 m)", "8-bit near bright"

# Readers that are tried; the rest of Pillow's (some of them start other programs) stay closed to uploads.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
_NOT_READ = {
    ".exr": "OpenEXR is not read; save the depth as .npy in metres or as 16-bit PNG in millimetres",
    ".h5": "HDF5 is not read; save the array as .npy",
    ".hdf5": "HDF5 is not read; save the array as .npy",
    ".mat": "MATLAB files are not read; save the array as .npy",
    ".csv": "tables are not read; save an array (H, W) as .npy",
    ".txt": "tables are not read; save an array (H, W) as .npy",
}

_DAMAGED = "{}: the picture is damaged or cut off ({}); save or upload it again"

DEPTH_UNITS: Mapping[str, str] = MappingProxyType({
    "mm": "millimetres", "0.1mm": "tenths of a millimetre", "1/5000m": "1/5000 m (TUM)",
    "1/256m": "1/256 m (KITTI)", "m": "metres", NEAR_DARK: "8-bit, near dark, 255 = 10 m",
    NEAR_BRIGHT: "8-bit, near bright, 1 = 10 m", "sun": "bit-rotated millimetres (SUN RGB-D)",
})  # fmt: skip
"""Units of a depth file and their names for display; "auto" guesses among them."""

_PER_METRE = {"mm": 1000.0, "0.1mm": 10_000.0, "1/5000m": 5000.0, "1/256m": 256.0, "m": 1.0, NEAR_DARK: 25.5}


@dataclass(frozen=True)
class DepthOptions:
    """How depth becomes network input. max_metres: the distance that becomes 1.0; farther is cut to 1.0."""

    max_metres: float = 10.0


@dataclass(frozen=True)
class DepthReading:
    """A depth map in metres, and how sure its unit is ("certain": chosen by the user).

    Attributes:
        metres: (H, W) float32, NaN where there is no measurement.
        unit: a key of DEPTH_UNITS.
        minimum, median, maximum: of the measured pixels, in metres.
        hole_share: 0..1.
    """

    metres: np.ndarray
    unit: str
    confidence: Confidence
    minimum: float
    median: float
    maximum: float
    hole_share: float


@dataclass(frozen=True)
class XReading:
    """An X input at the size of the RGB image.

    Attributes:
        image: (H, W, 3) float32 in 0..1, what the network gets.
        preview: (H, W, 3) uint8 RGB for display; depth is bright where near, grey where not measured.
        summary: one line.
        holes: (H, W) bool, or None if X is no depth.
        depth: its metres at the RGB size, its figures as measured at its own size; None if X is no depth.
    """

    image: np.ndarray
    preview: np.ndarray
    summary: str
    holes: np.ndarray | None
    depth: DepthReading | None


def read_image_rgb(path_or_bytes: Source) -> np.ndarray:
    """Read a photo: EXIF orientation applied, alpha dropped, palette, grey and 16-bit converted.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: not a picture, damaged, or outside the limits (checked before decoding).
    """
    data, name = _load(path_or_bytes, None)
    with _open_header(data, name) as picture:
        try:
            picture = ImageOps.exif_transpose(picture)
            if not picture.mode.startswith(("I", "F")):
                rgb = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
                return np.array(np.asarray(rgb)[..., :3], order="C")
            grey = np.asarray(picture).astype(np.float64)
        except Exception as error:  # decoders raise many types for damaged data
            raise ValueError(_DAMAGED.format(name, error)) from error
    if not np.isfinite(grey).all() or grey.min() < 0 or grey.max() > 65535:
        raise ValueError(f"{name}: grey values {grey.min()}..{grey.max()}; a photo has 0..255 or 0..65535")
    scale = 257 if grey.max() > 255 else 1 / 255 if picture.mode == "F" and grey.max() <= 1 else 1
    return np.repeat(np.round(grey / scale).astype(np.uint8)[..., None], 3, axis=-1)


def read_x(path_or_bytes: Source, filename: str | None = None) -> np.ndarray:
    """Read an X file without losing levels: PNG, PGM, TIFF, JPEG ..., .npy, .npz (`depth` or the first).

    Args:
        path_or_bytes: the file or its contents.
        filename: name for messages; by default that of the path.

    Returns:
        (H, W), (H, W, 3) RGB or (H, W, 4) RGBA; the file's own dtype: unsigned, signed integer or float.

    Raises:
        ValueError: not a readable file, pickled, damaged, or outside the limits (checked before decoding).
    """
    data, name = _load(path_or_bytes, filename)
    if data.startswith(b"\x93NUMPY"):
        return _read_npy(io.BytesIO(data), name)
    if data.startswith(b"PK\x03\x04"):
        return _read_npz(data, name)
    with _open_header(data, name) as picture:
        try:
            picture.load()  # some versions of cv2 fill up a file that was cut off; Pillow refuses it
            orientation = picture.getexif().get(0x0112, 1)
            raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except Exception as error:  # decoders raise many types for damaged data
            raise ValueError(_DAMAGED.format(name, error)) from error
    if raw is None:
        raise ValueError(_DAMAGED.format(name, "it cannot be decoded"))
    if raw.ndim == 3:
        raw = cv2.cvtColor(raw, cv2.COLOR_BGR2RGB if raw.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    if orientation in (5, 6, 7, 8):
        raw = raw.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        raw = raw[::-1]
    if orientation in (2, 3, 6, 7):
        raw = raw[:, ::-1]
    return np.ascontiguousarray(raw)


def read_depth_metres(raw: np.ndarray, unit: str = "auto") -> DepthReading:
    """Depth values as metres. 0, negative, 65535, NaN and infinite values are holes.

    unit "auto" guesses, first rule that fits:
        Values up to 255: near dark; near bright if the lower third of the picture (the near floor) is 1.25
        times as bright as the upper one.
        Float: metres, or mm if the median is above 100.
        16-bit: all levels multiples of 8 -> "sun"; of exactly 5 -> "1/5000m" (TUM scales millimetres by 5);
        at least 2.5 times as wide as high -> "1/256m"; median up to 10 000 -> "mm"; above -> "0.1mm". The
        multiples count only among 32 levels or more.

    Args:
        raw: (H, W), or (H, W, C) with equal channels; integers or floats.
        unit: "auto" or a key of DEPTH_UNITS.

    Raises:
        ValueError: unknown unit, a unit that does not fit the dtype, a colour picture, or no measurement.
    """
    raw = _one_channel(_check_array(raw))
    if unit != "auto" and unit not in DEPTH_UNITS:
        raise ValueError(f"depth unit {unit!r}: choose auto or one of {', '.join(DEPTH_UNITS)}")
    values = raw.astype(np.float32)
    valid = np.isfinite(values) & (values > 0) & (values != 65535)
    if not valid.any():
        raise ValueError("the depth map has no measurement: all is 0, 65535, NaN or negative; check the file")
    unit, confidence = _guess_unit(raw, valid) if unit == "auto" else (unit, "certain")
    if unit in (NEAR_DARK, NEAR_BRIGHT) and values[valid].max() > 255:
        found = f"{values[valid].max():g}"
        raise ValueError(f"unit {unit!r} is for values up to 255, found {found}; choose mm or auto")
    if unit == "sun":
        if raw.dtype.kind == "f" or values[valid].max() > 65535:
            raise ValueError(f"unit 'sun' is for 16-bit integers, found {raw.dtype}; choose m, mm or auto")
        bits = np.where(valid, raw, 0).astype(np.uint16)
        metres = ((bits >> 3) | (bits << 13)).astype(np.float32) / 1000
    else:
        # Near bright: 255 is at least half a level away from the camera, so that it stays a measurement.
        metres = np.maximum(256 - values, 0.5) / 25.5 if unit == NEAR_BRIGHT else values / _PER_METRE[unit]
    metres = np.where(valid, metres, np.nan).astype(np.float32)
    low, middle, high = (float(f(metres[valid])) for f in (np.min, np.median, np.max))
    return DepthReading(metres, unit, confidence, low, middle, high, 1 - float(valid.mean()))


def fill_holes(metres: np.ndarray) -> np.ndarray:
    """Give every NaN the value of the nearest measured pixel. (H, W) float32, the input stays as it is.

    Raises:
        ValueError: no pixel has a value.
    """
    hole = np.isnan(metres)
    if hole.all():
        raise ValueError("the depth map has only holes, nothing to fill from; check the file and its unit")
    _, nearest = cv2.distanceTransformWithLabels(
        hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_of = np.zeros(int(nearest.max()) + 1, np.float32)
    value_of[nearest[~hole]] = metres[~hole]
    return value_of[nearest]


def encode_depth(metres: np.ndarray, max_metres: float = DepthOptions.max_metres) -> np.ndarray:
    """Depth without holes (H, W) in metres -> (H, W, 3) float32: metres / max_metres, cut to 0..1.

    With 10 m this equals 8-bit depth of 25.5 levels per metre, divided by 255.

    Raises:
        ValueError: NaN in metres, or max_metres is not a positive number.
    """
    if not (math.isfinite(max_metres) and max_metres > 0):
        raise ValueError(f"max_metres = {max_metres}: give a positive distance in metres, such as 10")
    if np.isnan(metres).any():
        raise ValueError("the depth map has holes (NaN); call fill_holes first")
    return np.repeat(np.clip(metres / max_metres, 0, 1).astype(np.float32)[..., None], 3, axis=-1)


def encode_image(raw: np.ndarray) -> np.ndarray:
    """An image of 1, 3 or 4 channels -> (H, W, 3) float32 in 0..1; one channel is repeated, alpha dropped.

    uint8 is divided by 255, uint16 by 65535; floats must be in 0..1 already.

    Raises:
        ValueError: another dtype or shape, or floats outside 0..1.
    """
    raw = _check_array(raw)
    if raw.dtype not in (np.uint8, np.uint16) and raw.dtype.kind != "f":
        raise ValueError(f"X image of dtype {raw.dtype}: give uint8, uint16, or floats in 0..1")
    if raw.dtype.kind == "f" and not (raw.min() >= 0 and raw.max() <= 1):  # false for NaN as well
        raise ValueError(
            f"X image with values {raw.min():g}..{raw.max():g}: floats must be in 0..1; divide by the "
            "sensor's maximum, or choose the encoding 'depth' if these are metres"
        )
    image = raw.astype(np.float32) / (np.iinfo(raw.dtype).max if raw.dtype.kind == "u" else 1)
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image[..., :3]


def match_size(
    x: np.ndarray, size_hw: tuple[int, int], interpolation: Literal["nearest", "bilinear"]
) -> np.ndarray:
    """Resize (H, W) or (H, W, C) to size_hw (height, width), "nearest" for maps with holes.

    Raises:
        ValueError: the aspect ratios differ by more than 2 %.
    """
    (height, width), (to_height, to_width) = x.shape[:2], size_hw
    if abs(width * to_height / (height * to_width) - 1) > ASPECT_TOLERANCE:
        raise ValueError(
            f"the X input is {width} x {height} and the RGB image {to_width} x {to_height} (width x height): "
            "their proportions differ, so they cannot show the same view; crop both to the same view, or use "
            "an aligned pair"
        )
    if (height, width) == tuple(size_hw):
        return x
    mode = cv2.INTER_NEAREST_EXACT if interpolation == "nearest" else cv2.INTER_LINEAR
    return cv2.resize(x, (to_width, to_height), interpolation=mode)


def read_modal_x(
    raw: np.ndarray,
    encoding: Encoding,
    size_hw: tuple[int, int],
    unit: str = "auto",
    options: DepthOptions = DepthOptions(),
) -> XReading:
    """An X array as `read_x` gives it -> what the network gets, at the size of the RGB image.

    Args:
        raw: (H, W), (H, W, 3) or (H, W, 4).
        encoding: "depth" (metres, holes filled) or "image" (scaled to 0..1).
        size_hw: height and width of the RGB image.
        unit, options: for depth only.

    Raises:
        ValueError: unknown encoding, sizes that do not match, and what the functions above refuse.
    """
    if encoding == "image":
        image = match_size(encode_image(raw), size_hw, "bilinear")
        channels = raw.shape[2] if raw.ndim == 3 else 1
        low, middle, high = image.min(), np.median(image), image.max()
        summary = f"image, {raw.dtype}, {channels} channel{'s' * (channels > 1)}: "
        summary += f"{low:.2f} / {middle:.2f} / {high:.2f} of full scale (min / median / max)"
        return XReading(image, np.round(image * 255).astype(np.uint8), summary, None, None)
    if encoding != "depth":
        raise ValueError(f"encoding {encoding!r}: choose 'depth' or 'image'")
    depth = read_depth_metres(raw, unit)
    metres = match_size(depth.metres, size_hw, "nearest")
    image = encode_depth(fill_holes(metres), options.max_metres)
    near, far = np.nanpercentile(metres, (2, 98))
    preview = scalar_to_colors(metres, far, near)
    summary = (
        f"depth, {DEPTH_UNITS[depth.unit]} ({depth.confidence}): {depth.minimum:.2f} / {depth.median:.2f} / "
        f"{depth.maximum:.2f} m (min / median / max), {100 * depth.hole_share:.1f} % holes"
    )
    return XReading(image, preview, summary, np.isnan(metres), replace(depth, metres=metres))


def _load(source: Source, filename: str | None) -> tuple[bytes, str]:
    """Contents and name for messages."""
    if isinstance(source, bytes):
        data, name = source, filename or "the file"
    else:
        name = filename or Path(source).name
        if not Path(source).is_file():
            raise ValueError(f"{name}: there is no such file; check the path")
        with open(source, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    if not data:
        raise ValueError(f"{name}: the file is empty (0 bytes); upload it again")
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{name}: larger than {MAX_FILE_BYTES >> 20} MiB; crop it or store it in 16 bits")
    return data, name


def _open_header(data: bytes, name: str) -> Image.Image:
    """Read the header alone: nothing is decoded, and the size is within the limits."""
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{name}: more than {MAX_PIXELS:,} pixels; make it smaller") from error
    except Exception as error:  # plugins raise many types for damaged headers
        start = data[:256].lstrip().lower()
        if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg", b"<head")):
            found = "a web page or XML, not a picture; download the picture itself"
        else:
            found = "no picture that can be read, or a damaged one; use PNG, JPEG or TIFF, or for X .npy"
        raise ValueError(f"{name}: {_NOT_READ.get(Path(name).suffix.lower(), 'this is ' + found)}") from error
    _check_size(*picture.size, name)
    return picture


def _check_size(width: int, height: int, name: str) -> None:
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"{name}: {width} x {height} pixels; each side needs at least {MIN_SIDE}")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ValueError(
            f"{name}: {width} x {height} pixels; at most {MAX_SIDE:,} a side and {MAX_PIXELS:,} in all are "
            "taken; make it smaller"
        )


def _read_npy(stream: BinaryIO, name: str) -> np.ndarray:
    """Check the header of a .npy before any memory is taken, then read exactly what it promises."""
    np_format = np.lib.format
    readers = {(1, 0): np_format.read_array_header_1_0, (2, 0): np_format.read_array_header_2_0}
    try:
        shape, column_major, dtype = readers[np_format.read_magic(stream)](stream)
    except Exception as error:  # damaged headers raise many types
        raise ValueError(f"{name}: the .npy header is damaged or of unknown kind; save it again") from error
    _check_layout(shape, dtype, name)
    size = math.prod(shape) * dtype.itemsize
    data = stream.read(size)
    if len(data) < size:
        raise ValueError(f"{name}: cut off, {len(data):,} of {size:,} bytes are there; save or send it again")
    flat = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if column_major else "C").squeeze()


def _read_npz(data: bytes, name: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = [entry for entry in archive.namelist() if entry.endswith(".npy")]
            if not arrays:
                raise ValueError(f"{name}: a zip file without arrays; save one with numpy.savez(depth=...)")
            with archive.open("depth.npy" if "depth.npy" in arrays else arrays[0]) as stream:
                return _read_npy(stream, name)
    except (zipfile.BadZipFile, zipfile.zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise ValueError(f"{name}: the .npz file is damaged or locked ({error}); save it again") from error


def _check_layout(shape: tuple[int, ...], dtype: np.dtype, name: str = "the X array") -> None:
    if dtype.kind not in "uif":
        kind = "Python objects" if dtype.hasobject else f"dtype {dtype}"
        raise ValueError(f"{name}: holds {kind}; save numbers (uint8, uint16 or float32)")
    sides = [side for side in shape if side != 1]
    if len(sides) not in (2, 3) or (len(sides) == 3 and sides[2] not in (3, 4)):
        hint = " A raw event stream must be made into a picture first." if len(sides) == 1 else ""
        raise ValueError(f"{name}: an array of shape {shape}; give (H, W) or (H, W, 3).{hint}")
    _check_size(sides[1], sides[0], name)


def _check_array(raw: np.ndarray) -> np.ndarray:
    _check_layout(raw.shape, raw.dtype)
    return raw.squeeze()


def _one_channel(raw: np.ndarray) -> np.ndarray:
    if raw.ndim == 2:
        return raw
    tolerance = 4 if raw.dtype == np.uint8 else 0  # JPEG does not keep equal channels equal
    if not np.quantile(np.ptp(raw[..., :3], axis=-1), 0.999) <= tolerance:
        raise ValueError(
            "this depth map is in colour: it looks like a colourised depth map or an HHA picture. Give the "
            "measured depth (16-bit PNG, or .npy in metres), or choose the encoding 'image' for an HHA model"
        )
    return raw[..., 0]


def _guess_unit(raw: np.ndarray, valid: np.ndarray) -> tuple[str, Confidence]:
    """The rule in read_depth_metres; bounds are medians of rooms and streets, 0.3 to 20 m."""
    values = raw[valid]
    median, top = float(np.median(values)), float(values.max())
    if raw.dtype.kind == "f":
        # A maximum of exactly 1 may as well be a normalised map.
        return ("mm", "likely") if median > 100 else ("m", "guess" if top == 1 else "likely")
    if top <= 255:
        third = raw.shape[0] // 3
        upper, lower = (part[part > 0] for part in (raw[:third], raw[-third:]))
        bright_below = upper.size and lower.size and np.median(lower) >= 1.25 * np.median(upper)
        return (NEAR_BRIGHT if bright_below else NEAR_DARK), "guess"
    if top < 65536:
        levels = np.flatnonzero(np.bincount(values.astype(np.uint16)))
        if len(levels) >= 32 and np.mean(levels % 8 == 0) >= 0.99:
            return "sun", "likely"
        if len(levels) >= 32 and np.gcd.reduce(levels) == 5 and median >= 1500:
            return "1/5000m", "likely"
        if raw.shape[1] >= 2.5 * raw.shape[0] and 77 <= median <= 25_600:
            return "1/256m", "guess"
    if median > 10_000:
        return "0.1mm", "guess"
    return "mm", ("likely" if median >= 300 else "guess")
