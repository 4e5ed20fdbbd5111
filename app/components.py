"""The page's components that handlers change, grouped into the input and output lists of events."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.tabs.inspect import InspectTab
from app.tabs.video import VideoTab
from app.widgets.alignment import AlignmentControls
from app.widgets.x_input import XControls, XDetails


@dataclass(frozen=True)
class Components:
    """The components that handlers change."""

    title: gr.HTML
    unfit: gr.HTML
    gallery: gr.Gallery
    rgb: gr.Image
    model: gr.Dropdown
    card: gr.Markdown
    x: XControls
    x_note: gr.HTML
    x_kind: gr.State
    alone: gr.Button
    alignment: AlignmentControls
    tabs: gr.Tabs
    inspect: InspectTab
    x_details: XDetails
    foot: gr.HTML
    changed: gr.State
    video: VideoTab

    @property
    def given(self) -> list[gr.components.Component]:
        """The components that describe the current input."""
        return [self.rgb, self.x.files, self.x.source, self.model, *self.x.values]

    @property
    def for_read(self) -> list[gr.components.Component]:
        """Inputs of `Handlers.read`, `read_new_pair` and `reset`."""
        return [*self.given, self.x.shown]

    @property
    def read(self) -> list[gr.components.Component]:
        """Outputs of `Handlers.read`."""
        x, a = self.x, self.alignment
        details = self.x_details
        return [x.read, details.text, details.place, self.alone, a.state, a.remove, *x.follow]

    @property
    def after_reset(self) -> list[gr.components.Component]:
        """Outputs of `Handlers.reset`."""
        return list(dict.fromkeys([*self.read, *self.x.values]))

    @property
    def proposed(self) -> list[gr.components.Component]:
        """The components that preview an alignment."""
        return [self.alignment.preview, self.alignment.proposal, self.alignment.use]

    @property
    def new_pair(self) -> list[gr.components.Component]:
        """Outputs of `Handlers.read_new_pair`."""
        return [*self.read, self.x.form.window, self.x.form.alignment, *self.proposed]

    @property
    def of_run(self) -> list[gr.components.Component]:
        """Outputs of `Handlers.run_pair`."""
        return [self.inspect.file, self.foot, self.alone, self.changed]

    @property
    def for_model(self) -> list[gr.components.Component]:
        """Inputs of `Handlers.choose_model` after the checkpoint's name."""
        return [self.x_kind, self.x.source, *self.x.values]

    @property
    def of_model(self) -> list[gr.components.Component | gr.blocks.BlockContext]:
        """Outputs of `Handlers.choose_model`."""
        return [
            self.title, self.unfit, self.gallery, self.x.files, self.x.source, self.x_note, self.x_kind,
            self.card, *self.x.values,
        ]  # fmt: skip
