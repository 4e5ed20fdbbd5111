"""The endpoint of the HTTP API that runs a video."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast, get_args

from app.api.calls import Calls, options_of, streams_text
from app.api.delivery import Delivery, Files
from app.api.serialize import plain
from app.video import chosen_for_video, result_names, video_run
from ktb.video.encoding import Container
from ktb.video.run import SequenceOptions, SequenceResult

MAX_VIDEO_BYTES = 64 * 2**20
"""Maximum size of a video in a response; a larger one is omitted, and reported in `notes`."""


class SequenceApi:
    """The endpoint for a video, equal to the Sequence tab."""

    def __init__(self, calls: Calls):
        self.calls = calls

    @streams_text
    def sequence(
        self,
        recording: str | None,
        model: str,
        views: list[str] | None,
        fps: float | None,
        options: dict | None,
        x_video: str | None = None,
        files: Delivery = "url",
        container: str = "webm",
    ) -> Iterator[dict[str, Any]]:
        """Run a video frame by frame: a result video, a table with a row per frame, and a report.

        One video runs at a time, and single runs go between its frames. Every frame streams an
        object {status: "running", frame, of, name, error}; the last one has status "complete", checkpoint,
        frames, failed, fps, notes, warnings, `video` (null beyond 64 MiB), its `codec`, `csv` (a text) and
        `report` (an object). Cancelling the job stops it.

        Args:
            recording: a zip with folders rgb and x of equally named frames, or the RGB video.
            model: one of /models. views: the pictures side by side in the result video, each once.
            fps: frame rate of the result video; 0 for that of the input, or 10.
            options: how to read X in all frames, such as {"unit": "mm"}.
            x_video: the video of X, with an RGB video.
            files: how `video` is delivered: "url", "inline" or "none".
            container: "webm" (VP8) or "mp4" (H.264 if the server has an encoder; `notes` says if not).
        """
        with self.calls.uploads(files, recording, x_video) as delivered:
            if container not in get_args(Container):
                raise ValueError(f"container {container!r}: choose one of {', '.join(get_args(Container))}")
            chosen = SequenceOptions(
                options_of(options), fps or None, tuple(views or ()), container=cast(Container, container)
            )
            root = self.calls.store.uploads.root
            with tempfile.TemporaryDirectory(prefix="ktb-sequence-", dir=root) as folder:
                out = Path(folder)
                name = chosen_for_video(self.calls.service, model, recording, x_video, chosen.x)
                run, frames = video_run(self.calls.service, name, recording, x_video, out, chosen)
                with closing(iter(run)) as records:
                    for record in records:
                        yield {
                            "status": "running",
                            "frame": record.index,
                            "of": frames.length,
                            "name": record.name,
                            "error": record.error,
                        }
                assert run.result is not None
                if not run.result.frames:
                    raise ValueError("the video has no frames.")
                yield _serialized(run.result, [out / name for name in result_names(chosen)], delivered)


def _serialized(result: SequenceResult, made: list[Path], files: Files) -> dict[str, Any]:
    video, table, report = made
    notes, size = [*result.notes, *result.codec_notes], video.stat().st_size
    if size > MAX_VIDEO_BYTES:
        notes.append(
            f"The video has {size >> 20} MiB and is omitted; the maximum is {MAX_VIDEO_BYTES >> 20} MiB. "
            "Request fewer views, or run a shorter video."
        )
    return plain(
        {
            "status": "complete",
            "checkpoint": result.checkpoint,
            "frames": result.frames,
            "failed": result.failed,
            "fps": result.fps,
            "notes": notes,
            "warnings": result.warnings,
            "video": files.one(video.name, video.read_bytes) if size <= MAX_VIDEO_BYTES else None,
            "codec": result.videos[result.video],
            "csv": table.read_text(encoding="utf-8"),
            "report": json.loads(report.read_text(encoding="utf-8")),
        }
    )
