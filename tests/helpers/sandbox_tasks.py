"""What a decoder may do to its process: imported there by `test_sandbox.py`, and quick to import."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import numpy as np


def greedy() -> int:
    return len(np.ones(400 * 2**20, np.uint8))


def endless() -> None:
    while True:
        pass


def asleep() -> None:
    time.sleep(60)


def crashing() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def mistaken() -> None:
    raise KeyError("a secret of the file")


def refusing() -> None:
    raise ValueError("no such numbering")


def counting(count: int) -> Iterator[np.ndarray]:
    for number in range(count):
        yield np.full(1000, number)


def threads() -> int:
    return len(os.listdir(f"/proc/{os.getppid()}/task"))


def modules() -> list[str]:
    return sorted({name.split(".")[0] for name in sys.modules} & {"torch", "gradio", "timm"})


def opens(path: str) -> bool:
    import cv2

    return cv2.VideoCapture(path, cv2.CAP_FFMPEG).isOpened()
