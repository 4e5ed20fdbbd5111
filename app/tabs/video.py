"""The sequence tab: run the model on a video; other visitors' runs go between its frames."""

from __future__ import annotations

import logging
import shutil
import threading
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.context import Context
from app.gradio_ext.blocks import words_for
from app.gradio_ext.components import FilesInput
from app.gradio_ext.events import AT_ONCE, HIDDEN, LATEST
from app.layout import waiting_input
from app.panels.video import EMPTY, WAITING, progress_panel, result_panel
from app.panels.x_input import error_box
from app.video import ONE_AT_A_TIME, chosen_for_video, result_names, video_run
from app.web.request_ids import request_id
from app.widgets.alignment import pointed
from app.widgets.x_form import XForm, frame_options
from ktb.inputs.limits import MAX_SEQUENCE_FRAMES
from ktb.video.drawing import VIEWS
from ktb.video.frames import LimitedFrames
from ktb.video.run import SequenceOptions, SequenceRun, read_shares
from ktb.video.video_source import VIDEOS

MAX_FAILURES = 5  # reported
_log = logging.getLogger(__name__)
ABOUT = f"""<p class="ktb-note">All frames of X are read with the options on the left. A video may have
at most {MAX_SEQUENCE_FRAMES:,} frames. The files are deleted when this page is closed.</p>"""


class Sequences:
    """The tab's handlers: one video per session at a time, and a flag that stops it."""

    def __init__(self, context: Context, folder: Path):
        self._service, self._store, self._root = context.service, context.store, folder
        self._flags: dict[str, threading.Event] = {}
        self._folders: dict[str, Path] = {}
        self._left: set[str] = set()

    def run(
        self,
        session: str,
        first: str | None,
        x_video: str | None,
        views,
        fps,
        container,
        model: str,
        form: XForm,
    ):
        """Run a video; yields (HTML, whether it continues). ValueError as `SequenceRun`."""
        stop = self._flags[session] = threading.Event()
        out = self._new_folder(session)
        try:
            self._store.remember_uploads(session, [first, x_video])
            options = SequenceOptions(
                frame_options(form), fps or None, tuple(views or ()), container=container
            )
            self._store.remember_uploads(session, [out / name for name in result_names(options)])
            model = chosen_for_video(self._service, model, first, x_video, options.x)
            run, frames = video_run(self._service, model, first, x_video, out, options, stop.is_set)
            yield progress_panel(None, frames.length, 0, 0.0, model), True
            yield from self._frames(session, run, frames, model)
        finally:
            self._flags.pop(session, None)
            if stop.is_set() and session in self._left:
                self._left.discard(session)
                shutil.rmtree(out, ignore_errors=True)

    def _frames(self, session: str, run: SequenceRun, frames: LimitedFrames, model: str):
        failures: list[str] = []
        names: list[str] = []
        failed, started = 0, time.perf_counter()
        with closing(iter(run)) as records:
            for record in records:
                if session not in self._left:
                    self._store.remember_uploads(session, ())  # keeps the session alive during a long run
                names.append(record.name if record.error is None else f"{record.name} (failed)")
                if record.error is not None:
                    failed += 1
                    if len(failures) < MAX_FAILURES:
                        failures.append(f"Frame {record.index} ({record.name}) failed: {record.error}")
                seconds = time.perf_counter() - started
                yield progress_panel(record, frames.length, failed, seconds, model), True
        assert run.result is not None
        classes, shares = read_shares(run.result.table)
        palette = self._service.config(model).palette
        yield result_panel(run.result, classes, shares, palette, failures, names), False

    def stop(self, session: str) -> None:
        """Stop the session's video after the current frame."""
        if flag := self._flags.get(session):
            flag.set()

    def must_wait(self, session: str) -> bool:
        """Whether another session's video is running."""
        return any(other != session for other in tuple(self._flags))

    def leave(self, session: str) -> None:
        """Stop the run of a closed page and delete its files."""
        if session in self._flags:
            self._left.add(session)
            self.stop(session)
        if folder := self._folders.pop(session, None):
            shutil.rmtree(folder, ignore_errors=True)

    def _new_folder(self, session: str) -> Path:
        """A folder for the results; deletes those of the session's previous video."""
        if before := self._folders.pop(session, None):
            shutil.rmtree(before, ignore_errors=True)
        folder = self._folders[session] = self._root / f"sequence-{uuid.uuid4().hex}"
        return folder


