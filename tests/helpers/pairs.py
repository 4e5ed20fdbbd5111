"""Small RGB and depth pairs made on the spot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def synthetic_pair(height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A room-like RGB image (H, W, 3) uint8 and its depth (H, W) uint16 in millimetres with a few holes."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width] / (height - 1)
    depth = np.where(y > 0.6, 4000 - 5500 * (y - 0.6), 4000.0)
    box = (x > 0.5) & (x < 0.9) & (y > 0.4) & (y < 0.8)
    depth[box] = 1800
    photo = np.stack([200 - 60 * y, 190 - 50 * y, 180 - 80 * y], axis=-1)
    photo[box] = (150, 60, 40)
    photo = np.clip(photo + rng.normal(0, 6, photo.shape), 0, 255).astype(np.uint8)
    depth = (depth + rng.normal(0, 4, depth.shape)).astype(np.uint16)
    depth[10:14, 20:30] = 0
    return photo, depth


def room_mm(height: int = 60, width: int = 80, far: int = 5000) -> np.ndarray:
    """A floor that comes nearer downwards, (H, W) uint16 mm, all levels coprime to 5 and 8 somewhere."""
    rows = np.linspace(far, 700, height)[:, None]
    return (rows + np.arange(width)[None] * 1.3).astype(np.uint16)


def write_pair(folder: Path, height: int = 120, width: int = 160) -> tuple[Path, Path]:
    """Write the pair as rgb.png and 16-bit depth.png."""
    photo, depth = synthetic_pair(height, width)
    rgb_path, depth_path = folder / "rgb.png", folder / "depth.png"
    cv2.imwrite(str(rgb_path), photo[..., ::-1])
    cv2.imwrite(str(depth_path), depth)
    return rgb_path, depth_path
