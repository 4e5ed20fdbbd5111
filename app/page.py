"""The page: layout and event wiring. The network runs on request; the browser draws its results."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app.api.endpoints import wire_api
from app.components import Components
from app.context import Context
from app.errors import show_error
from app.gradio_ext.blocks import Page
from app.gradio_ext.components import FilesInput
from app.gradio_ext.events import AT_ONCE, HIDDEN, LATEST, RUNNING
from app.gradio_ext.static_files import serve_in_place
from app.handlers import Handlers
from app.layout import card_text, examples_gallery, offered, rgb_zone, unfold_inputs, warning_text
from app.mcp.route import Tools
from app.panels.footer import footer
from app.server.folder import ServerFolder
from app.server.housekeeping import housekeeping
from app.server.private_files import PrivateFiles
from app.server.sessions import SessionStore
from app.service import Service
from app.settings import PARAMETER
from app.tabs import compare, ground_truth, how_it_works, inspect, video, what_if
from app.texts import head, no_x, x_name
from app.viewer import SHOW, ViewerFiles, shows
from app.web.hosts import HostRule
from app.web.middleware import web_options
from app.web.own_routes import HEALTH
from app.web.rate_limits import RateLimit
from app.widgets.alignment import build_alignment
from app.widgets.downloads import ExportControls, build_export, wire_export
from app.widgets.examples import EXAMPLES_FOLDER, CustomExamples, Offer
from app.widgets.opening import Opening
from app.widgets.x_input import build_corrections, build_x_details, build_x_input, hint
from ktb.checkpoints.choice import AUTO_MODEL
from ktb.inputs.limits import MAX_FILE_BYTES

CSS = (Path(__file__).parent / "static" / "style.css").read_text()
SCRIPTS = "".join(
    f"<script>{(Path(__file__).parent / 'static' / name).read_text()}</script>"
    for name in ("page.js", "scrubber.js")
)
SHOWN_FRAME = "(frame, ...given) => [window.ktbFrame(), ...given]"  # app/static/scrubber.js
SAY_ERROR = "window.ktbSayError = (said) => { props.value = said; trigger('input'); };"  # for page.js
SYSTEM_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO_FONTS = ["ui-monospace", "Consolas", "monospace"]
LEGIBLE = {
    "body_text_color_subdued": "*neutral_600",
    "button_primary_background_fill": "*primary_800",
    "button_primary_background_fill_hover": "*primary_700",
    "button_primary_background_fill_dark": "*neutral_200",
    "button_primary_background_fill_hover_dark": "*neutral_100",
    "button_primary_text_color_dark": "*neutral_900",
    "link_text_color_dark": "*neutral_300",
    "color_accent": "*primary_600",
}
"""Replacements for theme colours whose contrast is below 4.5:1, and for buttons that would look disabled."""
OPEN_EXAMPLE = "(run) => { if (run) window.ktbOpenExample(run); }"  # app/static/page.js
OUTDATE = "() => window.ktbInputsChanged()"  # app/static/page.js
SHOW_RESULT = """() => { window.ktbFoldInputs(); const tabs = document.getElementById('ktb-tabs');
  const isSeen = window.innerWidth >= 900 && tabs.getBoundingClientRect().top >= 0;
  if (!isSeen) tabs.scrollIntoView({behavior: 'smooth'}); }"""  # far below in one column, or above


def build_page(
    service: Service,
    own: CustomExamples | None = None,
    opens_on_example: bool = True,
    ablates: bool = True,
) -> Page:
    """Lay out the page on a service; `launch_options` gives the arguments of its launch.

    Args:
        service: the models.
        own: pairs of a custom dataset, offered in place of the project's examples.
        opens_on_example: whether a page opens on the finished run of the first pair.
        ablates: whether each run is followed by the ablation of each sensor while the network is free.
    """
    served = [*own.files] if own else [EXAMPLES_FOLDER]  # only the offered pairs of a custom dataset
    forget_offered = serve_in_place(served)  # never copied into the upload folder
    with Page(title="KTB", analytics_enabled=False) as page:
        folder = page.folder = ServerFolder(Path(page.GRADIO_CACHE))
        weakref.finalize(page, folder.remove)
        page.forget_offered = forget_offered
        store = page.store = SessionStore(folder.path, keep=served)
        store.uploads.on_delete(service.decoded.forget)
        service = page.service = service.for_visitors(store.own_file)
        files = PrivateFiles(folder.path, store)
        viewer = ViewerFiles(files)
        first = service.models[0] if own else service.default
        offer = offered(service.inputs(first), own)
        components, run, exports = _lay_out(service, store, viewer, own, offer, opens_on_example)
        page.opening = Opening(service, offer) if opens_on_example else None
        handlers = Handlers(service, store, own, folder.path, viewer, components)
        _wire(handlers, run, ablates)
        if page.opening is not None:
            _open_on_example(page, handlers, offer)
        wire_export(page, handlers, exports, files)
        file = FilesInput(visible=False, label="file")
        page.probe_event = gr.on([], lambda file: None, file, None, **AT_ONCE)["id"]
    return page


def _lay_out(
    service: Service,
    store: SessionStore,
    viewer: ViewerFiles,
    own: CustomExamples | None,
    offer: Offer,
    opens_on_example: bool,
) -> tuple[Components, gr.Button, ExportControls]:
    changed = gr.State(None)
    error = gr.HTML("", elem_id="ktb-error", js_on_load=SAY_ERROR)  # hidden by the style sheet
    error.input(show_error, error, None, **HIDDEN)
    first = service.models[0] if own else service.default
    takes = service.inputs(first)
    warning = warning_text(service, own, first)
    title = gr.HTML(head(takes), elem_id="ktb-head")
    unfit = gr.HTML(warning, visible=bool(warning), elem_id="ktb-warning")
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            gallery = examples_gallery(offer)
            gr.HTML(unfold_inputs(opens_on_example and bool(offer.pairs)), elem_id="ktb-fold")
            rgb = rgb_zone()
            source, note, x_files = build_x_input(takes)
            run = gr.Button("Run", variant="primary", size="lg", elem_id="ktb-run")
            alone = gr.Button("Run on the RGB image alone", visible=False, elem_id="ktb-alone")
            read = gr.HTML(hint(takes, "file"), elem_classes="ktb-read", elem_id="ktb-x-read")
            details = build_x_details(no_x(takes))
            x = build_corrections(source, x_files, read, takes, offer.options)
            alignment = build_alignment()
            with gr.Accordion("Checkpoint", open=False, elem_id="ktb-settings"):
                names = [("automatic: by X and the scene", AUTO_MODEL), *((n, n) for n in service.models)]
                model = gr.Dropdown(names, value=first, label="Checkpoint", elem_id="ktb-model")
                card = gr.Markdown(card_text(service, first), elem_classes="ktb-card")
        with gr.Column(scale=3, min_width=320):
            wire_api(service, store, rgb, x.files)  # first, so that no other event takes an endpoint's name
            with gr.Tabs(elem_id="ktb-tabs", overflow_behavior="wrap") as tabs:
                given = (rgb, x.files, x.source, model, *x.values)
                context = Context(service, store, viewer, changed, given)
                inspected = inspect.build(context)
                what_if.build(context)
                with (
                    gr.Tab("Evaluate", id="evaluate"),
                    gr.Tabs(elem_id="ktb-evaluate", overflow_behavior="wrap"),
                ):
                    ground_truth.build(context)
                    compare.build(context)
                    recording = video.build(context)
                how_it_works.build()
            foot = gr.HTML(elem_id="ktb-foot")
            exports = build_export()
    components = Components(
        title=title, unfit=unfit, gallery=gallery, rgb=rgb, model=model, card=card, x=x, x_note=note,
        x_kind=gr.State(x_name(takes)), alone=alone, alignment=alignment, tabs=tabs, inspect=inspected,
        x_details=details, foot=foot, changed=changed, video=recording,
    )  # fmt: skip
    return components, run, exports


def _wire(h: Handlers, run: gr.Button, ablates: bool) -> None:
    p, x, a, inspected = h.p, h.p.x, h.p.alignment, h.p.inspect
    read = {"fn": h.read, "inputs": p.for_read, "outputs": p.read, **LATEST}
    new_pair = {"fn": h.read_new_pair, "inputs": p.for_read, "outputs": p.new_pair, **LATEST}
    run_pair = (h.run_pair, p.given, p.of_run)

    p.rgb.input(h.show_rgb, p.rgb, p.rgb, **LATEST)
    gr.on([p.rgb.input, x.files.upload, x.files.clear, x.files.delete], **new_pair)
    used = [event for field in x.values[:-2] for event in _uses(field)]
    gr.on([*used, x.source.input], **read)
    moved = gr.on(
        [x.start.release, x.length.release],
        lambda start, length: (start, length), [x.start, x.length], x.form.window, **LATEST,
    )  # fmt: skip
    moved.then(**read)
    given = [p.rgb.input, x.files.upload, x.files.clear, x.files.delete, *used, x.source.input, p.model.input]
    gr.on([*given, x.start.release, x.length.release, x.reset.click], None, js=OUTDATE, **HIDDEN)
    x.reset.click(h.reset, p.for_read, p.after_reset, **LATEST)

    no_file = gr.State(None)
    for used_by, file in ((a.estimate.click, no_file), (a.file.upload, a.file)):
        used_by(h.propose, [file, *p.given], p.proposed, show_progress_on=a.state, **HIDDEN)
    applied = a.use.click(h.use_proposal, a.proposal, [x.form.alignment, *p.proposed], **LATEST)
    removed = a.remove.click(lambda: None, None, x.form.alignment, **LATEST)
    for change in (applied, removed):
        change.then(**read)

    running = {"show_progress_on": inspected.waiting, **RUNNING}  # shows the position in the queue
    ran = run.click(*run_pair, **running)
    ran.failure(h.offer_alone, [p.rgb, x.files, x.source], p.alone, **AT_ONCE)
    without_x = p.alone.click(lambda: "none", None, x.source, **LATEST)
    ran_alone = without_x.then(**read).then(*run_pair, **running)
    pair = [p.rgb, x.files, x.source, *x.values]
    chosen = p.gallery.select(h.choose_example, p.model, pair, show_progress_on=inspected.waiting, **HIDDEN)
    shows(chosen.then(h.show_stored, [p.model, p.rgb], inspected.file, **AT_ONCE), inspected.file, SHOW)
    # An example that is chosen during a run is run after it.
    ran_example = chosen.then(**new_pair).then(*run_pair, trigger_mode="always_last", **running)
    v = p.video
    ran_frame = v.inspect.click(
        h.inspect_frame, [v.frame, *v.given], [*p.of_run, p.tabs], js=SHOWN_FRAME,
        show_progress_on=v.waiting, **RUNNING,
    )  # fmt: skip
    for event in (ran, ran_alone, ran_example, ran_frame):
        event.success(None, js=SHOW_RESULT, **HIDDEN)
        shown = shows(event, inspected.file, SHOW)
        details = shows(shown.then(h.send_details, None, inspected.layers, **LATEST), inspected.layers)
        if ablates:
            ablated = details.then(inspected.handlers.ablate_if_free, None, inspected.layers, **RUNNING)
            shows(ablated, inspected.layers)
    other = p.model.input(h.choose_model, [p.model, *p.for_model], p.of_model, **LATEST)
    other.then(**read)


def _open_on_example(page: Page, h: Handlers, offer: Offer) -> None:
    """Show the first pair and its finished run when a page is opened without settings in its address."""
    p, opening = h.p, page.opening

    def is_plain(request: gr.Request) -> bool:
        return PARAMETER not in request.query_params and bool(offer.pairs)

    def choose(request: gr.Request):
        if not is_plain(request):
            return gr.skip()
        return str(offer.pairs[0].rgb), [str(offer.pairs[0].x)]

    def finish(request: gr.Request):
        if not is_plain(request) or h.service.is_lent:
            return gr.skip()
        opening.make()
        if opening.result is None or h.store.result(request.session_hash) is not None:
            return gr.skip()
        h.remember(request)
        h.store.keep_result(request.session_hash, opening.result, is_shared=True)
        return footer(opening.result), opening.result.id, opening.result.id

    def stored(request: gr.Request, model, rgb_path):
        return None if opening.result else h.show_stored(request, model, rgb_path)

    chosen = page.load(choose, None, [p.rgb, p.x.files], **AT_ONCE)
    file = p.inspect.file
    shows(chosen.then(stored, [p.model, p.rgb], file, **AT_ONCE), file, SHOW)
    chosen.then(h.read, p.for_read, p.read, **LATEST)
    run = gr.Textbox(visible=False, label="run")  # a State stays on the server
    finished = chosen.then(finish, None, [p.foot, p.changed, run], **AT_ONCE)
    finished.success(None, run, None, js=OPEN_EXAMPLE, **HIDDEN)


def _uses(field: gr.components.Component) -> list[Callable]:
    """The events that report a visitor's change of a field of X. A dropdown reports `input` twice."""
    if isinstance(field, gr.Textbox):
        return [field.submit, field.blur]
    return [field.select] if isinstance(field, gr.Dropdown) else [field.input]


