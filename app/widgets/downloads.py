"""Downloads: a run as a figure, arrays or a report, and the page's settings as JSON or a link."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.context import OPEN_TAB
from app.errors import shows_errors
from app.gradio_ext.components import FileButton
from app.gradio_ext.events import AT_ONCE, HIDDEN, LATEST
from app.handlers import Handlers
from app.html.zip_links import file_name
from app.results import Result
from app.server.private_files import PrivateFiles
from app.settings import (
    PARAMETER,
    Settings,
    form_of,
    settings_from_json,
    settings_from_link,
    settings_of,
)
from app.widgets.x_form import XForm, fields_for
from ktb.outputs.arrays import arrays_npz
from ktb.outputs.bundle import stored_size
from ktb.outputs.files import result_zip
from ktb.outputs.point_cloud import ply_bytes, point_cloud
from ktb.outputs.report import report_html

if TYPE_CHECKING:
    from ktb.outputs.finding import Finding

EXPORTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "svg": ("figure.svg", "image/svg+xml"),
        "pdf": ("figure.pdf", "application/pdf"),
        "png": ("figure.png", "image/png"),
        "npz": ("arrays.npz", "application/octet-stream"),
        "html": ("report.html", "text/html"),
        "zip": ("masks.zip", "application/zip"),
        "ply": ("points.ply", "application/octet-stream"),
    }
)
"""Kind → file name suffix and MIME type."""
CHOICES = [
    ("Report, one HTML file", "html"),
    ("Figure, SVG", "svg"),
    ("Figure, PDF", "pdf"),
    ("Figure, PNG at 150 dpi", "png 150"),
    ("Figure, PNG at 300 dpi", "png 300"),
    ("Figure, PNG at 600 dpi", "png 600"),
    ("Points in space (.ply)", "ply"),
    ("Arrays: logits, maps, points (.npz)", "npz"),
    ("Settings of this page, JSON", "json"),
]
MAX_POINTS = 2_000_000
"""Points of a PLY file, about 40 MB; of larger images every second, third, ... row and column is taken."""
SAVE = """(file) => { if (!file || !file.url) return; const link = document.createElement('a');
  link.href = file.url; link.download = file.orig_name || ''; document.body.appendChild(link);
  link.click(); link.remove(); }"""
SHOW_LINK = """async (query) => { const link = location.origin + location.pathname + query;
  try { await navigator.clipboard.writeText(link); } catch (error) {} return link; }"""  # only where allowed
RESTORE = """(view, example) => { window.ktbRestore(view);
  if (example) document.getElementById('ktb-run').click(); }"""


def export_file(
    result: Result, kind: str, card: Mapping[str, Any], settings: Mapping[str, Any], dpi: int = 200
) -> tuple[str, str, bytes]:
    """Name, MIME type and contents of a run's file; ValueError for a kind that is not in EXPORTS.

    A figure marks the pixel, and a report opens on the view, that the settings hold.
    """
    if kind not in EXPORTS:
        raise ValueError(f"kind {kind!r}: choose one of {', '.join(EXPORTS)}.")
    prediction = result.prediction
    if kind == "npz":
        data = arrays_npz(prediction, inspection=result.inspection)
    elif kind == "html":
        text = report_html(
            result.rgb,
            prediction,
            card=card,
            settings=settings,
            inspection=result.inspection,
            ablated=result.ablated,
        )
        data = text.encode()
    elif kind == "zip":
        data = result_zip(result.rgb, prediction)
    elif kind == "ply":
        data = points_file(result)
    else:
        from ktb.outputs.figure import figure_bytes  # matplotlib takes a second to import

        finding = _finding(result, settings.get("view", {}))
        data = figure_bytes(
            result.rgb, prediction, kind, dpi=dpi, inspection=result.inspection, finding=finding
        )  # fmt: skip
    name, mime = EXPORTS[kind]
    return f"{file_name(prediction.model)}-{name}", mime, data


def points_file(result: Result) -> bytes:
    """The depth of a run as a PLY file of at most `MAX_POINTS` points.

    Raises:
        ValueError: as `ktb.outputs.point_cloud.point_cloud`.
    """
    cloud = point_cloud(result.rgb, result.prediction, max_points=MAX_POINTS)
    return ply_bytes(cloud, result.prediction)


def _finding(result: Result, view: Mapping[str, Any]) -> Finding | None:
    """The pixel that the viewer shows, which counts in pixels of the stored image."""
    pixel, size = view.get("pixel"), result.prediction.size_hw
    if pixel is None:
        return None
    from ktb.outputs.finding import find

    shown = stored_size(size)
    place = [int((part + 0.5) / side * full) for part, side, full in zip(pixel, shown, size)]
    at = tuple(min(part, full - 1) for part, full in zip(place, size))
    level, head = view.get("level", -1), view.get("head")
    trace = result.inspection if level >= 0 else None
    return find(
        result.prediction, at, level=level, head=head, inspection=trace, ablated=result.ablated
    )  # fmt: skip


@dataclass(frozen=True)
class ExportControls:
    """The components below the footer."""

    kind: gr.Dropdown
    make: gr.Button
    share: gr.Button
    load: gr.UploadButton
    link: gr.Textbox
    file: gr.DownloadButton
    view: gr.Textbox
    example: gr.Textbox
    tab: gr.Textbox
    masks: gr.Button


def build_export() -> ExportControls:
    """One row: the kind of download, the download, the link, and the loading of settings."""
    with gr.Row(elem_id="ktb-export", equal_height=True):
        kind = gr.Dropdown(CHOICES, value="html", show_label=False, container=False, min_width=200,
                           filterable=False, elem_id="ktb-export-kind", scale=3)  # fmt: skip
        make = gr.Button("Download", size="md", min_width=90, elem_id="ktb-export-make", scale=1)
        share = gr.Button("Copy link", size="md", min_width=90, elem_id="ktb-share", scale=1)
        load = FileButton("Load settings", size="md", min_width=110, file_types=[".json"],
                          elem_id="ktb-load-settings", scale=1)  # fmt: skip
    link = gr.Textbox(
        label="Opens the page with the current settings; contains no images",
        visible=False,
        interactive=False,
        buttons=["copy"],
        elem_id="ktb-link",
    )
    file = gr.DownloadButton(visible="hidden", elem_id="ktb-export-file")
    masks = gr.Button("Masks (ZIP)", visible="hidden", elem_id="ktb-make-zip")  # the footer presses it
    view, example, tab = (gr.Textbox("", visible=False, label="state") for _ in range(3))
    return ExportControls(kind, make, share, load, link, file, view, example, tab, masks)


class Export:
    """The handlers of the row below the footer; they use those of the page."""

    def __init__(self, handlers: Handlers, parts: ExportControls, files: PrivateFiles, tabs: list[str]):
        self.h, self.e, self.files, self.tabs = handlers, parts, files, tabs

    @shows_errors
    def make(self, request: gr.Request, kind, model, source, *rest):
        """Write the chosen file of the session's result to the session's folder."""
        settings = self._settings(model, source, rest)
        if kind == "json":
            text = settings.to_json().encode()
            return str(self.files.write(request.session_hash, "ktb-settings.json", text))
        result = self.h.store.result(request.session_hash)
        if result is None:
            raise ValueError("there is no result yet. Run a pair first.")
        kind, _, dpi = kind.partition(" ")
        offered = result.offered_as or result.prediction.model
        card = self.h.service.card(offered) if offered in self.h.service.models else {}
        name, _, data = export_file(result, kind, card, settings.to_dict(), int(dpi or 200))
        return str(self.files.write(request.session_hash, name, data))

    @shows_errors
    def share(self, model, source, *rest):
        """The settings as the query of a link."""
        return gr.update(value=self._settings(model, source, rest).to_query(), visible=True)

    @shows_errors
    def open_link(self, request: gr.Request, model, kind, source, *values):
        """Apply the settings in the query of the page's address, if there are any."""
        code = request.query_params.get(PARAMETER)
        if not code:
            return {self.e.tab: gr.skip()}
        given = settings_from_link(code, self.h.service.names, self.tabs)
        return self._applied(request, given, kind, source, values)

    @shows_errors
    def load(self, request: gr.Request, file, model, kind, source, *values):
        """Apply the settings of a file."""
        if not file:
            raise ValueError("there is no settings file. Choose one that this page wrote.")
        self.h.remember(request, file)
        try:
            text = Path(self.h.service.opened(file)).read_bytes()[: 1 << 16].decode()
        except ValueError as error:
            raise ValueError("this is not a KTB settings file: it is not JSON.") from error
        given = settings_from_json(text, self.h.service.names, self.tabs)
        return self._applied(request, given, kind, source, values)

    def _applied(self, request: gr.Request, given: Settings, kind, source, values) -> dict[Any, Any]:
        p, form = self.h.p, form_of(given.x)
        answer = self.h.choose_model(request, given.model, kind, source, *values)
        inputs = self.h.service.inputs(given.model)
        answer |= dict(zip(p.x.values, form))
        units = fields_for(form, inputs, None).units
        choices = [(text, key) for key, text in units.items()] or [("none", "auto")]
        unit = form.unit if form.unit in units else "auto"
        answer[p.x.form.unit] = gr.update(choices=choices, value=unit)
        offered = answer[p.x.source]["choices"]
        answer[p.x.source] = gr.update(
            choices=offered, value=given.x_source if given.x_source in [key for _, key in offered] else "file"
        )
        where = {tab.label: tab.id for tab in p.tabs.children if isinstance(tab, gr.Tab)}.get(given.tab)
        opened = gr.skip() if where is None else gr.update(selected=where)
        unknown = {p.x.shown: {}}  # so that the next read sets every field of X
        view = json.dumps(given.view) if given.view else ""
        restored = {
            p.model: given.model,
            self.e.view: view,
            self.e.tab: given.tab,
            p.tabs: opened,
        }
        return answer | unknown | restored | self._example(given)

    def _example(self, given: Settings) -> dict[Any, Any]:
        """The files of the settings' example; nothing if it is not offered for this checkpoint."""
        pairs = self.h.offer(given.model).pairs
        pair = next((pair for pair in pairs if given.example and pair.name == given.example), None)
        if pair is None:
            return {self.e.example: ""}
        return {self.h.p.rgb: str(pair.rgb), self.h.p.x.files: [str(pair.x)], self.e.example: pair.name}

    def _settings(self, model, source, rest) -> Settings:
        *form, rgb_path, view, tab = rest
        example = self.h.example_of(model, rgb_path)
        return settings_of(model, source, XForm(*form), tab, self.tabs, view, example.name if example else "")


