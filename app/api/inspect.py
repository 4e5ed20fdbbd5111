"""Endpoints of the HTTP API that inspect a run: a pixel, the maps of a level, attribution."""

from __future__ import annotations

from dataclasses import asdict

from app.api.calls import Calls, as_text
from app.api.delivery import Delivery
from app.api.serialize import check_given, plain
from ktb.analysis import Inspection
from ktb.analysis.describe import describe_level
from ktb.analysis.targets import Target, TargetKind, target_at
from ktb.inference.prediction import Prediction
from ktb.outputs.arrays import arrays_file, level_arrays


class InspectApi:
    """Endpoints on the trace of a pair's run."""

    def __init__(self, calls: Calls):
        self.calls = calls

    @as_text
    def inspect(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        row: int,
        column: int,
        level: int,
        head: int,
        options: dict | None,
        x_source: str,
    ):
        """The attention of a pixel (row, column) of the RGB image at a level (0..3), for a head (-1: all).

        Returns an object: points and references [[y, x] in -1..1, align-corners], attention, weight_x, x_led
        (per point), balance, entropy, effective_points, sparse_share, residual_share (null without a
        residual); `shares`, per level what of the fused feature came from rgb, x, context and residual;
        `probabilities`, per branch class → 0..1. Without X, balance and weight_x are null, and all that is
        attended counts as rgb.
        """
        with self.calls.run(rgb, x, model, options, x_source, "none") as (result, _):
            prediction = result.prediction
            check_given(row, column, level)
            found = prediction.probabilities_at(row, column)
            inspection = result.inspection or Inspection(prediction)  # raises that there is no trace
            at = inspection.at((row, column))
            view = inspection.pixel(level, at, None if head is None or head < 0 else head)
            return {
                "model": prediction.model,
                "warnings": list(prediction.warnings),
                **plain(asdict(view) | dict.fromkeys(("balance", "weight_x") if view.x_is_missing else ())),
                "shares": [asdict(shares) for shares in inspection.shares(at)],
                "probabilities": {
                    branch: dict(zip(prediction.classes, plain(values))) for branch, values in found.items()
                },
            }

    @as_text
    def maps(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        level: int,
        options: dict | None,
        x_source: str,
        files: Delivery = "url",
    ):
        """All maps of a level (0..3).

        Returns an object: `npz`, an .npz file of balance, head_balance, entropy, sparse_share, importance,
        importance_map, density_map, sampling_points, reference_points, weight_x, residual_share where the
        fusion has a residual, and prompt_rgb and prompt_x where there are prompts (shapes:
        `ktb.outputs.arrays.prediction_arrays`; what describes X is left out without it); `words`, the same in
        a sentence; `is_uniform`, whether the attention carries no information; `stride` in pixels of the
        network's input.
        """
        with self.calls.run(rgb, x, model, options, x_source, files) as (result, delivered):
            check_given(level)
            inspection = result.inspection or Inspection(result.prediction)
            maps = inspection.maps(level)
            return {
                "model": result.prediction.model,
                "warnings": list(result.prediction.warnings),
                "stride": maps.stride,
                "is_uniform": maps.is_uniform,
                "words": describe_level(maps, "X"),
                "npz": delivered.one(f"maps_{level}.npz", lambda: arrays_file(level_arrays(maps))),
            }

    @as_text
    def attribute(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        row: int,
        column: int,
        class_name: str,
        options: dict | None,
        x_source: str,
        target: TargetKind,
    ):
        """Attribution of a fused score: input × gradient after patch embedding.

        target: "pixel" (row, column) of the RGB image; "region", the connected part of the fused mask's
        class around it; or "class", all pixels where a class is predicted. class_name: the class of the
        score; "" for the predicted class at the pixel. With row and column -1, the target is the class
        class_name. The score of a region or a class is the mean over it. Returns an object: score, value, rgb
        and x (maps as lists, at the token grid), total_rgb, total_x, share_x, and without_x, without_rgb: how
        the score changes when that sensor is ablated. Without X all that compares it is null.
        """
        with self.calls.run(rgb, x, model, options, x_source, "none") as (result, _):
            prediction = result.prediction
            check_given(row, column)
            chosen = _target(prediction, (row, column), class_name, target)
            found = self.calls.service.predictor(result.offered_as).attribute(
                result.rgb, prediction.x, chosen
            )
            of_x = ("x", "total_x", "share_x", "without_x", "without_rgb") if found.x_is_missing else ()
            return {"model": prediction.model, **plain(asdict(found) | dict.fromkeys(of_x))}


def _target(prediction: Prediction, pixel: tuple[int, int], class_name: str, kind: TargetKind) -> Target:
    index = None
    if class_name:
        if class_name not in prediction.classes:
            allowed = ", ".join(prediction.classes)
            raise ValueError(f"there is no class {class_name!r}; choose one of {allowed}.")
        index = prediction.classes.index(class_name)
    if max(pixel) >= 0:
        return target_at(prediction.labels["fused"], pixel, kind, index)
    if kind == "region":
        raise ValueError("a target of kind 'region' needs a pixel; give row and column.")
    return Target("class", class_index=index)
