"""The fusion tab: click a pixel, see where the fusion looked, who fed it, and how much that says."""

from __future__ import annotations

import zlib
from typing import Any

import gradio as gr

from app.context import Context
from app.gradio_ext.events import HIDDEN, RUNNING, direct
from app.handlers import shows_errors
from app.html.images import display_hw
from app.html.svg import pixel_points
from app.layout import waiting_input
from app.panels import attribution, fusion, maps, pixel
from app.results import Result
from ktb.analysis.targets import TargetKind, target_at

ABOUT: list[tuple[str, TargetKind]] = [
    ("this pixel", "pixel"), ("its region", "region"), ("its whole class", "class")
]  # fmt: skip
LEVELS = [("0 fine", 0), ("1", 1), ("2", 2), ("3 coarse", 3)]
FORGET_PIXEL = "() => { window.ktbForgetPixel && window.ktbForgetPixel(); }"
Pixel = tuple[int, int]


def head_choices(result: Result, level: int) -> list[tuple[str, int | None]]:
    """The heads of a level, with the group whose points each one reads."""
    found = result.inspection.maps(level)
    heads, groups = len(found.head_balance), len(found.points)
    named = [(f"head {head}" + (f" (group {head * groups // heads})" if groups > 1 else ""), head)
             for head in range(heads)]  # fmt: skip
    return [("mean over the heads", -1), *named]


def pixel_of(result: Result, at: str) -> Pixel | None:
    """The pixel of the RGB image at "y,x" in fractions of it, as the page's script sends it; "" is none."""
    if not at:
        return None
    try:
        fractions = [float(part) for part in at.split(",")]
    except ValueError:
        fractions = []
    if len(fractions) != 2 or not all(0 <= fraction <= 1 for fraction in fractions):
        raise ValueError("the inspected place must be two fractions from 0 to 1 of the picture, y,x.")
    y, x = (min(int(part * side), side - 1) for part, side in zip(fractions, result.rgb.shape[:2]))
    return y, x