def wire_export(page: gr.Blocks, handlers: Handlers, parts: ExportControls, files: PrivateFiles) -> None:
    """Wire the buttons and the link that the page is opened with; a restored page reads X again."""
    p, x = handlers.p, handlers.p.x
    tabs = [tab.label for tab in p.tabs.children if isinstance(tab, gr.Tab)]
    export = Export(handlers, parts, files, tabs)
    state = [p.model, x.source, *x.values, p.rgb, parts.view, parts.tab]
    busy = {"show_progress": "minimal", **HIDDEN}

    for button, kind in ((parts.make, parts.kind), (parts.masks, gr.State("zip"))):
        made = button.click(export.make, [kind, *state], parts.file, js=OPEN_TAB, **busy)
        made.success(None, parts.file, None, js=SAVE, **HIDDEN)
    shared = parts.share.click(export.share, state, parts.link, js=OPEN_TAB, **LATEST)
    shared.success(None, parts.link, parts.link, js=SHOW_LINK, **HIDDEN)
    before = [p.model, *p.for_model]
    follows = [
        *p.of_model,
        p.model,
        p.x.shown,
        p.tabs,
        parts.view,
        parts.example,
        parts.tab,
        p.rgb,
        p.x.files,
    ]
    for opened in (
        page.load(export.open_link, before, follows, **AT_ONCE),  # Gradio's load event provides the query
        parts.load.upload(export.load, [parts.load, *before], follows, **LATEST),
    ):
        read = opened.success(handlers.read, p.for_read, p.read, **LATEST)
        read.then(None, [parts.view, parts.example], None, js=RESTORE, **HIDDEN)
