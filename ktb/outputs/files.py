"""A prediction as files: label maps, masks, an overlay and a summary, each naming its checkpoint."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ktb.config import BRANCHES
from ktb.inference.prediction import Prediction
from ktb.inputs import Origin
from ktb.visualize import Color, draw_tag, overlay

OVERLAY_OPACITY = 0.6
OUTSIDE = "outside training"
TAGS: Mapping[Origin, str] = MappingProxyType({"estimated": "X: estimated", "missing": "without X"})


def png_bytes(
    image: np.ndarray,
    model: str,
    palette: Sequence[Color] | None = None,
    origin: Origin = "measured",
    compress_level: int = 6,
) -> bytes:
    """Encode a PNG with the checkpoint's name and the origin of X in its text chunks.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W) uint8, which becomes an indexed PNG if a palette is given.
        origin: origin of X: "measured", "estimated" or "missing".
        compress_level: 0 (fast and large) to 9 (slow and small).
    """
    picture = Image.fromarray(image)
    if palette is not None:
        picture.putpalette([channel for color in palette for channel in color])
    info = PngInfo()
    info.add_text("Software", "KTB")
    info.add_text("Checkpoint", model)
    info.add_text("X", origin)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", pnginfo=info, compress_level=compress_level)
    return buffer.getvalue()


def tagged(image: np.ndarray, origin: Origin, is_outside: bool = False) -> np.ndarray:
    """The image (H, W, 3) uint8, with a line in the lower left corner if X was not measured.

    is_outside: also state that the images are unlike those of the training.
    """
    tags = [OUTSIDE] if is_outside else []
    tags += [TAGS[origin]] if origin in TAGS else []
    return draw_tag(image, "; ".join(tags)) if tags else image


def result_files(
    rgb: np.ndarray, prediction: Prediction, names: Collection[str] | None = None
) -> dict[str, bytes]:
    """Name → contents of all files of a result, or of the named ones.

    `labels_BRANCH.png` are indexed PNGs whose pixel values are class indices, `mask_BRANCH.png` are the same
    in colour, `overlay.png` is the fused mask over the RGB image, `x.png` is a preview of X, and
    `prediction.json` has the class tables. The text chunks of every image name the checkpoint and whether X
    was measured; overlay and `x.png` also show it if X was not measured. The overlay also shows whether the
    images are unlike those of the training.
    """
    model, origin, palette = prediction.model, prediction.x.origin, prediction.palette
    is_outside = bool(prediction.ribbon)
    makers: dict[str, Callable[[], bytes]] = {}
    for branch in BRANCHES:
        label, color = prediction.labels[branch], partial(prediction.colors, branch)
        makers[f"labels_{branch}.png"] = partial(png_bytes, label, model, palette, origin)
        makers[f"mask_{branch}.png"] = lambda color=color: png_bytes(color(), model, origin=origin)

    def blended() -> np.ndarray:
        return overlay(rgb, prediction.colors("fused"), OVERLAY_OPACITY)

    makers["overlay.png"] = lambda: png_bytes(tagged(blended(), origin, is_outside), model, origin=origin)
    makers["x.png"] = lambda: png_bytes(tagged(prediction.x.preview, origin), model, origin=origin)
    makers["prediction.json"] = lambda: (json.dumps(prediction.summary(), indent=2) + "\n").encode()
    return {name: make() for name, make in makers.items() if names is None or name in names}


def result_zip(rgb: np.ndarray, prediction: Prediction) -> bytes:
    """`result_files` as a ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # PNGs do not compress further
        for name, contents in result_files(rgb, prediction).items():
            archive.writestr(name, contents)
    return buffer.getvalue()


def save_result(folder: str | Path, rgb: np.ndarray, prediction: Prediction) -> list[Path]:
    """Write `result_files` to a folder, which is created if necessary; returns the paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, contents in result_files(rgb, prediction).items():
        path = folder / name
        path.write_bytes(contents)
        paths.append(path)
    return paths
