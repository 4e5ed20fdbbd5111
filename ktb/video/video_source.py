"""Frames from an RGB video and optionally an X video, paired by frame number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ktb.inputs import InputError, RawX
from ktb.inputs.limits import check_size
from ktb.video.frames import Frame

VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
MAX_FPS = 240.0
_GREY_TOLERANCE = 3  # maximum channel difference of a grey video after compression


class VideoFrames:
    """Frames of an RGB video and optionally an X video.

    X has 8 bits: one channel while the X video is grey, and RGB from its first coloured frame on.

    Args:
        rgb: MP4, MOV, AVI, MKV or WebM.
        x: same formats, or None for RGB images alone; the longer video is truncated, with a note.

    Raises:
        InputError: the file is missing, is not a video, or exceeds the limits of an image.
    """

    def __init__(self, rgb: str | Path, x: str | Path | None = None):
        self._paths = [Path(rgb), *([] if x is None else [Path(x)])]
        facts = [_facts(path) for path in self._paths]
        counts = [count for _, count in facts]
        self.fps = facts[0][0]
        self.has_x = x is not None
        self.length = None if None in counts else min(counts)
        self.notes: list[str] = []
        rates = [rate for rate, _ in facts if rate is not None]
        if len(rates) == 2 and abs(rates[0] - rates[1]) > 0.01 * max(rates):
            self.notes.append(
                f"The videos have {rates[0]:.4g} and {rates[1]:.4g} frames a second; frames are paired by "
                "their number, which is wrong unless they were taken together."
            )

    def __iter__(self) -> Iterator[Frame]:
        videos = [_opened(path) for path in self._paths]
        name, has_color, count = self._paths[-1].name, False, 0
        try:
            while True:
                pictures = [_next(video) for video in videos]
                if any(picture is None for picture in pictures):
                    break
                x = None
                if self.has_x:
                    has_color = has_color or not _is_grey(pictures[1])
                    data = pictures[1] if has_color else np.ascontiguousarray(pictures[1][..., 1])
                    x = RawX(data, "8-bit video", name)
                yield Frame(f"frame {count}", pictures[0], x)
                count += 1
        finally:
            for video in videos:
                video.release()
        self._note_the_end(count, [picture is None for picture in pictures])

    def _note_the_end(self, count: int, ended: list[bool]) -> None:
        if self.has_x and not all(ended):
            short, long = (0, 1) if ended[0] else (1, 0)
            self.notes.append(
                f"{self._paths[short].name} ends after {count} frames, {self._paths[long].name} goes on: the "
                "common part was taken."
            )
        elif self.length is not None and count < self.length - 1:
            self.notes.append(
                f"{self._paths[0].name} should have {self.length} frames, but only {count} could be read; it "
                "is damaged or cut off."
            )


def is_video(path: str | Path) -> bool:
    """Whether a file name has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEOS


def _opened(path: Path) -> cv2.VideoCapture:
    """Open a video; InputError for a file that is not a video in a known container.

    The first bytes are checked before FFmpeg opens the file: it follows playlists to other files and hosts.
    """
    name = path.name
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error})") from error
    known = (
        start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
        or (start[:4] == b"RIFF" and start[8:11] == b"AVI")
        or start[:4] == b"\x1a\x45\xdf\xa3"
    )
    if not known:
        raise InputError(f"{name}: no video of a known kind; give MP4, MOV, AVI, MKV or WebM")
    video = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    if not video.isOpened():
        video.release()
        raise InputError(f"{name}: the video cannot be decoded; save it as MP4 (H.264) or WebM")
    return video


def _facts(path: Path) -> tuple[float | None, int | None]:
    """Frames per second and number of frames, None if unknown; InputError as for `_opened`."""
    video = _opened(path)
    try:
        width, height, fps, count = (
            video.get(key)
            for key in (
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
                cv2.CAP_PROP_FPS,
                cv2.CAP_PROP_FRAME_COUNT,
            )
        )
    finally:
        video.release()
    check_size(int(width), int(height), path.name)
    return (
        fps if math.isfinite(fps) and 0 < fps <= MAX_FPS else None,
        int(count) if math.isfinite(count) and 0 < count < 2**31 else None,
    )


def _next(video: cv2.VideoCapture) -> np.ndarray | None:
    """The next frame (H, W, 3) uint8 RGB, None at the end."""
    done, picture = video.read()
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) if done else None


def _is_grey(picture: np.ndarray) -> bool:
    red, green, blue = cv2.split(picture)
    return max(cv2.norm(red, green, cv2.NORM_INF), cv2.norm(blue, green, cv2.NORM_INF)) <= _GREY_TOLERANCE
