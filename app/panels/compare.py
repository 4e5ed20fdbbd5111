"""The comparison of two checkpoints on one pair: words, a table per class, and layers."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from app.html.templates import render
from app.html.zip_links import NOT_COMPARABLE, OTHER, bundle_link, difference_files
from app.panels.x_input import warnings_box
from app.results import Result
from ktb.analysis.comparison import Difference, shared_names
from ktb.inference.prediction import Prediction
from ktb.outputs.layers import NOT_DRAWN, Entry, Layer
from ktb.utils.text import percent

DIFFERENCE = (
    Entry(OTHER, "Another class", "the two checkpoints name different classes"),
    Entry(NOT_COMPARABLE, "Not comparable", "one checkpoint names a class that the other lacks"),
)
"""Entries of the layer of the difference; equal classes are not drawn."""


def compare_panel(first: Result, second: Result, found: Difference | None) -> Markup:
    """How far both fused masks agree, a table per class, and what each network got as X.

    Args:
        found: the difference; None if no class name is common.
    """
    a, b = first.prediction, second.prediction
    runs = [
        {
            "letter": letter,
            "count": len(p.classes),
            "summary": p.x.summary,
            "encoding": p.x.encoding,
            "seconds": p.seconds,
            "device": p.device,
        }
        for letter, p in (("A", a), ("B", b))
    ]
    said = warnings_box([f"{letter}, {p.model}: {text}" for letter, p in (("A", a), ("B", b))
                         for text in p.warnings])  # fmt: skip
    return render(
        "compare",
        a=a.model,
        b=b.model,
        warnings=said,
        words=describe(a, b, found),
        classes=None if found is None else found.classes,
        runs=runs,
        download=bundle_link(f"{a.model}-and-{b.model}", difference_files(a, b, found)),
    )


def compare_layers(second: Prediction, found: Difference | None) -> list[Layer]:
    """B's fused mask in its own classes, and where it differs from A's."""
    group = f"B: {second.model}"
    layers = [
        Layer(
            "other",
            f"Fused mask of {second.model}",
            group,
            "labels",
            second.labels["fused"],
            classes=second.classes,
            palette=second.palette,
        )
    ]
    if found is not None:
        kinds = np.select([~found.comparable, found.changed], [1, 0], NOT_DRAWN).astype(np.uint8)
        layers.append(
            Layer("other_differs", "Where A and B differ", group, "categories", kinds, entries=DIFFERENCE)
        )
    return layers


def describe(a: Prediction, b: Prediction, found: Difference | None) -> str:
    """In words: how far the fused masks agree, and what cannot be compared."""
    if found is None:
        return (
            f"{a.model} and {b.model} have no class name in common ({len(a.classes)} and {len(b.classes)} "
            "classes): the masks can be looked at, but there is nothing to compare pixel by pixel."
        )
    limits = ""
    if a.classes != b.classes:
        lacking = percent(1 - float(found.comparable.mean()))
        limits = (
            f" Classes are compared by name: {len(shared_names(a, b))} are in both sets, "
            f"{lacking} of the image has a class that the other one lacks."
        )
    if not found.comparable.any():
        return f"No pixel can be compared.{limits}"
    said = f"The fused masks agree on {percent(1 - found.changed_share)} of the pixels."
    if found.changes:
        first = found.changes[0]
        said += (
            f" The largest difference: {percent(first.share)} of the image is {first.before} to A "
            f"and {first.after} to B."
        )
    return said + limits
