"""Videos and archives of frames, read in the process of a `Sandbox`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ktb.inputs import AUTO, XOptions
from ktb.inputs.limits import FREE_EXPANSION, MAX_DECODED_BYTES, MAX_EXPANSION
from ktb.inputs.readers.sandbox import FIXED_MEMORY, Sandbox
from ktb.video.frames import Frame, Frames
from ktb.video.video_source import VideoFrames
from ktb.video.zip_source import ZipFrames


def sandboxed_zip(sandbox: Sandbox, path: str | Path, options: XOptions = AUTO) -> Frames:
    """`ZipFrames` in a sandbox: the member list is read and each member is decoded there."""
    path = Path(path).absolute()
    return _SandboxedFrames(sandbox, path.name, _memory(path), _zip_values, str(path), options)


def sandboxed_video(sandbox: Sandbox, rgb: str | Path, x: str | Path | None = None) -> Frames:
    """`VideoFrames` in a sandbox: the containers are opened and each frame is decoded there."""
    paths = [Path(path) for path in (rgb, x) if path is not None]
    name, memory = " and ".join(path.name for path in paths), sum(map(_memory, paths))
    return _SandboxedFrames(sandbox, name, memory, _video_values, *(str(path.absolute()) for path in paths))


class _SandboxedFrames:
    """`Frames` from a generator function in the other process."""

    def __init__(self, sandbox: Sandbox, name: str, memory: int, values: Callable, *arguments: Any):
        def stream() -> Iterator:
            return sandbox.stream(values, *arguments, name=name, memory=memory)

        self._stream = stream
        opened = stream()
        self.length, self.fps, self.has_x, self.notes = next(opened)
        opened.close()

    def __iter__(self) -> Iterator[Frame]:
        values = self._stream()
        next(values)
        for value in values:
            if isinstance(value, list):  # the notes, after the last frame
                self.notes[:] = value
            else:
                yield Frame(*value)


def _zip_values(path: str, options: XOptions) -> Iterator:
    return _values(ZipFrames(path, options=options))


def _video_values(rgb: str, x: str | None = None) -> Iterator:
    return _values(VideoFrames(rgb, x))


def _values(frames: Frames) -> Iterator:
    """Facts, then frames as tuples, then the notes as a list."""
    yield frames.length, frames.fps, frames.has_x, list(frames.notes)
    for frame in frames:
        yield frame.name, frame.rgb, frame.x, frame.error, frame.orientation, frame.rgb_notes
    yield list(frames.notes)


def _memory(path: str | Path) -> int:
    """Memory limit for one frame at a time, at least that of a small image."""
    stored = Path(path).stat().st_size if Path(path).is_file() else 0
    return FIXED_MEMORY + 4 * min(MAX_DECODED_BYTES, max(2 * FREE_EXPANSION, MAX_EXPANSION * stored))
