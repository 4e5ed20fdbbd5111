"""Raw frames of polarization cameras: a mosaic of four polarizers, detected and separated."""

import cv2
import numpy as np

LAYOUT = ((90, 45), (135, 0))
"""Polarizer angles in degrees of every 2 x 2 pixels, by row and column (Sony's Polarsens sensors)."""
# Of 300 real images none has a share above 0.01; of mosaics made of 128 of them with a degree of 0.1 all have
# 0.25 or more. Bayer mosaics of them reach a balance of 0.17, mosaics of polarizers have 0.7 or more.
_BLOCK = 16  # pixels a side, over which the pattern is averaged
_SHARE = 0.06  # of the blocks that show the pattern
_AGREEMENT = 0.6  # of the pixels' senses in a block; texture alternates at random, and edges are few pixels
_STRENGTH = 0.004  # of the image's mean
_BALANCE = 0.3  # of the pattern in one diagonal to that in the other
_MISFIT = 0.3  # of I0 + I90 - I45 - I135 to the pattern
_ALTERNATION = 1.5  # of differences between superpixels to those between every other one
_MAX_SIDE = 2048  # pixels a side that are examined


def is_polarizer_mosaic(image: np.ndarray) -> bool:
    """Whether an image (H, W) has the pattern of a polarizer mosaic, of a grey or a colour sensor.

    Along each diagonal the pixels alternate around what their neighbours predict, in the same sense all over
    a block, as only a mosaic makes them, and both diagonals of a 2 x 2 superpixel have the same sum. In a
    Bayer mosaic one diagonal does not alternate. A colour sensor has a Bayer mosaic of such superpixels.
    """
    image = _middle(image).astype(np.float32)
    if _has_pattern(image, 1):
        return True
    height, width = (side // 4 for side in image.shape)
    quads = image[: 4 * height, : 4 * width].reshape(height, 4, width, 4)
    return _has_pattern(quads[:, :2, :, 2:].reshape(2 * height, 2 * width), 3)


def is_colour_mosaic(mosaic: np.ndarray) -> bool:
    """Whether the superpixels of a mosaic have the colours of a Bayer pattern: every other one is alike."""
    height, width = (side // 2 for side in mosaic.shape)
    sums = mosaic[: 2 * height, : 2 * width].reshape(height, 2, width, 2).sum(axis=(1, 3), dtype=np.float64)
    near, far = (np.abs(sums[:, :-step] - sums[:, step:]).mean() for step in (1, 2))
    return bool(near > _ALTERNATION * far)


def _has_pattern(image: np.ndarray, gap: int) -> bool:
    """Whether superpixels, `gap` pixels apart in the scene, show a mosaic of polarizers."""
    if min(image.shape) < 2 * _BLOCK or not np.isfinite(image).all():
        return False
    bends = _bends(image, gap)
    rows, columns = np.ogrid[: bends[0].shape[0], : bends[0].shape[1]]
    signs = np.where(rows % 2, -1, 1).astype(np.float32)
    mean = float(np.abs(image).mean())
    diagonals = [(rows + columns) % 2 == parity for parity in (0, 1)]
    means, agreement = [], []
    for bend, of in zip(bends, diagonals):
        senses = np.where(np.abs(bend) > 1e-3 * mean, np.sign(bend), 0)
        means.append(2 * np.abs(_blocks(np.where(of, bend * signs, 0))))
        agreement.append(2 * np.abs(_blocks(np.where(of, senses * signs, 0))))
    pattern = np.hypot(*means)
    shown = (pattern > _STRENGTH * mean) & (np.maximum(*agreement) > _AGREEMENT)
    if shown.mean() < _SHARE or _is_doubled(image, shown):
        return False
    sums = [float(part[shown].sum()) for part in means]
    height, width = (side & ~1 for side in bends[0].shape)
    upper_left, upper_right, lower_left, lower_right = (
        image[row:height:2, column:width:2] for row in (0, 1) for column in (0, 1)
    )
    misfit = np.abs(_blocks(upper_left + lower_right - upper_right - lower_left, _BLOCK // 2)) / 2
    return min(sums) > _BALANCE * max(sums) and misfit[shown].sum() < _MISFIT * pattern[shown].sum()


def _bends(image: np.ndarray, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """What each inner pixel differs from the linear prediction of its diagonal neighbours, by diagonal.

    The falling diagonal is for pixels whose row and column have one parity, the rising one for the others:
    there one neighbour lies in the same superpixel, and the other one `gap` pixels away.
    """
    near = gap / (gap + 1)  # weight of the neighbour in the same superpixel
    rows = np.arange(1, image.shape[0] - 1)[:, None]
    above = np.where(rows % 2, near, 1 - near).astype(np.float32)  # odd rows: the superpixel's other row
    inner = image[1:-1, 1:-1]
    falling = inner - above * image[:-2, :-2] - (1 - above) * image[2:, 2:]
    rising = inner - above * image[:-2, 2:] - (1 - above) * image[2:, :-2]
    return falling, rising


def demosaicked(mosaic: np.ndarray) -> np.ndarray:
    """The intensities behind the polarizers at 0, 45, 90 and 135 degrees, (H, W, 4) float32.

    mosaic: (H, W), a frame with `LAYOUT`. Each polarizer's pixels are interpolated bilinearly; those of a
    colour sensor are repeated, as its superpixels have different colours.
    """
    height, width = mosaic.shape
    repeats = is_colour_mosaic(mosaic)
    place = {angle: (row, column) for row, angles in enumerate(LAYOUT) for column, angle in enumerate(angles)}
    channels = []
    for angle in (0, 45, 90, 135):
        row, column = place[angle]
        plane = np.ascontiguousarray(mosaic[row::2, column::2], np.float32)
        if repeats:
            rows, columns = (np.arange(side) // 2 for side in (height, width))
            whole = plane[rows.clip(max=len(plane) - 1)][:, columns.clip(max=plane.shape[1] - 1)]
        else:
            matrix = np.float32([[2, 0, column], [0, 2, row]])  # from pixels of the plane to the frame's
            whole = cv2.warpAffine(
                plane, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        channels.append(whole)
    return np.stack(channels, axis=-1)


def _is_doubled(image: np.ndarray, shown: np.ndarray) -> bool:
    """Whether the image was enlarged by repeating its pixels, of which every other diagonal step is none."""
    equal = image[:-2, :-2] == image[1:-1, 1:-1]
    for row in (0, 1):
        for column in (0, 1):
            part = np.zeros(equal.shape, np.float32)
            part[row::2, column::2] = 4 * equal[row::2, column::2]
            if _blocks(part)[shown].mean() > _AGREEMENT:
                return True
    return False


def _middle(image: np.ndarray) -> np.ndarray:
    """The middle of a large image, from an even row and column on."""
    parts = [max(0, side - _MAX_SIDE) // 2 & ~1 for side in image.shape]
    return image[tuple(slice(start, start + _MAX_SIDE) for start in parts)]


def _blocks(values: np.ndarray, side: int = _BLOCK) -> np.ndarray:
    """Means of whole blocks (H // side, W // side)."""
    height, width = (length // side for length in values.shape)
    cut = values[: height * side, : width * side]
    return cut.reshape(height, side, width, side).mean(axis=(1, 3))
