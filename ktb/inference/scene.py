"""Run a chosen model, and those of other scenes where the first one is at the edge of its domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ktb.checkpoints.choice import ModelChoice
from ktb.inference.prediction import Prediction

DOUBT = 0.75
"""Relative distance to the training images from which on models of other scenes are tried."""


def predict_chosen(choice: ModelChoice, run: Callable[[str], Prediction]) -> tuple[str, Prediction]:
    """The name of the model whose prediction counts, and the prediction with its reason.

    Without X, the models of other scenes run too if the RGB image is at the edge of the chosen model's domain
    or outside. The one to whose training the image is closest counts, if it is in its domain.

    Args:
        choice: the chosen model, and others for further scenes.
        run: runs the model of a name on the pair.
    """
    first = run(choice.name)
    if first.x.origin != "missing":
        return choice.name, replace(first, choice=choice.why)
    name, best = choice.name, first
    if _distance(first) > DOUBT:
        for other in choice.scenes:
            found = run(other)
            if found.in_domain and _distance(found) < _distance(best):
                name, best = other, found
    if best is first:
        said = ", and nothing speaks for another scene" if first.in_domain else ""
        return name, replace(first, choice=f"{choice.why}{said}")
    assert first.domain is not None
    assert best.domain is not None
    closer, than = best.domain.trained_on, first.domain.trained_on
    return name, replace(best, choice=f"{choice.why}, and the RGB image is closer to {closer} than to {than}")


def _distance(prediction: Prediction) -> float:
    """Relative distance of the RGB image to the training images; 0 if it is unknown."""
    return 0.0 if prediction.domain is None else prediction.domain.distances.get("rgb", 0.0)
