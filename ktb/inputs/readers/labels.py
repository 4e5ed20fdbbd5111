"""Label images with stored numbers: palette indices, not colours."""

from collections.abc import Sequence

import numpy as np

from ktb.inputs.limits import InputError
from ktb.inputs.readers.files import Source, load
from ktb.inputs.readers.images import open_still
from ktb.inputs.readers.pnm import is_pnm, read_pnm
from ktb.inputs.readers.stills import find_still
from ktb.labels import IGNORE_INDEX

LOSSLESS = ("PNG", "TIFF", "BMP", "GIF", "PPM")
"""Formats of label pictures; JPEG and WebP change class numbers."""


def read_label_picture(source: Source, filename: str | None = None) -> tuple[np.ndarray, str]:
    """Read stored labels (H, W) integers, or (H, W, 3) uint8 colours, and the file's name.

    Raises:
        InputError: another kind of file, damaged, outside the limits, or no whole numbers.
    """
    data, name = load(source, filename)
    if is_pnm(data):
        return read_pnm(data, name)[0], name
    still = find_still(data, name)
    if still.format not in LOSSLESS:
        raise InputError(f"{name}: a {still.format} picture loses class numbers; give the labels as PNG")
    with open_still(still, name) as picture:
        try:
            if picture.mode in ("PA", "LA"):
                picture = picture.getchannel(0)
            stored = np.array(picture.convert("RGB") if picture.mode in ("RGBA", "CMYK") else picture)
        except Exception as error:  # decoders raise many types for damaged data
            raise InputError(f"{name}: the picture is damaged or cut off ({error})") from error
    if stored.ndim == 3 and stored.shape[2] == 3 and (stored == stored[..., :1]).all():
        stored = stored[..., 0]  # class numbers in three equal channels
    if stored.dtype.kind not in "uib" or stored.ndim not in (2, 3):
        raise InputError(f"{name}: {stored.dtype} values are no class numbers; give whole numbers, as PNG")
    return stored, name


def labels_from_colors(
    stored: np.ndarray,
    palette: Sequence[tuple[int, int, int]],
    name: str,
    colors: str = "the checkpoint's palette",
) -> np.ndarray:
    """Classes (H, W) uint8 of a label picture in the classes' colours; black is 255, not labelled.

    Args:
        stored: (H, W, 3) uint8.
        palette: K colours. colors: what they are, for the message.

    Raises:
        InputError: a colour of no class.
    """

    def code(colors: np.ndarray) -> np.ndarray:
        return colors.astype(np.int32) @ np.array([65536, 256, 1], np.int32)

    known, found = code(np.asarray(palette).reshape(-1, 3)), code(stored)
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known[order], found).clip(max=len(known) - 1)
    is_class = known[order][place] == found
    wrong = np.unique(found[~is_class & (found != 0)])
    if len(wrong):
        red, green, blue = (int(wrong[0]) >> shift & 255 for shift in (16, 8, 0))
        raise InputError(
            f"{name}: a colour picture with {len(wrong)} colours that are not in {colors}, "
            f"such as ({red}, {green}, {blue}). Give the class numbers (one channel, or a palette PNG)"
        )
    return np.where(is_class, order[place], IGNORE_INDEX).astype(np.uint8)
