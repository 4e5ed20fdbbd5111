"""Video segmentation: a result video and a table of metrics per frame, in bounded memory."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ktb.config import LEVELS
from ktb.inference.prediction import Prediction
from ktb.inputs import AUTO, InputError, XOptions
from ktb.video.computing import ComputedFrame, FrameBatches
from ktb.video.drawing import VIEWS, Composer, View
from ktb.video.encoding import Container, VideoFile
from ktb.video.frames import FolderFrames, Frames
from ktb.video.table import FrameRecord, Table, read_shares
from ktb.video.video_source import MAX_FPS, VideoFrames, is_video
from ktb.video.zip_source import ZipFrames

if TYPE_CHECKING:
    from ktb.inference.predictor import Predictor

TABLE, REPORT = "sequence.csv", "sequence.json"
DEFAULT_FPS = 10.0
Containers = Literal["webm", "mp4", "both"]
_MAX_WARNINGS = 50  # number of distinct warnings to count
__all__ = [
    "FrameRecord",
    "SequenceOptions",
    "SequenceResult",
    "SequenceRun",
    "open_frames",
    "read_shares",
    "run_sequence",
]


@dataclass(frozen=True)
class SequenceOptions:
    """Options of processing and drawing a video.

    Attributes:
        x: options of X, the same for all frames.
        fps: frames per second of the result; None uses that of the input, or 10.
        layout: keys of `ktb.video.drawing.VIEWS`, from left to right.
        opacity: opacity of the mask over the RGB image, 0..1.
        container: "webm" (VP8), "mp4" (H.264 if this computer has an encoder, see `ktb.video.encoding`;
            else MPEG-4 part 2, which browsers do not play, and a note), or "both".

    Raises ValueError for an invalid value.
    """

    x: XOptions = AUTO
    fps: float | None = None
    layout: tuple[View, ...] = ("overlay", "mask", "balance")
    opacity: float = 0.6
    container: Containers = "webm"

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= MAX_FPS:
            raise ValueError(f"fps = {self.fps}: give frames per second, above 0, at most {MAX_FPS:g}")
        if unknown := [view for view in self.layout if view not in VIEWS]:
            raise ValueError(f"layout: {unknown[0]!r} is no view; choose from {', '.join(VIEWS)}")
        if not self.layout or len(set(self.layout)) != len(self.layout):
            raise ValueError(f"layout {self.layout}: give at least one of {', '.join(VIEWS)}, each once")
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"opacity = {self.opacity}: choose 0 (only the RGB image) .. 1 (only the mask)")
        if self.container not in get_args(Containers):
            raise ValueError(f"container {self.container!r}: choose one of {', '.join(get_args(Containers))}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the video files."""
        wanted = get_args(Container) if self.container == "both" else (self.container,)
        return tuple(f"sequence.{suffix}" for suffix in wanted)


@dataclass(frozen=True)
class SequenceResult:
    """Paths of the results and summary of the video.

    Attributes:
        videos: video file → codec, such as "H.264".
        codec_notes: what the user should know about the codecs.
    """

    checkpoint: str
    videos: dict[Path, str]
    table: Path
    report: Path
    frames: int
    failed: int
    stopped: bool
    fps: float
    seconds: float
    notes: tuple[str, ...]
    codec_notes: tuple[str, ...] = ()
    warnings: dict[str, int] = field(default_factory=dict)

    @property
    def video(self) -> Path:
        """The first video file: WebM if there are both."""
        return next(iter(self.videos))


