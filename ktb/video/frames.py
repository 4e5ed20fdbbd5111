"""Frames of a recording, one after the other: from folders here, from archives and videos beside this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ktb.datasets.pairing import match
from ktb.inputs import AUTO, RawX, XOptions, read_image_rgb, read_x
from ktb.inputs.readers.files import Source
from ktb.utils.text import natural_key

_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Frame:
    """One moment of a recording.

    Attributes:
        name: of the files, or "frame 12" of a video (counted from 0).
        rgb: (H, W, 3) uint8, None if it cannot be read.
        x: X as it was read; None if the recording has none, or if it cannot be read.
        error: why the frame cannot be run, None if it can.
    """

    name: str
    rgb: np.ndarray | None
    x: RawX | None = None
    error: str | None = None


class Frames(Protocol):
    """A recording that can be gone through; one frame is in memory at a time.

    Attributes:
        length: frames that are expected, None if that is not known before the end.
        fps: of the recording, None if it has none.
        has_x: whether frames have an X.
        notes: sentences for the user; complete after the last frame.
    """

    length: int | None
    fps: float | None
    has_x: bool
    notes: list[str]

    def __iter__(self) -> Iterator[Frame]: ...


class FolderFrames:
    """Frames from files that are matched by name, as `ktb.datasets.pairing.match` does it, in natural order.

    Args:
        rgb: place of the RGB images: a folder, a glob, or a pattern with {name}.
        x: places of the X files; several if an X input consists of several files; none for no X.
        options: what the reader of X has to know (event streams).

    Raises:
        ValueError: no such folder, no files, or no name in every place.
    """

    fps = None

    def __init__(self, rgb: str, x: Sequence[str] = (), options: XOptions = AUTO):
        matched = match(rgb, x)
        self._pairs = sorted(matched.pairs, key=lambda pair: natural_key(pair.name))
        self._options = options
        self.length: int | None = len(self._pairs)
        self.has_x = bool(x)
        self.notes = [left_out(f"'{place}'", names) for place, names in matched.lacking.items()]

    def __iter__(self) -> Iterator[Frame]:
        for pair in self._pairs:
            yield read_frame(pair.name, pair.rgb, pair.x, None, self._options)


def read_frame(
    name: str,
    rgb: Source,
    x: Sequence[Source],
    x_names: Sequence[str] | None = None,
    options: XOptions = AUTO,
) -> Frame:
    """A frame of files or their contents; what cannot be read is its `error`, never an exception."""
    photo = raw = None
    try:
        photo = read_image_rgb(rgb)
        if x:
            raw = read_x(list(x), None if x_names is None else list(x_names), options)
    except (ValueError, OSError) as error:
        return Frame(name, photo, raw, str(error))
    return Frame(name, photo, raw)


def left_out(place: str, names: Sequence[str]) -> str:
    """The note about names that have no file in one place."""
    some = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{place} has no file for {len(names)} names, which are left out: {some}."


class LimitedFrames:
    """The start of a recording, as many frames and pixels of RGB images as a server gives to one user.

    Args:
        frames: the recording.
        max_frames, max_pixels: a note says where it was cut.
    """

    def __init__(self, frames: Frames, max_frames: int, max_pixels: int):
        self._frames, self._max_frames, self._max_pixels = frames, max_frames, max_pixels
        self.length = None if frames.length is None else min(frames.length, max_frames)
        self.fps, self.has_x, self.notes = frames.fps, frames.has_x, frames.notes

    def __iter__(self) -> Iterator[Frame]:
        pixels = 0
        for count, frame in enumerate(self._frames):
            pixels += 0 if frame.rgb is None else frame.rgb.shape[0] * frame.rgb.shape[1]
            if count >= self._max_frames or pixels > self._max_pixels:
                self.notes.append(
                    f"Only the first {count} frames were run: at most {self._max_frames:,} frames and "
                    f"{self._max_pixels:,} pixels in all are taken here. Make the frames smaller or fewer, "
                    "or use the command line, which has no such limit."
                )
                return
            yield frame