def launch_options(
    limit: RateLimit | None = None, hosts: Iterable[str] = (), tools: Tools | None = None
) -> dict[str, Any]:
    """Keyword arguments for the page's `launch`: theme, limits and routes.

    Args:
        limit: rate limits per address; `RateLimit()` by default.
        hosts: host names that requests may use, besides this machine's loopback names.
        tools: the tools for agents, which are served, too.

    Raises:
        ValueError: one of `hosts` is not a host name.
    """
    limit = limit or RateLimit()
    theme = gr.themes.Default(
        primary_hue="slate",  # blue and orange are the sensors' colours
        secondary_hue="slate",
        neutral_hue="slate",
        radius_size="lg",
        font=SYSTEM_FONTS,
        font_mono=MONO_FONTS,
    ).set(**LEGIBLE)
    web = web_options(limit, SCRIPTS, [tools.route] if tools else [])
    lifespan = partial(housekeeping, hosts=HostRule.of(hosts, limit.proxies))
    return {
        "theme": theme,
        "css": CSS,
        "head": SCRIPTS,
        "max_file_size": MAX_FILE_BYTES,
        "footer_links": ["api", "settings"],
        "app_kwargs": {
            **web,
            "lifespan": tools.within(lifespan) if tools else lifespan,
            "routes": [HEALTH, *web["routes"]],
        },
        "enable_monitoring": False,
        "mcp_server": False,  # Gradio's own lets all agents share one session, and keeps their files
        "run_history": False,
        "ssr_mode": False,  # a Space's environment may turn it on; this page is rendered in the browser
    }
