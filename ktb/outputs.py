"""A prediction as files: label maps, coloured masks, an overlay and a summary, each naming its checkpoint."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ktb.model import BRANCHES
from ktb.predictor import Prediction
from ktb.visualize import Color, overlay

OVERLAY_OPACITY = 0.6


def png_bytes(image: np.ndarray, model: str, palette: Sequence[Color] | None = None) -> bytes:
    """Lossless PNG with the checkpoint's name in its text chunk.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W) uint8 which becomes an indexed PNG if there is a palette.
    """
    picture = Image.fromarray(image)
    if palette is not None:
        picture.putpalette([channel for color in palette for channel in color])
    info = PngInfo()
    info.add_text("Software", "KTB")
    info.add_text("Checkpoint", model)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def result_files(rgb: np.ndarray, prediction: Prediction) -> dict[str, bytes]:
    """Name → contents of every file that a result consists of.

    `labels_BRANCH.png` are indexed PNGs whose pixel values are class indices, `mask_BRANCH.png` show the
    same in colour, `overlay.png` the fused mask over the photograph, `prediction.json` the class tables.
    """
    files = {}
    for branch in BRANCHES:
        files[f"labels_{branch}.png"] = png_bytes(
            prediction.labels[branch], prediction.model, prediction.palette
        )
        files[f"mask_{branch}.png"] = png_bytes(prediction.colors(branch), prediction.model)
    blended = overlay(rgb, prediction.colors("fused"), OVERLAY_OPACITY)
    files["overlay.png"] = png_bytes(blended, prediction.model)
    files["prediction.json"] = (json.dumps(prediction.summary(), indent=2) + "\n").encode()
    return files


def save_result(folder: str | Path, rgb: np.ndarray, prediction: Prediction) -> list[Path]:
    """Write `result_files` into a folder, made if it is missing; returns the paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, contents in result_files(rgb, prediction).items():
        path = folder / name
        path.write_bytes(contents)
        paths.append(path)
    return paths
