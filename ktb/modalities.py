"""What an RGB or X file is, and how an X array becomes the three channels the network gets.

Way of an upload: `read_image_rgb` for the photo, `read_x` for the X array at full depth, `read_modal_x` for the
rest (unit, size, holes, channels, preview). What a user can get wrong raises ValueError with the remedy.
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
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "TIFF", "PPM", "GIF")
_NOT_READ = {
    ".exr": "OpenEXR is not read; save the depth as .npy in metres or as 16-bit PNG in millimetres",
    ".h5": "HDF5 is not read; save the array as .npy", ".hdf5": "HDF5 is not read; save the array as .npy",
    ".csv": "tables are not read; save an array (H, W) as .npy", ".mat": "MATLAB files are not read; save as .npy",
}  # fmt: skip

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

    metres: (H, W) float32, NaN where there is no measurement. unit: a key of DEPTH_UNITS. minimum, median,
    maximum: metres. hole_share: 0..1.
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

    image: (H, W, 3) float32 in 0..1, what the network gets. preview: (H, W, 3) uint8 RGB for display. summary:
    one line. holes: (H, W) bool, or None if X is no depth. depth: its metres at the RGB size, its figures as
    measured at its own size; None if X is no depth.
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
                return np.array(picture.convert("RGBA" if "transparency" in picture.info else "RGB"))[..., :3]
            grey = np.asarray(picture).astype(np.float64)
        except Exception as error:  # Pillow's decoders raise many types for damaged data
            raise ValueError(f"{name}: the picture is damaged or cut off ({error}); save it again") from error
    if not np.isfinite(grey).all() or grey.min() < 0 or grey.max() > 65535:
        raise ValueError(f"{name}: grey values {grey.min()}..{grey.max()}; the photo needs 0..255 or 0..65535")
    scale = 257 if grey.max() > 255 else 1 / 255 if picture.mode == "F" and grey.max() <= 1 else 1
    return np.repeat(np.round(grey / scale).astype(np.uint8)[..., None], 3, axis=-1)


def read_x(path_or_bytes: Source, filename: str | None = None) -> np.ndarray:
    """Read an X file without losing levels: PNG, PGM, TIFF, JPEG ..., .npy, .npz (`depth` or the first array).

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
        orientation = picture.getexif().get(0x0112, 1)
    try:
        raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"{name}: the picture cannot be decoded ({error.err}); save it as PNG") from error
    if raw is None or not _is_complete(data):
        raise ValueError(f"{name}: the picture is damaged or cut off; save or upload it again")
    if raw.ndim == 3:
        raw = cv2.cvtColor(raw, cv2.COLOR_BGR2RGB if raw.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    if orientation in (5, 6, 7, 8):
        raw = raw.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        raw = raw[::-1]
    if orientation in (2, 3, 6, 7):
        raw = raw[:, ::-1]
    return np.ascontiguousarray(raw)
