"""The branches tab: what the two sensors say together and each head alone."""

from __future__ import annotations

import html

import numpy as np

from app.pictures import display_size, image_tag
from app.service import Result
from ktb.model import BRANCHES

TITLES = {"fused": "Fused", "rgb": "RGB head", "x": "X head"}
TEXTS = {
    "fused": "from the fused features: the answer",
    "rgb": "from the photograph's stream alone",
    "x": "from the X stream alone",
}


def branches_panel(result: Result) -> str:
    """The three masks side by side over their inputs, with how far they agree with the fused one."""
    prediction = result.prediction
    fused = prediction.labels["fused"]
    figures = []
    for branch in BRANCHES:
        mask = display_size(prediction.colors(branch), smooth=False)
        agreement = float(np.mean(prediction.labels[branch] == fused))
        note = TEXTS[branch] if branch == "fused" else f"{TEXTS[branch]}; {100 * agreement:.1f} % as fused"
        figures.append(_figure(image_tag(mask, f"{branch} mask"), TITLES[branch], note))
    figures.append(_figure(image_tag(display_size(result.rgb), "photograph", photo=True), "Photograph", ""))
    figures.append(_figure(image_tag(display_size(prediction.x.preview), "x input"), "X", prediction.x.summary))
    return f'<div class="ktb-grid ktb-three">{"".join(figures)}</div>'


def _figure(image: str, title: str, note: str) -> str:
    return (
        f"<figure>{image}<figcaption><b>{html.escape(title)}</b> <span>{html.escape(note)}</span>"
        f"</figcaption></figure>"
    )
