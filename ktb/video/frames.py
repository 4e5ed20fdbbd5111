"""Frame sources: the interface of frames, folders of frames, and a limit on frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ktb.datasets.pairing import match
from ktb.inputs import AUTO, RawX, RgbImage, XOptions, read_rgb, read_x
from ktb.inputs.readers.files import Source
from ktb.utils.text import natural_key

_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Attributes:
        name: name of the files, or "frame 12" of a video (counted from 0).
        rgb: (H, W, 3) uint8, or None if it cannot be read.
        x: the raw X; None if the video has none, or if it cannot be read.
        error: why the frame cannot be processed, or None.
        orientation, rgb_notes: of the RGB image, see `ktb.inputs.RgbImage`.
    """

    name: str
    rgb: np.ndarray | None
    x: RawX | None = None
    error: str | None = None
    orientation: int = 1
    rgb_notes: tuple[str, ...] = ()

    @property
    def image(self) -> RgbImage | None:
        """The RGB image with its orientation and notes."""
        if self.rgb is None:
            return None
        return RgbImage(self.rgb, self.name, orientation=self.orientation, notes=self.rgb_notes)


class Frames(Protocol):
    """An iterable of frames; one frame is in memory at a time.

    Attributes:
        length: expected number of frames, None if unknown before the end.
        fps: frames per second, None if unknown.
        has_x: whether the frames have an X.
        notes: notes for the user; complete after the last frame.
    """

    length: int | None
    fps: float | None
    has_x: bool
    notes: list[str]

    def __iter__(self) -> Iterator[Frame]: ...


class FolderFrames:
    """Frames from files matched by name, as by `ktb.datasets.pairing.match`, in natural order.

    Args:
        rgb: the RGB images: a folder, a glob, or a pattern with {name}.
        x: the X files, likewise; several if an X input consists of several files; empty for no X.
        options: options of the reader of X (event streams).

    Raises:
        ValueError: a folder or its files are missing, or no name matches in all of them.
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
    """A frame from files or their contents; a reading error becomes its `error`, not an exception."""
    photo = raw = None
    try:
        photo = read_rgb(rgb)
        if x:
            raw = read_x(list(x), None if x_names is None else list(x_names), options)
    except (ValueError, OSError) as error:
        return Frame(name, photo.pixels if photo else None, raw, str(error))
    return Frame(name, photo.pixels, raw, None, photo.orientation, photo.notes)


def left_out(place: str, names: Sequence[str]) -> str:
    """The note about names that have no file for one pattern."""
    some = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{place} has no file for {len(names)} names, which are left out: {some}."


class LimitedFrames:
    """The first frames of a video, within a server's limits of frames and RGB pixels.

    Args:
        frames: the frames of the video.
        max_frames, max_pixels: limits; a note reports the truncation.
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
                    f"Only the first {count} frames were processed: at most {self._max_frames:,} frames and "
                    f"{self._max_pixels:,} pixels in all are allowed here. Make the frames smaller or fewer, "
                    "or use the command line, which has no such limit."
                )
                return
            yield frame
