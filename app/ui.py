"""The page: layout and events. Inference happens once per Run; every other control only draws again."""

from __future__ import annotations

import base64
import html
import uuid
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from app.examples import EXAMPLES_FOLDER, Offer, OwnExamples, examples
from app.panels.branches import branches_panel
from app.panels.fusion import EMPTY as EMPTY_FUSION
from app.panels.fusion import fusion_panel
from app.panels.result import footer, result_panel
from app.pictures import display_size, image_tag
from app.service import Service
from app.sessions import SessionStore
from app.words import head, no_result, x_hint, x_label, x_name
from ktb.config import InputConfig
from ktb.figures import rounded_down
from ktb.modalities import DEPTH_UNITS
from ktb.outputs import result_files

CSS = (Path(__file__).parent / "style.css").read_text()
MAX_UPLOAD = "64mb"
CLEANUP_SECONDS = (600, 7200)  # how often leftovers are looked for, and how old they must be
SYSTEM_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
PROGRESS = gr.Progress()  # as a default argument it tells Gradio to pass one
MONO_FONTS = ["ui-monospace", "Consolas", "monospace"]
SET_OPACITY = "(v) => { document.getElementById('ktb-stage').style.setProperty('--ktb-opacity', v); }"


def hands_over_file(image: gr.Image) -> gr.Image:
    """Make an image drop zone hand over the path of the upload itself: reading and refusing is ours.

    Gradio would open the picture first and fail on a bad one without a message for people. (A subclass
    would do, but Gradio writes a stub file beside the module of every subclass.)
    """
    image.preprocess = lambda payload: None if payload is None else payload.path
    return image


def offered(inputs: InputConfig, own: OwnExamples | None) -> Offer:
    """What to click on: own data, or the project's examples of what a model takes.

    Ours are depth in millimetres: there is none for a model that takes depth as a plain picture.
    """
    if own:
        return own.offer
    fits = (inputs.modality == "depth") == (inputs.encoding == "depth")
    pairs = examples(inputs.modality) if fits else []
    return Offer("Try an example", pairs, [pair.rgb for pair in pairs])


def tiles(offer: Offer) -> list[tuple[str, str]]:
    """Picture and caption of each pair, for the gallery."""
    return [(str(tile), pair.name) for tile, pair in zip(offer.tiles, offer.pairs)]


def shows_errors(handler: Callable) -> Callable:
    """Turn a ValueError, which has a text for people, into the page's message."""

    @wraps(handler)
    def wrapped(*args, **kwargs):
        try:
            return handler(*args, **kwargs)
        except ValueError as error:
            raise gr.Error(html.escape(str(error)), duration=None, print_exception=False) from error

    return wrapped


def card_text(service: Service, model: str) -> str:
    """A model's card as Markdown: data, protocol, figures per branch, limits."""
    card = service.card(model)
    rows = [
        f"- **{html.escape(key.replace('_', ' '))}**: {html.escape(str(value))}"
        for key, value in card.items()
        if isinstance(value, str | int | float)
    ]
    figures = card.get("figures")
    if isinstance(figures, dict):
        named = [
            f"{branch} {rounded_down(values['miou'])} mIoU, "
            f"{rounded_down(values['pixel_accuracy'])} % of pixels"
            for branch, values in figures.items()
            if isinstance(values, dict) and "miou" in values
        ]
        rows.append(f"- **figures**: {html.escape('; '.join(named))}")
    return "\n".join(rows) or "This checkpoint has no card."


def warning_text(service: Service, own: OwnExamples | None, model: str) -> str:
    """A line for what makes a model unfit for the own data, "" if nothing does."""
    lines = own.differences(service.config(model)) if own else []
    return f"<p>{html.escape(' '.join(lines))}</p>" if lines else ""


def settings_label(inputs: InputConfig) -> str:
    """The label of the folded settings, by what there is to set."""
    return "Checkpoint and depth unit" if inputs.encoding == "depth" else "Checkpoint"