class FusionTab:
    """The tab: its components and what draws them, laid out and wired when it is made."""

    def __init__(self, context: Context):
        self.context = context
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
        with gr.Tab("Fusion", id="fusion") as self.tab, gr.Column(elem_id="ktb-fusion"):
            self.text = gr.HTML(fusion.EMPTY)
            with gr.Column(visible=False) as self.stage:
                with gr.Row(elem_classes="ktb-controls"):
                    self.level = gr.Radio(
                        LEVELS,
                        value=fusion.FIRST_LEVEL,
                        label="Level",
                        elem_id="ktb-level",
                        min_width=330,
                        scale=2,
                    )
                    self.head = gr.Dropdown(
                        [("mean over the heads", -1)], value=-1, label="Head", elem_id="ktb-head-choice",
                        min_width=170, filterable=False,
                    )  # fmt: skip
                    self.kind = gr.Dropdown(
                        maps.CHOICES, value=fusion.FIRST_MAP, label="Map", elem_id="ktb-map", min_width=190,
                        filterable=False,
                    )  # fmt: skip
                with gr.Row():
                    self.photo, self.over_photo = _pane("ktb-pane-photo")
                    self.x, self.over_x = _pane("ktb-pane-x")
                self.bar = gr.HTML(maps.point_bar())
                with gr.Row():
                    with gr.Column(min_width=320):
                        self.map, self.borders = _pane("ktb-pane-map")
                        self.table = gr.HTML(elem_id="ktb-table")
                    with gr.Column(min_width=320):
                        self.details = gr.HTML(pixel.HINT, elem_id="ktb-details")
                        self.about = gr.Radio(
                            ABOUT, value="pixel", label="Ask about", elem_id="ktb-about", min_width=320
                        )
                        self.ask = gr.Button(attribution.question("pixel"), elem_id="ktb-attribute")
                with gr.Column():
                    self.waiting = waiting_input("ktb-attribution-waiting")
                    self.attribution = gr.HTML(elem_id="ktb-attribution")
                self.all_levels = gr.HTML(elem_id="ktb-all-levels")
                self.every_head = gr.Accordion("Every head of every level", open=False, elem_id="ktb-heads")
                with self.every_head:
                    self.heads = gr.HTML()
                self.are_heads_shown = gr.State(False)
                self.honesty = gr.HTML(elem_id="ktb-honesty")

    def _wire(self) -> None:
        context = self.context
        controls = [self.level, self.head, self.kind, context.pixel]
        context.draws(
            self.tab, self.new_run, [self.level, self.kind, context.pixel, self.are_heads_shown],
            [self.text, self.stage, self.head, self.photo, self.x, self.borders, self.bar, self.heads,
             self.attribution, *self._drawn], is_precomputed=True,
        )  # fmt: skip
        context.changed.change(None, js=FORGET_PIXEL, **HIDDEN)
        for control, handler, outputs in (
            (self.level, self.choose_level, [self.head, *self._drawn]),
            (self.head, self.choose_head, [self.map, self.all_levels, *self._of_pixel]),
            (self.kind, self.choose_map, [self.map, self.all_levels]),
        ):
            context.redraws(self.tab, [control.input], handler, controls, outputs)
        at_pixel = [context.pixel, self.attribution, *self._of_pixel]
        lane, at = self.tab.label, [context.at, self.level, self.head]
        direct(context.at.input, self.choose_pixel, at, at_pixel, lane=lane)
        shown = [self.heads, self.are_heads_shown]
        direct(self.every_head.expand, self.show_heads, None, shown, lane=lane)
        direct(self.every_head.collapse, lambda: False, None, self.are_heads_shown, lane=lane)
        direct(self.about.input, attribution.question, self.about, self.ask)
        self.ask.click(
            self.attribute, [context.pixel, self.about], self.attribution,
            show_progress_on=self.waiting, **RUNNING,
        )  # fmt: skip

    @property
    def _of_pixel(self) -> tuple[gr.HTML, ...]:
        return self.over_photo, self.over_x, self.details, self.table

    @property
    def _drawn(self) -> tuple[gr.HTML, ...]:
        return self.text, self.map, self.all_levels, self.honesty, *self._of_pixel

    def new_run(
        self, request: gr.Request, level: int, kind: str, at: Pixel | None, are_heads_shown: bool
    ) -> dict[Any, Any]:
        """Draw everything for a new run, with the pixel if one was clicked in another tab since."""
        result = self.context.store.result(request.session_hash)
        if result is None or result.inspection is None:
            said = fusion.EMPTY if result is None else fusion.words(result, level)
            return {self.text: said, self.stage: gr.update(visible=False)}
        photo, x = fusion.pictures(result)
        return self.draw(result, level, None, kind, at) | {
            self.stage: gr.update(visible=True),
            self.head: gr.update(choices=head_choices(result, level), value=-1),
            self.photo: photo,
            self.x: x,
            self.heads: maps.head_grid(result) if are_heads_shown else "",
            self.borders: maps.borders(result),
            self.bar: "" if result.x_is_missing else maps.point_bar(),
            self.attribution: "",
        }

    def choose_level(self, request: gr.Request, level: int, head: int, kind: str, at: Pixel | None):
        """Another level; the pixel stays, and the head where there is one of that number."""
        result = self._result(request)
        choices = head_choices(result, level)
        kept = head if head < len(choices) - 1 else -1
        drawn = self.draw(result, level, _chosen(kept), kind, at)
        if kept == head:
            del drawn[self.all_levels]  # they stand there, and four pictures take a while
        return drawn | {self.head: gr.update(choices=choices, value=kept)}

    def choose_head(self, request: gr.Request, level: int, head: int, kind: str, at: Pixel | None):
        """Another head of the same level."""
        result, chosen = self._result(request), _chosen(head)
        return self.draw_map(result, level, chosen, kind) | self.draw_pixel(result, level, chosen, at)

    def show_heads(self, request: gr.Request):
        """Every head, once its place is opened: there are many pictures."""
        return maps.head_grid(self._result(request)), True

    def choose_map(self, request: gr.Request, level: int, head: int, kind: str, at: Pixel | None):
        """Another map."""
        result = self._result(request)
        return self.draw_map(result, level, _chosen(head), kind)

    @shows_errors
    def choose_pixel(self, request: gr.Request, at: str, level: int, head: int):
        """Another pixel, as the page's script sends it."""
        result = self.context.store.result(request.session_hash)
        if result is None:  # a click on a picture of a page whose run is forgotten
            return {self.context.pixel: None}
        found = pixel_of(result, at)
        drawn = self.draw_pixel(result, level, _chosen(head), found) if result.inspection is not None else {}
        return drawn | {self.context.pixel: found, self.attribution: ""}

    @shows_errors
    def attribute(self, request: gr.Request, at: Pixel | None, kind: TargetKind):
        """Run the network with gradients for the pixel, its region or its class."""
        result = self.context.store.result(request.session_hash)
        if result is None or at is None:
            return attribution.MUST_CLICK
        at = tuple(at)
        target = target_at(result.prediction.labels["fused"], at, kind)
        predictor = self.context.service.predictor(result.offered_as)
        found = predictor.attribute(result.rgb, result.prediction.x, target)
        return attribution.attribution_panel(result, found, at, target)

    def draw(
        self, result: Result, level: int, head: int | None, kind: str, at: Pixel | None
    ) -> dict[Any, Any]:
        """All that depends on level, head, map or pixel."""
        return {
            self.text: fusion.words(result, level),
            self.honesty: fusion.honesty(result, level),
            **self.draw_map(result, level, head, kind),
            **self.draw_pixel(result, level, head, at),
        }

    def draw_map(self, result: Result, level: int, head: int | None, kind: str) -> dict[Any, Any]:
        """The chosen map of this level and of all."""
        return {
            self.map: maps.map_view(result, level, head, kind),
            self.all_levels: maps.all_levels(result, kind, head),
        }

    def draw_pixel(self, result: Result, level: int, head: int | None, at: Pixel | None) -> dict[Any, Any]:
        """The pixel's points over both pictures and its numbers; before a click, the level's points."""
        if at is None:
            photo, x = fusion.placed_points(result, level, head)
            return {self.over_photo: photo, self.over_x: x, self.details: pixel.HINT, self.table: ""}
        view = pixel.view_of(result, level, head, tuple(at))
        size, name = display_hw(result.rgb), result.prediction.model
        over = _whole(pixel_points(view, size, "sampling points of the inspected pixel", name))
        return {
            self.over_photo: over,
            self.over_x: over,
            self.details: _whole(pixel.pixel_details(result, view, tuple(at))),
            self.table: _whole(pixel.points_table(result, view)),
        }

    def _result(self, request: gr.Request) -> Result:
        result = self.context.store.result(request.session_hash)
        if result is None or result.inspection is None:
            raise gr.Error("The result is no longer kept; press Run again.", print_exception=False)
        return result


def _chosen(head: int) -> int | None:
    return None if head < 0 else head


def _whole(content: str) -> str:
    """HTML that takes the place of what stood there as a whole, which the browser does at once.

    Else Gradio walks through the nodes that are there and changes every attribute that differs, unless their
    tags do: so this tag is made of the content.
    """
    tag = f"ktb-{zlib.crc32(content.encode()):x}"
    return f'<{tag} class="ktb-whole">{content}</{tag}>'


def _pane(name: str) -> tuple[gr.HTML, gr.HTML]:
    """A picture that is sent once, and what is drawn over it."""
    with gr.Column(elem_id=name, elem_classes="ktb-pane", min_width=320):
        return gr.HTML(elem_classes="ktb-under"), gr.HTML(elem_classes="ktb-overlay")
