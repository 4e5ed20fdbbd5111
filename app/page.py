"""The page: layout and event wiring. Inference runs once per Run; every other control only redraws."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app.api.endpoints import wire_api
from app.components import Components
from app.context import OPEN_TAB, Context
from app.gradio_ext.blocks import Page
from app.gradio_ext.components import FilesInput
from app.gradio_ext.events import AT_ONCE, HIDDEN, RUNNING, direct
from app.gradio_ext.static_files import serve_in_place
from app.handlers import Handlers, show_error
from app.layout import card_text, examples_gallery, offered, rgb_zone, warning_text
from app.server.folder import ServerFolder
from app.server.housekeeping import housekeeping
from app.server.private_files import PrivateFiles
from app.server.sessions import SessionStore
from app.service import Service
from app.tabs import branches, compare, ground_truth, inspect, result, video, what_if, x_input
from app.tabs.fusion import FusionTab
from app.texts import head, no_result, no_x, x_name
from app.web.hosts import HostRule
from app.web.middleware import web_options
from app.web.own_routes import HEALTH
from app.web.rate_limits import RateLimit
from app.widgets.alignment import AlignmentControls, build_alignment
from app.widgets.downloads import ExportControls, build_export, wire_export
from app.widgets.examples import EXAMPLES_FOLDER, CustomExamples
from app.widgets.how_it_works import first_screen
from app.widgets.x_input import build_corrections, build_x_input, hint
from ktb.checkpoints.choice import AUTO_MODEL
from ktb.inputs.limits import MAX_FILE_BYTES

CSS = (Path(__file__).parent / "static" / "style.css").read_text()
SCRIPTS = "".join(
    f"<script>{(Path(__file__).parent / 'static' / name).read_text()}</script>"
    for name in ("script.js", "tips.js", "save.js", "inspect.js")
)
SAY_ERROR = "window.ktbSayError = (said) => { props.value = said; trigger('input'); };"  # for script.js
SEND_PIXEL = "window.ktbSendPixel = (at) => { props.value = at; trigger('input'); };"  # for script.js
SYSTEM_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO_FONTS = ["ui-monospace", "Consolas", "monospace"]
LEGIBLE = {
    "body_text_color_subdued": "*neutral_600",
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_hover": "*primary_700",
    "color_accent": "*primary_600",
}
"""Replacements for theme colours whose contrast is below 4.5:1 on a light page."""
SHOW_RESULT = """() => { const tabs = document.getElementById('ktb-tabs');
  if (window.innerWidth < 900) tabs.scrollIntoView({behavior: 'smooth'}); }"""  # far below in one column
TABS: tuple[Callable[[Context], object], ...] = (
    inspect.build,
    FusionTab,
    what_if.build,
    compare.build,
    ground_truth.build,
    video.build,
)
"""Builders of the tabs, in the order of the page."""


def build_page(service: Service, own: CustomExamples | None = None) -> Page:
    """Lay out the page on a service; `launch_options` gives the arguments of its launch.

    Args:
        service: the models.
        own: pairs of a custom dataset, offered in place of the project's examples.
    """
    offered = [*own.files] if own else [EXAMPLES_FOLDER]  # only the offered pairs of a custom dataset
    forget_offered = serve_in_place(offered)  # never copied into the upload folder
    with Page(title="KTB", analytics_enabled=False) as page:
        folder = page.folder = ServerFolder(Path(page.GRADIO_CACHE))
        weakref.finalize(page, folder.remove)
        page.forget_offered = forget_offered
        store = page.store = SessionStore(folder.path, keep=offered)
        store.uploads.on_delete(service.decoded.forget)
        service = page.service = service.for_visitors(store.own_file)
        files = PrivateFiles(folder.path, store)
        components, run, exports = _lay_out(service, store, files, own)
        handlers = Handlers(service, store, own, folder.path, components)
        _wire(handlers, run)
        wire_export(page, handlers, exports, files)
        file = FilesInput(visible=False, label="file")
        page.probe_event = gr.on([], lambda file: None, file, None, **AT_ONCE)["id"]
    return page


def _lay_out(
    service: Service, store: SessionStore, files: PrivateFiles, own: CustomExamples | None
) -> tuple[Components, gr.Button, ExportControls]:
    changed, pixel, drawn = gr.State(None), gr.State(None), gr.State({})
    opened = gr.Textbox(visible=False)
    at = gr.HTML("", elem_id="ktb-pixel", js_on_load=SEND_PIXEL)  # hidden by the style sheet
    error = gr.HTML("", elem_id="ktb-error", js_on_load=SAY_ERROR)  # hidden, too
    error.input(show_error, error, None, **HIDDEN)
    first = service.models[0] if own else service.default
    takes = service.inputs(first)
    offer = offered(takes, own)
    warning = warning_text(service, own, first)
    empty = no_result(takes, bool(offer.pairs))
    title = gr.HTML(head(takes), elem_id="ktb-head")
    unfit = gr.HTML(warning, visible=bool(warning), elem_id="ktb-warning")
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            gallery = examples_gallery(offer)
            rgb = rgb_zone()
            source, note, x_files = build_x_input(takes)
            run = gr.Button("Run", variant="primary", size="lg", elem_id="ktb-run")
            alone = gr.Button("Run on the RGB image alone", visible=False, elem_id="ktb-alone")
            read = gr.HTML(hint(takes, "file"), elem_classes="ktb-read", elem_id="ktb-x-read")
            x = build_corrections(source, x_files, read, takes, offer.options)
            accordion = build_alignment()
            with gr.Accordion("Checkpoint", open=False, elem_id="ktb-settings"):
                names = [("automatic: by X and the scene", AUTO_MODEL), *((n, n) for n in service.models)]
                model = gr.Dropdown(names, value=first, label="Checkpoint", elem_id="ktb-model")
                card = gr.Markdown(card_text(service, first), elem_classes="ktb-card")
        with gr.Column(scale=3, min_width=320):
            wire_api(service, store, rgb, x.files)  # first, so that no other event takes an endpoint's name
            with gr.Tabs(elem_id="ktb-tabs", overflow_behavior="wrap") as tabs:
                given = (rgb, x.files, x.source, model, *x.values)
                context = Context(service, store, changed, pixel, at, given, drawn, opened, files)
                shown = result.build(context, first_screen(empty), bool(offer.pairs))
                branches_text = branches.build(context, empty)
                for tab in TABS:
                    tab(context)
                x_tab = x_input.build(context, no_x(takes))
            foot = gr.HTML(elem_id="ktb-foot")
            exports = build_export()
    components = Components(
        title=title, unfit=unfit, gallery=gallery, rgb=rgb, model=model, card=card, x=x, x_note=note,
        x_kind=gr.State(x_name(takes)), alone=alone, alignment=AlignmentControls(*accordion, *x_tab.preview),
        tabs=tabs, result=shown, branches=branches_text,
        x_tab=x_tab, foot=foot, changed=changed, pixel=pixel, opened=opened,
    )  # fmt: skip
    return components, run, exports


def _wire(h: Handlers, run: gr.Button) -> None:
    p, x, a, t = h.p, h.p.x, h.p.alignment, h.p.x_tab
    read = (h.read, p.for_read, p.read, OPEN_TAB)
    new_pair = (h.read_new_pair, p.for_read, p.new_pair, OPEN_TAB)
    run_pair = (h.run_pair, p.given, [p.foot, p.alone, t.is_newer, t.waits, p.pixel, p.changed])

    direct(p.rgb.input, h.show_rgb, p.rgb, p.rgb)
    direct(partial(gr.on, [p.rgb.input, x.files.upload, x.files.clear, x.files.delete]), *new_pair)
    used = [event for field in x.values[:-2] for event in _uses(field)]
    direct(partial(gr.on, [*used, x.source.input]), *read)
    moved = direct(
        partial(gr.on, [x.start.release, x.length.release]),
        lambda start, length: (start, length), [x.start, x.length], x.form.window,
    )  # fmt: skip
    direct(moved.then, *read)
    direct(x.reset.click, h.reset, p.for_read, p.after_reset, OPEN_TAB)
    direct(t.tab.select, h.open_x_tab, [t.waits, *p.given], [t.text, t.waits])

    no_file = gr.State(None)
    previews = [
        used(h.propose, [file, *p.given], [*p.proposed, p.tabs], show_progress_on=x.read, **HIDDEN)
        for used, file in ((a.estimate.click, no_file), (a.file.upload, a.file))
    ]
    for preview in previews:
        preview.success(None, js=SHOW_RESULT, **HIDDEN)
    applied = direct(a.use.click, h.use_proposal, a.proposal, [x.form.alignment, *p.proposed])
    removed = direct(a.remove.click, lambda: None, None, x.form.alignment)
    for change in (applied, removed):
        direct(change.then, *read)

    running = {"show_progress_on": p.waiting, **RUNNING}  # shows the position in the queue
    ran = run.click(*run_pair, **running)
    direct(ran.failure, h.offer_alone, [p.rgb, x.files, x.source], p.alone)
    ran.success(None, js=SHOW_RESULT, **HIDDEN)
    without_x = direct(p.alone.click, lambda: "none", None, x.source)
    direct(without_x.then, *read).then(*run_pair, **running)
    pair = [p.rgb, x.files, x.source, *x.values]
    for chosen in (
        p.gallery.select(h.choose_example, p.model, pair, show_progress_on=p.waiting, **HIDDEN),
        p.try_it.click(h.choose_first_example, p.model, pair, show_progress_on=p.waiting, **HIDDEN),
    ):
        direct(chosen.then, h.show_stored, [p.model, p.rgb], p.result.drawn)
        # An example that is chosen during a run is run after it.
        direct(chosen.then, *new_pair).then(*run_pair, trigger_mode="always_last", **running)
    other = direct(p.model.input, h.choose_model, [p.model, *p.for_model], p.of_model)
    direct(other.then, *read)


def _uses(field: gr.components.Component) -> list[Callable]:
    """The events that report a visitor's change of a field of X. A dropdown reports `input` twice."""
    if isinstance(field, gr.Textbox):
        return [field.submit, field.blur]
    return [field.select] if isinstance(field, gr.Dropdown) else [field.input]


def launch_options(limit: RateLimit | None = None, hosts: Iterable[str] = ()) -> dict[str, Any]:
    """Keyword arguments for the page's `launch`: theme, limits and routes.

    Args:
        limit: rate limits per address; `RateLimit()` by default.
        hosts: host names that requests may use, besides this machine's loopback names.

    Raises:
        ValueError: one of `hosts` is not a host name.
    """
    limit = limit or RateLimit()
    theme = gr.themes.Default(
        primary_hue="blue", neutral_hue="slate", radius_size="lg", font=SYSTEM_FONTS, font_mono=MONO_FONTS
    ).set(**LEGIBLE)
    web = web_options(limit, SCRIPTS)
    lifespan = partial(housekeeping, hosts=HostRule.of(hosts, limit.proxies))
    return {
        "theme": theme,
        "css": CSS,
        "head": SCRIPTS,
        "max_file_size": MAX_FILE_BYTES,
        "footer_links": ["api", "settings"],
        "app_kwargs": {**web, "lifespan": lifespan, "routes": [HEALTH, *web["routes"]]},
        "enable_monitoring": False,
        "run_history": False,
        "ssr_mode": False,  # a Space's environment may turn it on; this page is rendered in the browser
    }
