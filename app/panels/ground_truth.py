"""The truth tab: the heads against a label picture, and where fusion was better or worse than one head."""

from __future__ import annotations

import html

import numpy as np

from app.glossary import term
from app.html.images import display_size, figure_tag, image_tag
from app.html.legends import legend_html
from app.html.swatch import swatch
from app.html.zip_links import IGNORED, bundle_link, truth_files
from app.panels.x_input import warnings_box
from app.results import Result
from ktb.analysis.ground_truth import (
    IGNORE_INDEX,
    GroundTruth,
    Score,
    error_map,
    fusion_effect,
    score,
    scored_shares,
)
from ktb.config import BRANCHES, HEADS
from ktb.utils.text import percent
from ktb.visualize import Color

EMPTY = """<div class="ktb-empty"><b>No result yet</b>
<span>Run a pair; its label picture, if you have one, is compared with the masks here.</span></div>"""
NO_TRUTH = """<div class="ktb-empty"><b>No label picture yet</b>
<span>Upload the true classes of this RGB image: a PNG of class numbers, or one painted in the checkpoint's
colours.</span></div>"""
ERRORS: tuple[tuple[Color, str, str], ...] = (
    ((228, 231, 236), "Right", "the fused head says the true class"),
    ((200, 60, 20), "Wrong", "it says another class"),
)
EFFECTS: tuple[tuple[Color, str, str], ...] = (
    ((228, 231, 236), "Both right", "the fused head and this head"),
    ((0, 158, 115), "Helped", "the fused head is right, this head is wrong"),
    ((200, 60, 20), "Hurt", "the fused head is wrong, this head is right"),
    ((92, 95, 106), "Both wrong", "perhaps in different ways"),
)
ERROR_COLORS, EFFECT_COLORS = ([color for color, _, _ in entries] for entries in (ERRORS, EFFECTS))
NOTE = f"""<p class="ktb-note">Only labelled pixels are scored; grey ones have no label. IoU compares a head's
region with the true one, – where neither has the class; the mean leaves those out. One picture says little
about a {term("checkpoint")}. <i>Helped</i> and <i>hurt</i> compare two
{term("segmentation head", "heads")} of one run: {term("prompts", "hints (MAPA)")} pass between the streams,
so a head is not the network without the other sensor.</p>"""


def truth_panel(result: Result, truth: GroundTruth) -> str:
    """Scores of the three heads, the fused head's errors, and what fusion changed against either head."""
    prediction, labels = result.prediction, result.prediction.labels
    count, name = len(prediction.classes), prediction.model
    scores = {branch: score(labels[branch], truth.labels, count) for branch in BRANCHES}
    errors = error_map(labels["fused"], truth.labels)
    figures = _figure(errors, ERRORS, "errors of the fused head", "Errors of the fused head", name)
    words = []
    for branch in ("rgb", "x"):
        effect = fusion_effect(labels["fused"], labels[branch], truth.labels)
        shares = scored_shares(effect, len(EFFECTS))
        title = f"Fused against the {HEADS[branch]}"
        figures += _figure(
            effect, EFFECTS, f"where fusion helped or hurt against the {branch} head", title, name
        )
        words.append(
            f"Against the {HEADS[branch]}, the fused head is right where that one is wrong on "
            f"<b>{percent(shares[1])}</b> of the scored pixels, and wrong where it is right on "
            f"<b>{percent(shares[2])}</b>."
        )
    scored = float(np.mean(truth.labels != IGNORE_INDEX))
    files = truth_files(result, truth, ERROR_COLORS, EFFECT_COLORS)
    download = bundle_link(f"{name}-truth", files)
    blind = (
        f"<p class='ktb-note'>There was no X: the X head saw {term('zero tokens')}.</p>"
        if result.x_is_missing
        else ""
    )
    return (
        f'{warnings_box(prediction.x.warnings)}<p class="ktb-words">{html.escape(truth.name)}: '
        f"{html.escape(truth.summary)}; {percent(scored)} of the image is labelled. Checkpoint "
        f"{html.escape(name)}.</p>{blind}"
        f'<div class="ktb-grid ktb-three">{figures}</div><p class="ktb-words">{" ".join(words)}</p>'
        f"{_table(result, truth, scores)}{NOTE}{download}"
    )


def _figure(
    kinds: np.ndarray, entries: tuple[tuple[Color, str, str], ...], alt: str, title: str, checkpoint: str
) -> str:
    colors = [color for color, _, _ in entries]
    shown = display_size(kinds, smooth=False)
    index = np.where(shown == IGNORE_INDEX, len(colors), shown).astype(np.uint8)
    figure = figure_tag(image_tag(index, alt, checkpoint, "ktb-view", [*colors, IGNORED]), title, "")
    return f"<div>{figure}{legend_html(entries, scored_shares(kinds, len(entries)))}</div>"


def _table(result: Result, truth: GroundTruth, scores: dict[str, Score]) -> str:
    prediction = result.prediction
    counts = np.bincount(truth.labels.ravel(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
    total = max(1, int(counts.sum()))
    present = np.flatnonzero(~np.all([np.isnan(found.iou) for found in scores.values()], axis=0))
    rows = ""
    for index in sorted(present, key=lambda i: (-counts[i], i)):
        cells = _cells([scores[branch].iou[index] for branch in BRANCHES])
        rows += (
            f'<tr><td><span class="ktb-of">{swatch(prediction.palette[index], str(index))}'
            f"{html.escape(prediction.classes[index])}</span>"
            f'</td><td class="num">{percent(counts[index] / total)}</td>{cells}</tr>'
        )
    means = _cells([scores[branch].mean_iou for branch in BRANCHES])
    right = _cells([scores[branch].pixel_accuracy for branch in BRANCHES])
    heads = "".join(f'<th class="num">{HEADS[branch]}</th>' for branch in BRANCHES)
    return f"""<div class="ktb-legend ktb-scores"><h4>{term("IoU")} per class, in %</h4>
<table><thead><tr><th>class</th><th class="num">true share</th>{heads}</tr></thead>
<tbody><tr class="ktb-total"><td>{term("mean IoU")}</td><td></td>{means}</tr>
<tr class="ktb-total"><td>{term("pixel accuracy")}</td><td></td>{right}</tr>{rows}</tbody></table></div>"""


def _cells(values: list[float]) -> str:
    best = max((value for value in values if value > 0), default=None)
    return "".join(
        f'<td class="num">{"<b>" if value == best else ""}'
        f"{'–' if np.isnan(value) else f'{100 * value:.1f}'}{'</b>' if value == best else ''}</td>"
        for value in values
    )
