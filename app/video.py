"""Run a visitor's video for the page and the API: the same limits, and scheduling between frames."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

from app.results import Result
from app.service import Service
from ktb.checkpoints.choice import AUTO_MODEL
from ktb.inputs import XOptions
from ktb.inputs.limits import MAX_SEQUENCE_FRAMES, MAX_SEQUENCE_PIXELS
from ktb.inputs.readers.sandbox import Sandbox
from ktb.video.frames import Frames, LimitedFrames
from ktb.video.run import REPORT, TABLE, SequenceOptions, SequenceRun
from ktb.video.sandboxed import sandboxed_video, sandboxed_zip

ONE_AT_A_TIME = {"concurrency_limit": 1, "concurrency_id": "sequence"}
"""Event options of every event and endpoint that runs a video."""


def video_run(
    service: Service,
    model: str,
    first: str | None,
    x_video: str | None,
    out: Path,
    options: SequenceOptions,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[SequenceRun, LimitedFrames]:
    """Prepare the run of a video and its frames, without starting it; single runs go between two frames.

    Args:
        first: a zip of frames, or the RGB video.
        x_video: the video of X, if `first` is an RGB video.
        out, options, should_stop: as `SequenceRun`.

    Raises:
        ValueError: the video is missing, or cannot be opened; as `ZipFrames` and `VideoFrames`.
    """
    if not first:
        raise ValueError("the video is missing. Upload a zip of frames, or a video.")
    first, x_video = service.opened(first), service.opened(x_video) if x_video else None
    x_options = options.x.as_trained(service.inputs(model))
    opened = _opened(service.sandbox, first, x_video, x_options)
    frames = LimitedFrames(opened, MAX_SEQUENCE_FRAMES, MAX_SEQUENCE_PIXELS)
    predictor = service.predictor(model).for_frames()
    return SequenceRun(predictor, frames, out, options, should_stop, service.scheduler.frame), frames


def chosen_for_video(
    service: Service, model: str, first: str | None, x_video: str | None, options: XOptions
) -> str:
    """The name of a video's model: as given, or chosen by the first frame; errors as for `video_run`."""
    if model != AUTO_MODEL:
        return model
    if not first:
        raise ValueError("the video is missing. Upload a zip of frames, or a video.")
    first, x_video = service.opened(first), service.opened(x_video) if x_video else None
    with closing(iter(_opened(service.sandbox, first, x_video, options))) as frames:
        frame = next(frames, None)
    return service.choose(frame and frame.x, frame and frame.rgb, options).name


def frame_result(
    service: Service,
    model: str,
    first: str | None,
    x_video: str | None,
    options: XOptions,
    index: int,
) -> Result:
    """Run a model on one frame of a video, with a trace for the inspector.

    The result's warnings name the frame.

    Args:
        index: of the frame, from 0; the frames before it are decoded and left out.

    Raises:
        ValueError: as `video_run`; there is no such frame, or it cannot be read.
    """
    if not first:
        raise ValueError("the video is missing. Upload a zip of frames, or a video.")
    first, x_video = service.opened(first), service.opened(x_video) if x_video else None
    if model != AUTO_MODEL:
        options = options.as_trained(service.inputs(model))
    opened = LimitedFrames(
        _opened(service.sandbox, first, x_video, options), MAX_SEQUENCE_FRAMES, MAX_SEQUENCE_PIXELS
    )
    with closing(iter(opened)) as frames:
        frame = next(islice(frames, index, None), None)
    if frame is None:
        raise ValueError(f"the video has no frame {index}. Choose a smaller number.")
    if frame.image is None or frame.error:
        raise ValueError(f"frame {index} ({frame.name}) cannot be read: {frame.error}")
    result = service.segment_read(frame.image, frame.x, model, options)
    note = f"This is frame {index} ({frame.name}) of the video, not the pair on the left."
    x = replace(result.prediction.x, warnings=(note, *result.prediction.x.warnings))
    return replace(result, prediction=replace(result.prediction, x=x))


def result_names(options: SequenceOptions) -> tuple[str, ...]:
    """File names of a run's results: videos, table and report."""
    return *options.names, TABLE, REPORT


def _opened(sandbox: Sandbox, first: str, x_video: str | None, options: XOptions) -> Frames:
    if not first.lower().endswith(".zip"):
        return sandboxed_video(sandbox, first, x_video)
    if x_video:
        raise ValueError("a zip of frames already contains X. Remove the video of X, or the zip.")
    return sandboxed_zip(sandbox, first, options)
