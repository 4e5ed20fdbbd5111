"""Label images with stored numbers: palette indices, not colours."""

import numpy as np

from ktb.inputs.limits import InputError
from ktb.inputs.readers.files import Source, load
from ktb.inputs.readers.images import open_still
from ktb.inputs.readers.stills import find_still

_FORMATS = ("PNG", "TIFF", "BMP", "GIF")  # lossless: JPEG and WebP change class numbers


def read_label_picture(source: Source, filename: str | None = None) -> tuple[np.ndarray, str]:
    """Read stored labels (H, W) integers, or (H, W, 3) uint8 colours, and the file's name.

    Raises:
        InputError: another kind of file, damaged, outside the limits, or no whole numbers.
    """
    data, name = load(source, filename)
    still = find_still(data, name)
    if still.format not in _FORMATS:
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