def build_page(service: Service, own: OwnExamples | None = None) -> gr.Blocks:
    """Lay out the page on a service; `launch_options` has what belongs to its launch.

    own: pairs to offer in place of the project's examples.
    """
    first = service.models[0]
    takes = service.inputs(first)
    offer = offered(takes, own)
    warning = warning_text(service, own, first)
    # Served where they lie, never copied among the uploads; of own data nothing but the pairs on offer.
    gr.set_static_paths([*own.files] if own else [EXAMPLES_FOLDER])
    with gr.Blocks(title="KTB", delete_cache=CLEANUP_SECONDS, analytics_enabled=False) as page:
        uploads = Path(page.GRADIO_CACHE)
        uploads.mkdir(parents=True, exist_ok=True)  # Gradio's file zone needs it before the first upload
        store = SessionStore(uploads, keep=own.files if own else ())
        title = gr.HTML(head(takes), elem_id="ktb-head")
        unfit = gr.HTML(warning, visible=bool(warning), elem_id="ktb-warning")
        x_kind = gr.State(x_name(takes))
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                gallery = gr.Gallery(
                    tiles(offer),
                    label=offer.title,
                    columns=2,
                    height="auto",
                    allow_preview=False,
                    object_fit="cover",
                    interactive=False,
                    visible=bool(offer.pairs),
                    buttons=[],
                    elem_id="ktb-examples",
                    elem_classes="ktb-many" if len(offer.pairs) > 4 else None,
                )
                rgb = hands_over_file(
                    gr.Image(
                        label="Photograph (RGB)",
                        type="filepath",
                        image_mode=None,
                        sources=["upload", "clipboard"],
                        height=210,
                        elem_id="ktb-rgb",
                    )
                )
                x = gr.File(label=x_label(takes), type="filepath", height=140, elem_id="ktb-x")
                run = gr.Button("Run", variant="primary", size="lg", elem_id="ktb-run")
                x_read = gr.HTML(x_hint(takes), elem_classes="ktb-read", elem_id="ktb-x-read")
                with gr.Accordion(settings_label(takes), open=False, elem_id="ktb-settings") as settings:
                    model = gr.Dropdown(service.models, value=first, label="Checkpoint", elem_id="ktb-model")
                    card = gr.Markdown(card_text(service, first), elem_classes="ktb-card")
                    unit = gr.Dropdown(
                        [("guess from the file", "auto"), *((t, key) for key, t in DEPTH_UNITS.items())],
                        value=offer.unit,
                        label="Depth unit",
                        visible=takes.encoding == "depth",
                        elem_id="ktb-unit",
                    )
            with gr.Column(scale=3, min_width=320):
                with gr.Tabs():
                    with gr.Tab("Result"):
                        opacity = gr.Slider(0, 1, 0.6, step=0.01, label="Mask opacity", elem_id="ktb-opacity")
                        stage = gr.HTML(no_result(takes, bool(offer.pairs)), elem_id="ktb-stage")
                    with gr.Tab("Branches"):
                        branches = gr.HTML(no_result(takes, bool(offer.pairs)), elem_id="ktb-branches")
                    with gr.Tab("Fusion"):
                        level = gr.Radio(
                            [("0 (fine)", 0), ("1", 1), ("2", 2), ("3 (coarse)", 3)],
                            value=2,
                            label="Level",
                            elem_id="ktb-level",
                        )
                        fusion = gr.HTML(EMPTY_FUSION, elem_id="ktb-fusion")
                foot = gr.HTML(elem_id="ktb-foot")

        def remember(rgb_path, x_path, request: gr.Request):
            store.remember_uploads(request.session_hash, [rgb_path, x_path])

        @shows_errors
        def read(rgb_path, x_path, model_name, unit_name, request: gr.Request):
            remember(rgb_path, x_path, request)
            inputs = service.inputs(model_name)
            if not x_path:
                return x_hint(inputs)
            reading = service.read_x(x_path, rgb_path, model_name, unit_name)
            alt = f"x as it was read: {x_name(inputs)}"
            return image_tag(display_size(reading.preview), alt) + html.escape(reading.summary)

        @shows_errors
        def run_pair(
            rgb_path, x_path, model_name, unit_name, level_number, request: gr.Request, progress=PROGRESS
        ):
            remember(rgb_path, x_path, request)
            progress(0.1, desc="Reading the pair and running the network")
            result = service.segment(rgb_path, x_path, model_name, unit_name)
            store.keep_result(request.session_hash, result)
            progress(0.8, desc="Drawing")
            return (
                result_panel(result),
                branches_panel(result),
                fusion_panel(result, level_number),
                footer(result),
            )

        def show_level(level_number, request: gr.Request):
            result = store.result(request.session_hash)
            return fusion_panel(result, level_number) if result else EMPTY_FUSION

        def choose_example(model_name, selected: gr.SelectData):
            offer = offered(service.inputs(model_name), own)
            pair = offer.pairs[selected.index]
            return str(pair.rgb), str(pair.x), offer.unit

        @shows_errors
        def choose_model(model_name, kind_before, request: gr.Request):
            inputs = service.inputs(model_name)
            offer = offered(inputs, own)
            warning, kind = warning_text(service, own, model_name), x_name(inputs)
            place: dict[str, Any] = {"label": x_label(inputs)}
            if kind != kind_before:
                place["value"] = None  # X of another kind would be misread
            empty = gr.skip() if store.result(request.session_hash) else no_result(inputs, bool(offer.pairs))
            return {
                title: head(inputs),
                unfit: gr.update(value=warning, visible=bool(warning)),
                gallery: gr.update(value=tiles(offer), label=offer.title, visible=bool(offer.pairs)),
                x: gr.update(**place),
                x_kind: kind,
                settings: gr.update(label=settings_label(inputs)),
                card: card_text(service, model_name),
                unit: gr.update(visible=inputs.encoding == "depth"),
                stage: empty,
                branches: empty,
            }

        def leave(request: gr.Request):
            store.close(request.session_hash)

        @shows_errors
        def segment(rgb_path: str, x_path: str, model_name: str, unit_name: str):
            """Masks of one pair: class tables, and each file of the ZIP as base64 under `files`."""
            call = uuid.uuid4().hex
            store.remember_uploads(call, [rgb_path, x_path])
            try:
                result = service.segment(rgb_path, x_path, model_name, unit_name)
            finally:
                store.close(call)
            files = result_files(result.rgb, result.prediction)
            return result.prediction.summary() | {
                "files": {name: base64.b64encode(data).decode() for name, data in files.items()}
            }

        inputs, shown = [rgb, x, model, unit], [stage, branches, fusion, foot]
        hidden: dict[str, Any] = {"api_visibility": "private"}
        running: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network", **hidden}
        quiet: dict[str, Any] = {"show_progress": "hidden", **hidden}
        gr.on([rgb.upload, x.upload, x.clear, unit.input], read, inputs, x_read, **quiet)
        run.click(run_pair, [*inputs, level], shown, **running)
        gallery.select(choose_example, model, [rgb, x, unit], **hidden).then(
            read, inputs, x_read, **quiet
        ).then(run_pair, [*inputs, level], shown, **running)
        level.input(show_level, level, fusion, **quiet)
        opacity.input(None, opacity, None, js=SET_OPACITY, **hidden)
        follows = [title, unfit, gallery, x, x_kind, settings, card, unit, stage, branches]
        model.input(choose_model, [model, x_kind], follows, **quiet).then(read, inputs, x_read, **quiet)
        answer = gr.JSON(visible=False)
        gr.Button(visible=False).click(
            segment, inputs, answer, api_name="segment", concurrency_limit=1, concurrency_id="network"
        )
        page.unload(leave)
    return page


def launch_options() -> dict[str, Any]:
    """Keyword arguments for the page's `launch`: looks, limits and what may be served."""
    theme = gr.themes.Default(
        primary_hue="blue", neutral_hue="slate", radius_size="lg", font=SYSTEM_FONTS, font_mono=MONO_FONTS
    )
    return {
        "theme": theme,
        "css": CSS,
        "max_file_size": MAX_UPLOAD,
        "footer_links": ["api", "settings"],
        "run_history": False,
    }
