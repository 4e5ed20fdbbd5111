"""What a tab shows as one ZIP: lossless maps and masks at the RGB image's size, and the figures as JSON."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from app.api.serialize import (
    as_base64,
    difference_facts,
    fusion_effects,
    label_files,
    truth_facts,
)
from app.html.templates import render
from app.results import Result
from ktb.analysis.comparison import Difference
from ktb.analysis.ground_truth import GroundTruth, error_map
from ktb.inference.prediction import Prediction
from ktb.labels import IGNORE_INDEX
from ktb.outputs.files import png_bytes
from ktb.visualize import Color

SAME, OTHER, NOT_COMPARABLE = (228, 231, 236), (125, 38, 140), (232, 190, 60)
IGNORED: Color = (150, 150, 158)


def difference_files(
    before: Prediction, after: Prediction, found: Difference | None, words: Sequence[str] = ()
) -> dict[str, bytes]:
    """Two runs on one pair.

    Args:
        found: how they differ, None if nothing can be compared.
        words: what was changed in between.

    Returns:
        Name → contents: `before_labels_BRANCH.png` and `after_labels_BRANCH.png` (indexed, class numbers),
        `difference.png` (0 same class, 1 another, 2 not comparable) and `difference.json`.
    """
    files = _labels("before", before) | _labels("after", after)
    facts: dict[str, Any] = {"changed": list(words), "before": before.summary(), "after": after.summary()}
    if found is not None:
        kinds = np.where(found.comparable, found.changed, 2).astype(np.uint8)
        names = f"{before.model}, {after.model}" if before.model != after.model else before.model
        files["difference.png"] = png_bytes(kinds, names, [SAME, OTHER, NOT_COMPARABLE])
        facts["difference"] = difference_facts(found)
    return files | {"difference.json": _json(facts)}


def truth_files(
    result: Result, truth: GroundTruth, errors: Sequence[Color], effects: Sequence[Color]
) -> dict[str, bytes]:
    """A run against its label picture.

    Args:
        errors, effects: colours of the values of `error_map` and `fusion_effect`.

    Returns:
        Name → contents: `truth.png` and `labels_BRANCH.png` (class numbers, 255 not labelled), `errors.png`,
        `fusion_against_rgb.png`, `fusion_against_x.png` (255 not labelled) and `scores.json`.
    """
    prediction = result.prediction
    model, palette = prediction.model, prediction.palette
    files = {f"labels_{branch}.png": data for branch, data in label_files(prediction).items()}
    files["truth.png"] = png_bytes(truth.labels, model, _with_ignored(palette))
    wrong = error_map(prediction.labels["fused"], truth.labels)
    files["errors.png"] = png_bytes(wrong, model, _with_ignored(errors))
    for branch, effect in fusion_effects(prediction, truth).items():
        files[f"fusion_against_{branch}.png"] = png_bytes(effect, model, _with_ignored(effects))
    return files | {"scores.json": _json({**truth_facts(prediction, truth), "run": prediction.summary()})}


def file_name(text: str) -> str:
    """A checkpoint's name as part of a file's: letters, digits, dots and dashes only."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._")[:80] or "ktb"


def bundle_link(name: str, files: Mapping[str, bytes]) -> Markup:
    """A link that saves files as NAME.zip; it holds them, so that nothing lies on the server."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # PNGs do not compress further
        for member, data in files.items():
            archive.writestr(member, data)
    data = Markup(as_base64(buffer.getvalue()))  # nothing to escape in it
    return render("zip_link", name=file_name(name), data=data)


def _labels(prefix: str, prediction: Prediction) -> dict[str, bytes]:
    return {f"{prefix}_labels_{branch}.png": data for branch, data in label_files(prediction).items()}


def _with_ignored(colors: Sequence[Color]) -> list[Color]:
    return [*colors, *[IGNORED] * (IGNORE_INDEX + 1 - len(colors))]


def _json(facts: Mapping[str, Any]) -> bytes:
    return (json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
