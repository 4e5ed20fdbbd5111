"""Event handlers of the page: component values in, component updates out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from app.components import Components
from app.errors import shows_errors
from app.gradio_ext.events import PROGRESS
from app.layout import card_text, offered, tiles, warning_text
from app.panels.footer import footer
from app.panels.x_input import error_box, small_x_panel, x_panel
from app.results import Result, XView
from app.server.sessions import SessionStore
from app.service import Service
from app.settings import form_of
from app.texts import head, modality_choices, no_x, x_label, x_name
from app.video import frame_result
from app.viewer import ViewerFiles
from app.widgets.alignment import applied_note, pointed, preview_html
from app.widgets.examples import CustomExamples, Example, Offer, is_offered
from app.widgets.rgb_preview import shown_rgb
from app.widgets.stored_results import stored_result
from app.widgets.x_files import newest_x, replaced_note
from app.widgets.x_form import Proposal, XForm, fields_for, frame_options, x_options
from app.widgets.x_input import hint, source_choices, source_note
from ktb.checkpoints.choice import AUTO_MODEL
from ktb.inputs import AUTO, XOptions
from ktb.inputs.alignment.files import read_alignment


class Handlers:
    """The page's handlers on a service; the store remembers every upload that they receive."""

    def __init__(
        self,
        service: Service,
        store: SessionStore,
        own: CustomExamples | None,
        folder: Path,
        viewer: ViewerFiles,
        p: Components,
    ):
        self.service, self.store, self.own, self.p = service, store, own, p
        self.folder, self.viewer = folder, viewer

    def remember(self, request: gr.Request, *files: str | list[str] | None) -> None:
        """Record uploads, so that they are deleted with the session."""
        flat = [path for given in files for path in ([given] if isinstance(given, str) else given or ())]
        self.store.remember_uploads(request.session_hash, flat)

    @shows_errors
    def show_rgb(self, request: gr.Request, rgb_path: str | None):
        """Replace an RGB image that the browser cannot show by a PNG copy."""
        self.remember(request, rgb_path)
        path = self.service.opened(rgb_path) if rgb_path else None
        shown = shown_rgb(path, self.folder, self.service.read_rgb) if path else None
        if shown is None:
            return gr.skip()
        self.remember(request, str(shown))
        self.service.decoded.show_as(str(shown), path)
        return str(shown)

    def read_new_pair(self, request: gr.Request, rgb_path, x_files, source, model_name, *values):
        """Clear the options of the previous pair (window, estimated alignment), then read X."""
        *values, shown = values
        form = XForm(*values)
        kept = None if form.alignment and form.alignment.is_estimate else form.alignment
        form = form._replace(window=None, alignment=kept)
        self.remember(request, rgb_path, x_files)
        own_files = self._own_files(rgb_path, x_files)
        before = shown.get("x_files", [])
        own_files, replaced = newest_x(
            before, own_files or [], lambda files: self._reads(files, model_name, form)
        )
        shown["x_files"] = own_files
        answer = self.read(request, rgb_path, own_files, source, model_name, *form, shown)
        if replaced:
            answer[self.p.x.read] = replaced_note(replaced, own_files) + answer[self.p.x.read]
        if own_files != (x_files or []):
            answer[self.p.x.files] = gr.update(value=own_files or None, visible=source == "file")
        return answer | {self.p.x.form.window: None, self.p.x.form.alignment: kept} | self._no_proposal()

    def _reads(self, files: list[str], model_name: str, form: XForm) -> bool:
        """Whether these files can be read as one X."""
        return self._read(files, None, model_name, form)[0] is not None

    def _own_files(self, rgb_path: str | None, x_files: list[str] | None) -> list[str] | None:
        """The files of X without that of an example which a visitor's own files take the place of.

        Gradio adds files that are uploaded to those that are there.
        """
        own = [path for path in x_files or () if not is_offered(path, self.own)]
        is_own_pair = bool(own) or bool(rgb_path and not is_offered(rgb_path, self.own))
        return own if is_own_pair and x_files else x_files

    def read(self, request: gr.Request, rgb_path, x_files, source, model_name, *values):
        """Read X without running the network; an error is shown in place of the preview of X.

        The last value is the state of the fields of X.
        """
        self.remember(request, rgb_path, x_files)
        *values, shown = values
        x, form, inputs = self.p.x, XForm(*values), self.service.inputs(model_name)
        is_file = source == "file"
        view, wrong = self._read(x_files if is_file else None, rgb_path, model_name, form)
        fields = fields_for(form, inputs, view)
        answer = {
            x.read: small_x_panel(view.reading, view) if view else wrong or hint(inputs, source),
            self.p.x_details.text: x_panel(view) if view else no_x(inputs),
            self.p.x_details.place: gr.update(visible=view is not None),
            self.p.alignment.state: applied_note(form.alignment),
            self.p.alignment.remove: gr.update(visible=form.alignment is not None),
        }
        if not (is_file and rgb_path and not x_files):  # otherwise a failed run may have shown it meanwhile
            answer[self.p.alone] = gr.update(visible=False)
        return answer | x.updates(fields, is_file, bool(is_file and x_files), form.unit, shown)

    def _read(self, x_files, rgb_path, model_name, form: XForm) -> tuple[XView | None, str]:
        """X read from these files and fields, or an error message; (None, "") without files."""
        try:
            if rgb_path:
                self.service.read_rgb(rgb_path)
        except ValueError as error:
            return None, error_box(f"The RGB image cannot be read: {error}")
        if not x_files:
            return None, ""
        try:
            return self.service.read_x(x_files, rgb_path, model_name, x_options(form)), ""
        except ValueError as error:
            return None, error_box(pointed(str(error)))

    @shows_errors
    def run_pair(
        self, request: gr.Request, rgb_path, x_files, source, model_name, *values, progress=PROGRESS
    ):
        """Run the network, store the result for this session, and write its bundle for the viewer."""
        self.remember(request, rgb_path, x_files)
        progress(0.1, desc="Reading the pair and running the network")
        options = x_options(XForm(*values))
        result = self.service.segment(rgb_path, x_files, model_name, options, source)
        return self._keep(request, result, progress)

    @shows_errors
    def inspect_frame(
        self, request: gr.Request, index, first, x_video, model_name, *values, progress=PROGRESS
    ):
        """Run one frame of a video as `run_pair` runs a pair, and open the inspector."""
        self.remember(request, first, x_video)
        progress(0.1, desc="Reading the frame and running the network")
        options = frame_options(XForm(*values))
        result = frame_result(self.service, model_name, first, x_video, options, int(index or 0))
        return self._keep(request, result, progress) | {self.p.tabs: gr.update(selected="inspect")}

    def _keep(self, request: gr.Request, result: Result, progress) -> dict[Any, Any]:
        """Store a run for the session and write its bundle."""
        self.store.keep_result(request.session_hash, result)
        progress(0.8, desc="Sending the result")
        return {
            self.p.inspect.file: self.viewer.run(request.session_hash, result),
            self.p.foot: footer(result),
            self.p.alone: gr.update(visible=False),
            self.p.changed: result.id,
        }

    def send_details(self, request: gr.Request):
        """Write confidences, maps and attention of the session's run, which the viewer adds to its masks."""
        result = self.store.result(request.session_hash)
        return None if result is None else self.viewer.details(request.session_hash, result)

    def offer(self, model_name: str) -> Offer:
        """The pairs that the page offers for a model."""
        return offered(self.service.inputs(model_name), self.own)

    def example_of(self, model_name: str, rgb_path: str | None) -> Example | None:
        """The offered pair with this RGB image; None for a file of the user."""
        path = Path(rgb_path).resolve() if rgb_path else None
        return next((pair for pair in self.offer(model_name).pairs if pair.rgb.resolve() == path), None)

    @shows_errors
    def propose(self, request: gr.Request, file, rgb_path, x_files, source, model_name, *values):
        """Preview the alignment of a file, or estimate one if there is no file, without applying it."""
        self.remember(request, file, rgb_path, x_files)
        given = read_alignment(self.service.opened(file)) if file else None
        options = x_options(XForm(*values))
        found, overlays = self.service.look_at(rgb_path, x_files, model_name, options, given)
        proposal = Proposal(found, given is None) if found else None
        a = self.p.alignment
        return {
            a.preview: gr.update(value=preview_html(overlays), visible=True),
            a.proposal: proposal,
            a.use: gr.update(visible=proposal is not None),
        }

    def use_proposal(self, proposal):
        """Apply the previewed alignment."""
        return {self.p.x.form.alignment: proposal} | self._no_proposal()

    def _no_proposal(self) -> dict[Any, Any]:
        a = self.p.alignment
        return {
            a.preview: gr.update(value="", visible=False),
            a.proposal: None,
            a.use: gr.update(visible=False),
        }

    def offer_alone(self, rgb_path, x_files, source):
        """After a failed run, offer to run on the RGB image alone if only X is missing."""
        return gr.update(visible=bool(rgb_path and not x_files and source == "file"))

    def defaults(self, options: XOptions = AUTO) -> list[Any]:
        """The initial values of the fields of X, of which an offer may say some."""
        return list(form_of(options))

    def reset(self, request: gr.Request, rgb_path, x_files, source, model_name, *values):
        """Reset the fields of X, keep the alignment, and read X again."""
        *values, shown = values
        form = XForm(*self.defaults())._replace(alignment=XForm(*values).alignment)
        start = dict(zip(self.p.x.values, form))
        return start | self.read(request, rgb_path, x_files, source, model_name, *form, shown)

    @shows_errors
    def choose_example(self, model_name, selected: gr.SelectData):
        """Load an example's files, with the options of X at their defaults."""
        return self._example(model_name, selected.index)

    def show_stored(self, request: gr.Request, model_name, rgb_path):
        """Write the stored result of the chosen example; None for other pairs, and after a first run."""
        example = None if self.own else self.example_of(model_name, rgb_path)
        if example is None or self.store.result(request.session_hash) is not None:
            return None
        view = self.service.read_x(
            [str(example.x)], str(example.rgb), model_name, self.offer(model_name).options
        )
        if model_name == AUTO_MODEL:
            model_name = view.choice.name
        rgb, file = self.service.read_rgb(str(example.rgb)), self.service.file(model_name)
        found = stored_result(model_name, file, self.service.config(model_name), example, rgb)
        if found is None:
            return None
        self.remember(request)
        return self.viewer.stored(request.session_hash, found, view.reading.preview)

    def _example(self, model_name, index: int):
        offer = self.offer(model_name)
        if not 0 <= index < len(offer.pairs):
            raise ValueError(f"there is no example {index}: choose one from 0 to {len(offer.pairs) - 1}.")
        pair = offer.pairs[index]
        return [str(pair.rgb), [str(pair.x)], "file", *self.defaults(offer.options)]

    @shows_errors
    def choose_model(self, request: gr.Request, model_name, kind_before, source, *values):
        """Adapt the page's texts and choices to the inputs of another checkpoint."""
        p, inputs = self.p, self.service.inputs(model_name)
        offer = offered(inputs, self.own)
        warning, kind = warning_text(self.service, self.own, model_name), x_name(inputs)
        zone: dict[str, Any] = {"label": x_label(inputs)}
        sources = source_choices(inputs)
        form = dict(zip(p.x.values, values))
        if kind != kind_before:  # the files stay; how the other checkpoint reads them is shown
            form = dict(zip(p.x.values, self.defaults(offer.options)))
            form[p.x.form.alignment] = XForm(*values).alignment
            form[p.x.form.modality] = gr.update(
                choices=modality_choices(inputs), value=offer.options.modality
            )
        return form | {
            p.title: head(inputs),
            p.unfit: gr.update(value=warning, visible=bool(warning)),
            p.gallery: gr.update(value=tiles(offer), label=offer.title, visible=bool(offer.pairs)),
            p.x.files: gr.update(**zone),
            p.x.source: gr.update(
                choices=sources, value=source if source in [key for _, key in sources] else "file"
            ),
            p.x_note: gr.update(value=source_note(inputs), visible=bool(source_note(inputs))),
            p.x_kind: kind,
            p.card: card_text(self.service, model_name),
        }
