"""Videos of the tests: frames, archives, and what is read back."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import cv2
import numpy as np

from helpers.pairs import synthetic_pair
from ktb.video.encoding import VideoFile


def pair(number: int, height: int = 64, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """An RGB image and depth that move with the number."""
    photo, depth = synthetic_pair(height, width)
    return np.roll(photo, 7 * number, axis=1), np.roll(depth, 7 * number, axis=1)


def png(picture: np.ndarray) -> bytes:
    """An image in RGB order, or of one channel, as a PNG file."""
    return cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)[1].tobytes()


def zipped(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    """Write an archive of the members; its path."""
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def frames_of(count: int, top: str = "", x: str = "x") -> dict[str, bytes]:
    """The members of an archive of `count` RGB images and X files."""
    members = {}
    for i in range(count):
        photo, depth = pair(i)
        members |= {f"{top}rgb/{i}.png": png(photo), f"{top}{x}/{i}.png": png(depth)}
    return members


def write_video(path: Path, pictures: list[np.ndarray], fps: float = 12.0) -> Path:
    """Write a video of (H, W, 3) uint8 frames; its path."""
    video = VideoFile(path, fps)
    for picture in pictures:
        video.write(picture)
    video.close()
    return path


def read_video(path: Path) -> tuple[list[np.ndarray], float]:
    """The frames of a video, (H, W, 3) uint8, and its frames per second."""
    video = cv2.VideoCapture(str(path))
    pictures = []
    while (read := video.read())[0]:
        pictures.append(read[1][..., ::-1])
    return pictures, video.get(cv2.CAP_PROP_FPS)


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by column."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
