"""Encoding of result videos: WebM with VP8, and MP4 with H.264 where an encoder for it exists."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Literal, Protocol

import cv2
import numpy as np

Container = Literal["webm", "mp4"]
H264_ENCODERS = (
    "libx264",
    "libopenh264",
    "h264_videotoolbox",
    "h264_nvenc",
    "h264_qsv",
    "h264_amf",
    "h264_mf",
)
"""Encoders of FFmpeg in the order in which they are tried: software first."""
NO_H264 = (
    "The MP4 file is encoded as MPEG-4 part 2, which browsers do not play: no H.264 encoder was found. "
    "Use the WebM file, or install ffmpeg (Debian: apt-get install ffmpeg)."
)
_FPS_OF_TRIAL, _SIDE_OF_TRIAL = 10.0, 256  # pixels; hardware encoders refuse small images
_TRIAL_SECONDS = 20.0
_BITS_PER_PIXEL = 0.2  # for encoders without a constant quality
_OPENCV_TRIAL = """
import sys, cv2, numpy
video = cv2.VideoWriter(sys.argv[1], cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"avc1"), 10.0, (256, 256))
if not video.isOpened():
    sys.exit(1)
video.write(numpy.zeros((256, 256, 3), numpy.uint8))
video.release()
sys.exit(0 if cv2.VideoCapture(sys.argv[1]).read()[0] else 1)
"""


@dataclass(frozen=True)
class Encoding:
    """How a video file is encoded.

    Attributes:
        codec: name of the codec, such as "H.264".
        fourcc: code of the codec for OpenCV; "" if FFmpeg's executable encodes.
        command: path of FFmpeg's executable and name of its encoder, or ().
        note: what the user should know about the codec, or "".
    """

    codec: str
    fourcc: str = ""
    command: tuple[str, str] | tuple[()] = ()
    note: str = ""


def choose_encoding(container: Container) -> Encoding:
    """The best encoding of a container on this computer.

    MP4 is H.264 by OpenCV, else H.264 by the executable `ffmpeg` of the PATH, else MPEG-4 part 2.
    """
    if container == "webm":
        return Encoding("VP8", "VP80")
    if _opencv_has_h264():
        return Encoding("H.264", "avc1")
    if command := _ffmpeg_with_h264():
        return Encoding("H.264", command=command)
    return Encoding("MPEG-4 part 2", "mp4v", note=NO_H264)


class VideoFile:
    """Write a video image by image; `close` makes it playable.

    Args:
        path: output file; its suffix selects the container, .webm or .mp4.
        fps: frames per second.

    Attributes:
        encoding: the codec, and what is to be said about it.
    """

    def __init__(self, path: Path, fps: float):
        self.path, self.encoding, self._fps = path, choose_encoding(path.suffix[1:]), fps
        self._writer: _Writer | None = None

    def write(self, picture: np.ndarray) -> None:
        """Append an (H, W, 3) uint8 RGB image with even sides; all images have one size.

        Raises:
            OSError: OpenCV lacks the codec, ffmpeg failed, or the path is not writable.
        """
        if self._writer is None:
            size = picture.shape[1], picture.shape[0]
            if self.encoding.command:
                self._writer = _FfmpegWriter(self.path, self.encoding.command, self._fps, size)
            else:
                self._writer = _OpenCvWriter(self.path, self.encoding.fourcc, self._fps, size)
        self._writer.write(picture)

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: ffmpeg failed.
        """
        if self._writer is not None:
            self._writer.close()


class _Writer(Protocol):
    def write(self, picture: np.ndarray) -> None: ...

    def close(self) -> None: ...


class _OpenCvWriter:
    def __init__(self, path: Path, fourcc: str, fps: float, size: tuple[int, int]):
        self._video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*fourcc), fps, size)
        if not self._video.isOpened():
            raise OSError(f"{path} cannot be written by this OpenCV; choose another container")

    def write(self, picture: np.ndarray) -> None:
        self._video.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._video.release()


class _FfmpegWriter:
    """Pipe raw frames to FFmpeg's executable; its messages go to a temporary file."""

    def __init__(self, path: Path, command: tuple[str, str], fps: float, size: tuple[int, int]):
        self._path, self._said = path, tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        out = [*_mp4_options(), "-y", f"file:{path}"]
        try:
            self._process = subprocess.Popen(
                [*_encode(command, fps, size), *out],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._said,
            )  # fmt: skip
        except OSError:
            self._said.close()
            raise

    def write(self, picture: np.ndarray) -> None:
        try:
            self._pipe.write(np.ascontiguousarray(picture).data)
        except BrokenPipeError:
            self.close()
            raise OSError(f"{self._path} cannot be written: ffmpeg stopped early") from None

    def close(self) -> None:
        with suppress(BrokenPipeError):  # its exit status says why
            self._pipe.close()
        status = self._process.wait()
        if self._said.closed:
            return
        with self._said as file:
            file.seek(0)
            lines = file.read().decode(errors="replace").split("\n")
        if status and self._path.parent.is_dir():  # a server may have deleted the folder of a closed session
            reason = next((line.strip() for line in reversed(lines) if line.strip()), f"exit status {status}")
            raise OSError(f"{self._path} cannot be written: ffmpeg says: {reason}")

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin


def _encode(command: tuple[str, str], fps: float, size: tuple[int, int]) -> list[str]:
    """FFmpeg's arguments up to the encoder: raw RGB frames from standard input, converted to 4:2:0."""
    program, encoder = command
    width, height = size
    quality = ["-preset", "veryfast", "-crf", "20"]
    if encoder != "libx264":
        quality = ["-b:v", str(round(_BITS_PER_PIXEL * width * height * fps) + 200_000)]
    return [
        program, "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file,pipe",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}", "-framerate", f"{fps:.6g}",
        "-i", "pipe:0", "-an", "-vf", "scale=out_color_matrix=bt601:out_range=tv", "-pix_fmt", "yuv420p",
        "-color_range", "tv", "-colorspace", "smpte170m", "-c:v", encoder, *quality,
    ]  # fmt: skip


def _mp4_options() -> list[str]:
    return ["-movflags", "+faststart", "-f", "mp4"]


@cache
def _opencv_has_h264() -> bool:
    """Whether this OpenCV encodes H.264; tried in another process, because FFmpeg prints errors."""
    with tempfile.TemporaryDirectory(prefix="ktb-codec-") as folder:
        return _succeeds([sys.executable, "-c", _OPENCV_TRIAL, str(Path(folder, "trial.mp4"))])


def _ffmpeg_with_h264() -> tuple[str, str] | tuple[()]:
    """Path of FFmpeg's executable and its first H.264 encoder that works here, or ()."""
    program = shutil.which("ffmpeg")
    if program is None:
        return ()
    listed = _encoders(program)
    side = _SIDE_OF_TRIAL
    for encoder in H264_ENCODERS:
        trial = [*_encode((program, encoder), _FPS_OF_TRIAL, (side, side)), "-f", "null", "-"]
        if encoder in listed and _succeeds(trial, bytes(3 * side * side)):
            return program, encoder
    return ()


def _encoders(program: str) -> set[str]:
    """Names of the encoders that an FFmpeg lists; empty if it does not run."""
    command = [program, "-hide_banner", "-encoders"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRIAL_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return set()
    lines = done.stdout.decode(errors="replace").splitlines()
    return {words[1] for line in lines if len(words := line.split()) > 1 and words[0].startswith("V")}


def _succeeds(command: list[str], given: bytes = b"") -> bool:
    """Whether a command exits with status 0; its output is dropped."""
    try:
        done = subprocess.run(
            command, input=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=_TRIAL_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
