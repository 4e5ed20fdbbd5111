"""What a decoder may do to its process: imported there by `test_sandbox.py`, and quick to import."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import numpy as np


def greedy() -> int:
    """Allocate 400 MiB."""
    return len(np.ones(400 * 2**20, np.uint8))


def endless() -> None:
    """Compute forever."""
    while True:
        pass


def asleep() -> None:
    """Wait without computing."""
    time.sleep(60)


def crashing() -> None:
    """End the process by a segmentation fault."""
    os.kill(os.getpid(), signal.SIGSEGV)


def mistaken() -> None:
    """Raise what no decoder should."""
    raise KeyError("a secret of the file")


def refusing() -> None:
    """Raise a user error."""
    raise ValueError("no such numbering")


def counting(count: int) -> Iterator[np.ndarray]:
    """Yield arrays of 1000 equal numbers."""
    for number in range(count):
        yield np.full(1000, number)


def threads() -> int:
    """Number of threads of the parent process."""
    return len(os.listdir(f"/proc/{os.getppid()}/task"))


def modules() -> list[str]:
    """Which of the slow modules are imported."""
    return sorted({name.split(".")[0] for name in sys.modules} & {"torch", "gradio", "timm"})


def opens(path: str) -> bool:
    """Whether FFmpeg opens a video."""
    import cv2

    return cv2.VideoCapture(path, cv2.CAP_FFMPEG).isOpened()
