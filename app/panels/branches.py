"""The branches tab: the masks of the fused head and of each stream's own head."""

from __future__ import annotations

import numpy as np

from app.panels.x_input import warnings_box
from app.pictures import display_size, figure_tag, image_tag
from app.service import Result
from ktb.model import BRANCHES

TITLES = {"fused": "Fused", "rgb": "RGB head", "x": "X head"}
TEXTS = {
    "fused": "from the fused features: the answer",
    "rgb": "from the photograph's stream",
    "x": "from the X stream",
}

BLIND = "there was no X: this stream saw zero tokens and hints from the photograph only"
NOTE = """<p class="ktb-note">Each head sees one stream only, but the prompts (MAPA) pass hints from one
stream to the other on the way: a head's mask is not what the network would say without the other
sensor.</p>"""


def branches_panel(result: Result) -> str:
    """The three masks side by side over their inputs, with how far they agree with the fused one."""
    prediction = result.prediction
    fused = prediction.labels["fused"]
    figures = []
    for branch in BRANCHES:
        mask = display_size(prediction.colors(branch), smooth=False)
        agreement = float(np.mean(prediction.labels[branch] == fused))
        note = TEXTS[branch] if branch == "fused" else f"{TEXTS[branch]}; {100 * agreement:.1f} % as fused"
        if branch == "x" and result.x_is_missing:
            note = BLIND
        figures.append(figure_tag(image_tag(mask, f"{branch} mask", prediction.model), TITLES[branch], note))
    figures.append(figure_tag(image_tag(display_size(result.rgb), "photograph"), "Photograph", ""))
    if not result.x_is_missing:
        x_image = image_tag(display_size(prediction.x.preview), f"x input: {result.x_name}")
        figures.append(figure_tag(x_image, f"X: {result.x_name}", prediction.x.summary))
    said = warnings_box(prediction.x.warnings)
    return f'{said}<div class="ktb-grid ktb-three">{"".join(figures)}</div>{NOTE}'
