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

from app.panels.branches import branches_panel
from app.panels.fusion import EMPTY as EMPTY_FUSION
from app.panels.fusion import fusion_panel
from app.panels.result import EMPTY, footer, result_panel
from app.pictures import display_size, image_tag
from app.service import Service
from app.sessions import SessionStore
from ktb.figures import rounded_down
from ktb.modalities import DEPTH_UNITS
from ktb.outputs import result_files

EXAMPLES_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "examples"
CSS = (Path(__file__).parent / "style.css").read_text()
MAX_UPLOAD = "64mb"
CLEANUP_SECONDS = (600, 7200)  # how often leftovers are looked for, and how old they must be
SYSTEM_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
PROGRESS = gr.Progress()  # as a default argument it tells Gradio to pass one
MONO_FONTS = ["ui-monospace", "Consolas", "monospace"]
SET_OPACITY = "(v) => { document.getElementById('ktb-stage').style.setProperty('--ktb-opacity', v); }"
HEAD = """<h1>KTB: see how <span class="rgb">RGB</span> and <span class="x">X</span> are combined</h1>
<p>A photograph and its depth image go in; a mask comes out, with what each sensor's own head says and where
the network's sparse fusion looked. After <i>Keep the Balance</i> (CVPR 2025).</p>"""

X_HINT = "Depth as 16-bit PNG or TIFF, .npy or .npz; nothing is lost on the way in."


def hands_over_file(image: gr.Image) -> gr.Image:
    """Make an image drop zone hand over the path of the upload itself: reading and refusing is ours.

    Gradio would open the picture first and fail on a bad one without a message for people. (A subclass
    would do, but Gradio writes a stub file beside the module of every subclass.)
    """
    image.preprocess = lambda payload: None if payload is None else payload.path
    return image


def examples() -> list[tuple[Path, Path, str]]:
    """RGB file, depth file and name of every example pair that ships with the project."""
    pairs = []
    for rgb in sorted(EXAMPLES_FOLDER.glob("*_rgb.png")):
        name = rgb.name.removesuffix("_rgb.png")
        depth = rgb.with_name(f"{name}_depth.png")
        if depth.is_file():
            pairs.append((rgb, depth, name.replace("_", " ").capitalize()))
    return pairs


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


def build_page(service: Service) -> gr.Blocks:
    """Lay out the page on a service; `launch_options` has what belongs to its launch."""
    pairs = examples()
    gr.set_static_paths([EXAMPLES_FOLDER])  # served where they lie: never copied among the uploads
    with gr.Blocks(title="KTB", delete_cache=CLEANUP_SECONDS, analytics_enabled=False) as page:
        store = SessionStore(Path(page.GRADIO_CACHE))
        gr.HTML(HEAD, elem_id="ktb-head")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                gallery = gr.Gallery(
                    [(str(photo), name) for photo, _, name in pairs],
                    label="Try an example",
                    columns=2,
                    height="auto",
                    allow_preview=False,
                    object_fit="cover",
                    interactive=False,
                    visible=bool(pairs),
                    buttons=[],
                    elem_id="ktb-examples",
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
                x = gr.File(label="X: its depth image", type="filepath", height=140, elem_id="ktb-x")
                run = gr.Button("Run", variant="primary", size="lg", elem_id="ktb-run")
                x_read = gr.HTML(X_HINT, elem_classes="ktb-read", elem_id="ktb-x-read")
                with gr.Accordion("Checkpoint and depth unit", open=False):
                    model = gr.Dropdown(service.models, value=service.models[0], label="Checkpoint")
                    card = gr.Markdown(card_text(service, service.models[0]), elem_classes="ktb-card")
                    unit = gr.Dropdown(
                        [("guess from the file", "auto"), *((t, key) for key, t in DEPTH_UNITS.items())],
                        value="auto",
                        label="Depth unit",
                    )
            with gr.Column(scale=3, min_width=320):
                with gr.Tabs():
                    with gr.Tab("Result"):
                        opacity = gr.Slider(0, 1, 0.6, step=0.01, label="Mask opacity", elem_id="ktb-opacity")
                        stage = gr.HTML(EMPTY, elem_id="ktb-stage")
                    with gr.Tab("Branches"):
                        branches = gr.HTML(EMPTY, elem_id="ktb-branches")
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
            if not x_path:
                return X_HINT
            reading = service.read_x(x_path, rgb_path, model_name, unit_name)
            return image_tag(display_size(reading.preview), "x as it was read") + html.escape(reading.summary)

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

        def choose_example(selected: gr.SelectData):
            photo, depth, _ = pairs[selected.index]
            return str(photo), str(depth), "auto"

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
        gallery.select(choose_example, None, [rgb, x, unit], **hidden).then(
            read, inputs, x_read, **quiet
        ).then(run_pair, [*inputs, level], shown, **running)
        level.input(show_level, level, fusion, **quiet)
        opacity.input(None, opacity, None, js=SET_OPACITY, **hidden)
        model.input(lambda name: card_text(service, name), model, card, **hidden)
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
