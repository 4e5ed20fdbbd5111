"""Layers of a viewer: masks and maps that are drawn over both images of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ktb.analysis.agreement import disagreement_map
from ktb.analysis.comparison import VERDICTS, Verdict, sensor_need
from ktb.analysis.types import Attribution
from ktb.inference.prediction import Drop, Prediction
from ktb.utils.text import percent
from ktb.visualize import Color, color_table

NOT_DRAWN = 255
"""Value of a pixel at which a layer draws nothing."""


@dataclass(frozen=True)
class Entry:
    """One value of a layer of categories: its colour, name and meaning."""

    color: Color
    name: str
    meaning: str


HEADS_DIFFER = (
    Entry((236, 238, 241), "All agree", "the three heads say the same class"),
    Entry(
        (47, 116, 192), "Only RGB agrees", "the RGB head says what the fused head says, the X head does not"
    ),
    Entry((217, 112, 31), "Only X agrees", "the X head says what the fused head says, the RGB head does not"),
    Entry((138, 43, 152), "Fused alone", "the RGB and the X head say the same, the fused head another class"),
    Entry((32, 32, 38), "All differ", "three different classes"),
)
"""Of each value of `ktb.analysis.agreement.disagreement_map`."""
RESTS_ON: Mapping[Verdict, Entry] = {
    "either": Entry((226, 226, 222), "Either sensor", "either sensor alone gives this class"),
    "rgb": Entry((47, 116, 192), "RGB", "without X the class stays, without RGB it does not"),
    "x": Entry((217, 112, 31), "X", "without RGB the class stays, without X it does not"),
    "both": Entry((64, 40, 82), "Both", "the class changes as soon as either sensor is off"),
}
"""Of each verdict of `ktb.analysis.comparison.sensor_need`."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    Attributes:
        name: unique in a viewer; a layer replaces the earlier one of its name.
        title: in the list of overlays.
        group: title of the group in that list.
        kind: "labels" (classes), "categories" (values of `entries`), or "signed" (a map per sensor, coloured
            around 0).
        values: labels and categories: (H, W) integers, NOT_DRAWN draws nothing. signed: (h, w) float32 per
            sensor, "rgb" and "x".
        note: a sentence below the images.
        entries: of a layer of categories.
        classes, palette: of labels of another checkpoint; empty for those of the run.
    """

    name: str
    title: str
    group: str
    kind: Literal["labels", "categories", "signed"]
    values: np.ndarray | Mapping[str, np.ndarray]
    note: str = ""
    entries: Sequence[Entry] = ()
    classes: Sequence[str] = ()
    palette: Sequence[Color] = ()


def heads_layer(prediction: Prediction) -> Layer:
    """Where the three heads agree and where they differ."""
    kinds = disagreement_map(prediction.labels)
    return Layer("heads_differ", "Where the heads differ", "Masks", "categories", kinds, entries=HEADS_DIFFER)


def rests_on_layer(prediction: Prediction, ablated: Mapping[Drop, Prediction]) -> Layer:
    """What each pixel's class rests on: the result of the ablation of each sensor."""
    found = sensor_need(prediction, ablated["x"], ablated["rgb"])
    note = (
        f"Measured: without X {percent(found.stays_without_x)} of the fused mask stays, without RGB "
        f"{percent(found.stays_without_rgb)}."
    )
    entries = [RESTS_ON[verdict] for verdict in VERDICTS]
    title = "What each pixel rests on"
    return Layer("rests_on", title, "Measured", "categories", found.verdict, note, entries)


def attribution_layer(found: Attribution) -> Layer:
    """What a score reacts to in both images."""
    values = {"rgb": found.rgb} if found.x_is_missing else {"rgb": found.rgb, "x": found.x}
    note = f"Input × gradient of the {found.score}: what speaks for it, and what against it."
    return Layer("attribution", "Attribution of the chosen pixel", "Measured", "signed", values, note)


def region_layer(without: Prediction, sensor: Drop, rectangle: tuple[int, int, int, int]) -> Layer:
    """The fused mask of a run with a sensor ablated inside a rectangle.

    Args:
        without: that run.
        rectangle: (left, top, right, bottom) in pixels, without its right column and bottom row.
    """
    name = "X" if sensor == "x" else "RGB"
    left, top, right, bottom = rectangle
    note = f"{name} is ablated in x {left} to {right - 1}, y {top} to {bottom - 1}."
    title = f"Without {name} in the region"
    return Layer("region", title, "Measured", "labels", without.labels["fused"], note)


def layer_arrays(layers: Iterable[Layer], shown: tuple[int, int]) -> dict[str, np.ndarray]:
    """The arrays of layers in a bundle, at the size (height, width) `shown`."""
    arrays: dict[str, np.ndarray] = {}
    for layer in layers:
        if isinstance(layer.values, Mapping):
            named = {f"layer.{layer.name}.{sensor}": found for sensor, found in layer.values.items()}
            arrays |= {name: found.astype(np.float32) for name, found in named.items()}
            arrays["colors.signed"] = color_table("signed")
        else:
            arrays[f"layer.{layer.name}"] = resized_labels(layer.values.astype(np.uint8), shown)
    return arrays


def layer_header(layer: Layer) -> dict[str, Any]:
    """The entry of a layer in a bundle's header."""
    described: dict[str, Any] = {
        key: getattr(layer, key) for key in ("name", "title", "group", "kind", "note")
    }
    described["entries"] = [
        {"color": list(entry.color), "name": entry.name, "meaning": entry.meaning} for entry in layer.entries
    ]
    if isinstance(layer.values, Mapping):
        described["sensors"] = list(layer.values)
    if layer.classes:
        described |= {"classes": list(layer.classes), "palette": [list(color) for color in layer.palette]}
    return described


def resized_labels(labels: np.ndarray, shown: tuple[int, int]) -> np.ndarray:
    """An array (H, W) by nearest neighbours at the size (height, width) `shown`."""
    if labels.shape[:2] == tuple(shown):
        return labels
    import cv2

    return cv2.resize(labels, shown[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