class SequenceRun:
    """Process a video; iterate over it once, then read `result`.

    Leaving the loop early, by `break` or by an exception, also leaves a playable video and a complete table.

    Args:
        predictor, frames: the predictor and the frames of the video.
        out: folder for sequence.csv, sequence.json, and sequence.webm or sequence.mp4 (or both); created if
            necessary, existing files are overwritten.
        options: see `SequenceOptions`.
        should_stop: called before every frame; True stops the run.
        turn: context in which the network runs, so that others can use it between two frames.
    """

    def __init__(
        self,
        predictor: Predictor,
        frames: Frames,
        out: Path,
        options: SequenceOptions | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        turn: Callable[[], AbstractContextManager] = nullcontext,
    ):
        self.options = options or SequenceOptions()
        self.result: SequenceResult | None = None
        self._predictor, self._frames, self._out = predictor, frames, Path(out)
        self._should_stop, self._turn = should_stop, turn
        self._config = predictor.model.config
        self._composer = Composer(self.options.layout, self._config.name, self.options.opacity)
        self._previous: np.ndarray | None = None
        self._warnings: Counter[str] = Counter()
        self._units: set[str] = set()

    def __iter__(self) -> Iterator[FrameRecord]:
        options, started = self.options, time.perf_counter()
        self._out.mkdir(parents=True, exist_ok=True)
        fps = options.fps or self._frames.fps or DEFAULT_FPS
        videos = [VideoFile(self._out / name, fps) for name in options.names]
        levels = LEVELS if self._config.fusion.kind == "dscf" else 0
        count = failed = 0
        is_complete = False
        with (self._out / TABLE).open("w", newline="", encoding="utf-8") as file:
            table = Table(file, self._config.classes, levels)
            try:
                batches = FrameBatches(self._predictor, self._frames, self.options.x, self._turn)
                while not self._should_stop():
                    if not (batch := batches.take()):
                        is_complete = True
                        break
                    for number, computed in enumerate(batch):
                        if number and self._should_stop():
                            return
                        record = self._record(count, computed)
                        for video in videos:
                            video.write(record.picture)
                        table.write(record)
                        count += 1
                        failed += record.error is not None
                        yield record
            finally:
                with ExitStack() as closing:  # the files are finished even if one of them cannot be
                    closing.callback(self._finish, videos, fps, count, failed, not is_complete, started)
                    for video in videos:
                        closing.callback(video.close)

    def _record(self, index: int, computed: ComputedFrame) -> FrameRecord:
        begun, frame = time.perf_counter(), computed.frame
        prediction, error = computed.finish(self._predictor)
        has_x = prediction is not None and prediction.x.origin != "missing"
        maps = computed.balance if error is None and has_x else ()
        title = f"{index}   {frame.name}" if frame.name != f"frame {index}" else frame.name
        picture = self._composer.draw(title, frame.rgb, prediction, maps, error)
        figures = (*self._figures(prediction), tuple(float(level.mean()) for level in maps))
        seconds = computed.seconds + time.perf_counter() - begun
        return FrameRecord(index, frame.name, error, seconds, *figures, picture)

    def _figures(self, prediction: Prediction | None):
        """Shares, mean confidence and changed share; keeps the mask for the next frame."""
        if prediction is None:
            self._previous = None
            return None, None, None
        labels, before = prediction.labels["fused"], self._previous
        self._previous = labels
        shares = np.bincount(labels.ravel(), minlength=len(prediction.classes)) / labels.size
        is_alike = before is not None and before.shape == labels.shape
        changed = float((labels != before).mean()) if is_alike else None
        confidence = float(prediction.confidences["fused"].mean(dtype=np.float64))
        for warning in prediction.warnings:
            if warning in self._warnings or len(self._warnings) < _MAX_WARNINGS:
                self._warnings[warning] += 1
        if (unit := prediction.x.facts.get("unit")) and len(self._units) < _MAX_WARNINGS:
            self._units.add(unit)
        return shares, confidence, changed

    def _finish(
        self,
        videos: Sequence[VideoFile],
        fps: float,
        count: int,
        failed: int,
        stopped: bool,
        started: float,
    ) -> None:
        notes = list(self._frames.notes)
        if len(self._units) > 1:
            units = "; ".join(sorted(self._units))
            notes.append(f"X was detected in different units: {units}. If that is wrong, set the unit.")
        self.result = SequenceResult(
            checkpoint=self._config.name,
            videos={video.path: video.encoding.codec for video in videos},
            table=self._out / TABLE,
            report=self._out / REPORT,
            frames=count,
            failed=failed,
            stopped=stopped,
            fps=fps,
            seconds=time.perf_counter() - started,
            notes=tuple(notes),
            codec_notes=tuple(video.encoding.note for video in videos if video.encoding.note),
            warnings=dict(self._warnings),
        )
        if self._out.is_dir():  # a server may have deleted the folder of a closed session
            text = json.dumps(self._report(self.result), indent=2, ensure_ascii=False)
            self.result.report.write_text(text + "\n", encoding="utf-8")

    def _report(self, result: SequenceResult) -> dict[str, Any]:
        options = {name: value for name, value in asdict(self.options).items() if name != "x"}
        return {
            "checkpoint": result.checkpoint,
            "status": "stopped" if result.stopped else "complete",
            "frames": result.frames,
            "failed": result.failed,
            "expected": self._frames.length,
            "seconds": round(result.seconds, 3),
            "options": options
            | {"fps": result.fps, "x": {k: v for k, v in asdict(self.options.x).items() if v}},
            "has_x": self._frames.has_x,
            "videos": {path.name: codec for path, codec in result.videos.items()},
            "table": result.table.name,
            "notes": [*result.notes, *result.codec_notes],
            "warnings": result.warnings,
        }


def run_sequence(
    predictor: Predictor,
    frames: Frames,
    out: Path,
    options: SequenceOptions | None = None,
    on_frame: Callable[[FrameRecord], object] = lambda record: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SequenceResult:
    """Segment a video frame by frame; arguments as for `SequenceRun`.

    Raises:
        ValueError, OSError: the video cannot be opened, or the results cannot be written. A failed frame is
            recorded and shown, and processing continues with the next frame.
    """
    run = SequenceRun(predictor, frames, out, options, should_stop)
    for record in run:
        on_frame(record)
    assert run.result is not None
    return run.result


def open_frames(
    rgb: str | Path, x: str | Path | None = None, options: XOptions = AUTO, with_x: bool = True
) -> Frames:
    """Open frames from a zip archive, one or two videos, or folders (or patterns) matched by name.

    Args:
        options: options of the reader of X (event streams).
        with_x: False ignores the X of an archive.

    Raises:
        ValueError: as for `ZipFrames`, `VideoFrames` and `FolderFrames`, or a video is paired with a folder.
    """
    if str(rgb).lower().endswith(".zip"):
        if x is not None:
            raise InputError(f"{rgb}: a zip archive holds both folders; leave out {x}")
        return ZipFrames(rgb, with_x, options)
    if x is not None and is_video(rgb) != is_video(x):
        raise InputError(f"{rgb} and {x}: give two videos, or two folders")
    if is_video(rgb):
        return VideoFrames(rgb, x)
    return FolderFrames(str(rgb), [] if x is None else [str(x)], options)