@dataclass(frozen=True)
class VideoTab:
    """The components of the tab that the page's events use.

    Attributes:
        waiting: shows the status of a frame's run.
        inspect: the button that opens a frame; the panel presses it.
        frame: number of that frame, which `app/static/scrubber.js` gives.
    """

    waiting: gr.HTML
    inspect: gr.Button
    frame: gr.Number
    given: tuple[gr.components.Component, ...]


def build(context: Context) -> VideoTab:
    """Lay out and wire the tab."""
    _, _, _, model, *fields = context.given
    with gr.Tab("Video", id="sequence"):
        with gr.Row():
            first = FilesInput(
                label="Zip of frames, or RGB video",
                file_types=[".zip", *VIDEOS],
                height=140,
                elem_id="ktb-recording",
            )
            x_video = FilesInput(
                label="Video of X (with an RGB video)",
                file_types=list(VIDEOS),
                height=140,
                elem_id="ktb-x-video",
            )
        with gr.Row(equal_height=True):
            views = gr.CheckboxGroup(
                [({"photo": "RGB", "x": "X"}.get(key, key), key) for key in VIEWS],
                value=["overlay", "mask", "balance"],
                label="Side by side in the video",
                min_width=280,
                elem_id="ktb-views",
            )
            fps = gr.Number(
                0, label="Frames per second", info="0: as in the video, or 10", minimum=0, maximum=240,
                min_width=180, elem_id="ktb-fps",
            )  # fmt: skip
            container = gr.Radio(
                [("WebM", "webm"), ("MP4", "mp4"), ("both", "both")], value="both", label="Video file",
                min_width=180, elem_id="ktb-container",
            )  # fmt: skip
        with gr.Row():
            run = gr.Button("Run all frames", variant="primary", elem_id="ktb-run-frames")
            stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="ktb-stop")
        gr.HTML(ABOUT)
        with gr.Column():
            waiting = waiting_input("ktb-waiting-frame")
            shown = gr.HTML(EMPTY, elem_id="ktb-sequence")
        frame = gr.Number(0, minimum=0, precision=0, visible=False)
        inspect = gr.Button("Inspect this frame", visible="hidden", elem_id="ktb-inspect-frame")

    sequences = Sequences(context, context.store.uploads.root)
    context.store.on_close(sequences.leave)

    def run_all(request: gr.Request, first, x_video, views, fps, container, model, *values):
        given = (first, x_video, views, fps, container, model, XForm(*values))
        try:
            for panel, goes_on in sequences.run(request.session_hash, *given):
                yield panel, *_buttons(goes_on)
        except ValueError as error:
            yield error_box(pointed(str(error))), *_buttons(False)
        except OSError as error:
            _log.exception("a video run failed")
            message = words_for(error, request_id.get())
            yield error_box(message), *_buttons(False)

    def keep(request: gr.Request, *files: str | None):
        context.store.remember_uploads(request.session_hash, files)

    def stop_it(request: gr.Request):
        sequences.stop(request.session_hash)
        return gr.update(interactive=False)

    def tell_waiting(request: gr.Request):
        return WAITING if sequences.must_wait(request.session_hash) else gr.skip()

    gr.on([first.upload, x_video.upload], keep, [first, x_video], None, **LATEST)
    run.click(tell_waiting, None, shown, **AT_ONCE)
    run.click(
        run_all, [first, x_video, views, fps, container, model, *fields], [shown, run, stop],
        show_progress="minimal", show_progress_on=shown, **ONE_AT_A_TIME, **HIDDEN,
    )  # fmt: skip
    stop.click(stop_it, None, stop, **AT_ONCE)
    return VideoTab(waiting, inspect, frame, (first, x_video, model, *fields))


def _buttons(goes_on: bool) -> tuple[Any, Any]:
    """Updates of the buttons *Run all frames* and *Stop*."""
    return gr.update(interactive=not goes_on), gr.update(interactive=goes_on)
