"""The sequence tab: run the model on a video; other visitors' runs go between its frames."""

from __future__ import annotations

import logging
import shutil
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path

import gradio as gr

from app.context import Context
from app.gradio_ext.blocks import words_for
from app.gradio_ext.components import FilesInput
from app.gradio_ext.events import AT_ONCE, HIDDEN, LATEST
from app.panels.video import EMPTY, WAITING, progress_panel, result_panel
from app.panels.x_input import error_box
from app.video import ONE_AT_A_TIME, chosen_for_video, result_names, video_run
from app.web.request_ids import request_id
from app.widgets.alignment import pointed
from app.widgets.x_form import XForm, x_options
from ktb.inputs import XOptions
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

    def run(self, session: str, first: str | None, x_video: str | None, views, fps, model: str, form: XForm):
        """Run a video; yields (HTML, whether it continues). ValueError as `SequenceRun`."""
        stop = self._flags[session] = threading.Event()
        out = self._new_folder(session)
        try:
            self._store.remember_uploads(session, [first, x_video])
            options = SequenceOptions(_options(form), fps or None, tuple(views or ()))
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
        failed, started = 0, time.perf_counter()
        with closing(iter(run)) as records:
            for record in records:
                if session not in self._left:
                    self._store.remember_uploads(session, ())  # keeps the session alive during a long run
                if record.error is not None:
                    failed += 1
                    if len(failures) < MAX_FAILURES:
                        failures.append(f"Frame {record.index} ({record.name}) failed: {record.error}")
                seconds = time.perf_counter() - started
                yield progress_panel(record, frames.length, failed, seconds, model), True
        assert run.result is not None
        classes, shares = read_shares(run.result.table)
        yield result_panel(run.result, classes, shares, self._service.config(model).palette, failures), False

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


def build(context: Context) -> None:
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
                [(key if key != "x" else "X", key) for key in VIEWS],
                value=["overlay", "mask", "balance"],
                label="Side by side in the video",
                min_width=280,
                elem_id="ktb-views",
            )
            fps = gr.Number(
                0, label="Frames per second", info="0: as in the video, or 10", minimum=0, maximum=240,
                min_width=180, elem_id="ktb-fps",
            )  # fmt: skip
        with gr.Row():
            run = gr.Button("Run all frames", variant="primary", elem_id="ktb-run-frames")
            stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="ktb-stop")
        gr.HTML(ABOUT)
        shown = gr.HTML(EMPTY, elem_id="ktb-sequence")

    sequences = Sequences(context, context.store.uploads.root)
    context.store.on_close(sequences.leave)

    def run_all(request: gr.Request, first, x_video, views, fps, model, *values):
        session = request.session_hash
        try:
            for panel, goes_on in sequences.run(session, first, x_video, views, fps, model, XForm(*values)):
                yield panel, gr.update(interactive=not goes_on), gr.update(interactive=goes_on)
        except ValueError as error:
            yield error_box(pointed(str(error))), gr.update(interactive=True), gr.update(interactive=False)
        except OSError as error:
            _log.exception("a video run failed")
            message = words_for(error, request_id.get())
            yield error_box(message), gr.update(interactive=True), gr.update(interactive=False)

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
        run_all, [first, x_video, views, fps, model, *fields], [shown, run, stop],
        show_progress="minimal", show_progress_on=shown, **ONE_AT_A_TIME, **HIDDEN,
    )  # fmt: skip
    stop.click(stop_it, None, stop, **AT_ONCE)


def _options(form: XForm) -> XOptions:
    """The options of the page's fields, without an estimated alignment, which belongs to another pair."""
    if form.alignment is not None and form.alignment.is_estimate:
        form = form._replace(alignment=None)
    return x_options(form)
