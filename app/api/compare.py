"""Endpoints of the HTTP API that compare runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.api.calls import Calls, as_text, options_of
from app.api.delivery import Delivery
from app.api.serialize import compared, region_facts, sensor_need_facts, serialized, truth_facts
from app.html.zip_links import truth_files
from app.panels.ground_truth import EFFECT_COLORS, ERROR_COLORS
from ktb.analysis.comparison import VERDICTS, region_effect, sensor_need
from ktb.analysis.counterfactual import Perturbation
from ktb.analysis.counterfactual import predict_perturbed as run_changed
from ktb.analysis.ground_truth import read_truth, usual_counting
from ktb.inference.region import region_mask
from ktb.outputs.files import png_bytes
from ktb.outputs.layers import RESTS_ON

CHANGES = ("drop", "region", "shift_xy", "darken", "blur_sigma", "missing", "holes", "noise", "dead_sector")


class ChangeApi:
    """Endpoints that compare a run with another run or with a label image."""

    def __init__(self, calls: Calls):
        self.calls = calls

    @as_text
    def what_if(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        change: dict | None,
        options: dict | None,
        x_source: str,
        other_x: list[str] | None = None,
        files: Delivery = "url",
    ):
        """Run a pair with and without a change.

        change: any of {"drop": "rgb" or "x", "region": where to drop it, [left, top, right, bottom] in pixels
        or a polygon [[x, y], …], "shift_xy": [right, down] in pixels, "darken": fraction 0..1, "blur_sigma":
        pixels, and of X "missing", "holes", "noise", "dead_sector": fractions 0..1}. other_x: files of
        another X that replaces X, read with the same options.
        Returns an object: `before` and `after` (class tables and warnings as /segment, the masks as
        indexed PNG under `labels`), `difference` (shares of the pixels that change class, the largest
        changes, classes, mean confidence, agreement per branch), `words`, and with a region `region`: the
        shares of the pixels inside and outside that change, their largest changes, and a sentence.
        """
        with self.calls.run(rgb, x, model, options, x_source, files, other_x) as (result, delivered):
            wanted = _change(change)
            if other_x and wanted.lost != "x":
                view = self.calls.service.read_x(other_x, rgb, result.offered_as, options_of(options))
                wanted = replace(wanted, swap=view.reading)
            predictor = self.calls.service.predictor(result.offered_as)
            changed = run_changed(predictor, wanted, result.rgb, result.prediction.x, result.prediction)
            answer = {"words": list(wanted.words), **compared(result.prediction, changed, delivered)}
            if wanted.region is not None and wanted.drop:
                region = region_mask(wanted.region, result.rgb.shape[:2])
                found = region_effect(result.prediction, changed, region, wanted.drop)
                answer["region"] = region_facts(found)
            return answer

    @as_text
    def compare(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        other: str,
        options: dict | None,
        x_source: str,
        files: Delivery = "url",
    ):
        """Run two checkpoints on one pair; returns as /what_if, with `after` from other."""
        with self.calls.run(rgb, x, model, options, x_source, files) as (result, delivered):
            second = self.calls.service.segment(rgb, x, other, options_of(options), x_source)
            return compared(result.prediction, second.prediction, delivered)

    @as_text
    def sensors(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        options: dict | None,
        x_source: str,
        files: Delivery = "url",
    ):
        """Ablate each sensor, and report which one the fused class of each pixel depends on.

        Returns an object: `both`, `without_x` and `without_rgb` as /what_if's `before`; `shares` of the
        pixels: "either" sensor is enough, it needs "rgb", it needs "x", it needs "both"; `stays_without_x`
        and `stays_without_rgb`, shares that keep their class; `deciding`, an indexed PNG of an index
        into these four.
        """
        with self.calls.run(rgb, x, model, options, x_source, files) as (result, delivered):
            predictor, full = self.calls.service.predictor(result.offered_as), result.prediction
            without_x, without_rgb = (
                run_changed(predictor, Perturbation(drop=sensor), result.rgb, full.x)
                for sensor in ("x", "rgb")
            )
            found = sensor_need(full, without_x, without_rgb)
            colors = [RESTS_ON[verdict].color for verdict in VERDICTS]
            return {
                "both": serialized(full, delivered, "both"),
                "without_x": serialized(without_x, delivered, "without_x"),
                "without_rgb": serialized(without_rgb, delivered, "without_rgb"),
                **sensor_need_facts(found),
                "deciding": delivered.one(
                    "deciding.png", lambda: png_bytes(found.verdict, full.model, colors)
                ),
            }

    @as_text
    def truth(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        label_picture: str | None,
        numbering: str,
        options: dict | None,
        x_source: str,
        files: Delivery = "url",
    ):
        """Score the heads against the true classes of the RGB image.

        label_picture: a lossless image of class indices, or in the colours of the checkpoint's palette; 255
        is not labelled. numbering: "stored", "from_one" (value k is class k - 1, 0 is not labelled), or
        "auto" (as the label files of the checkpoint's dataset; the other one if a value does not allow it).
        Returns an object: `scores` per branch (mean_iou, pixel_accuracy, iou per class; null where neither
        has it), `countings` (mean_iou and pixel_accuracy of the fused head by each counting that the values
        allow, the used one first), `better_counting` (the other one if it agrees much better, else null),
        `fusion` against the rgb and the x head (shares both_right, helped, hurt, both_wrong),
        `labelled_share`, and `files`: indexed PNG of the truth, the masks, the fused head's errors
        and where fusion helped or hurt.
        """
        with self.calls.run(rgb, x, model, options, x_source, files, label_picture) as (result, delivered):
            if not label_picture:
                raise ValueError("the label image is missing. Upload the true classes as a PNG.")
            prediction = result.prediction
            named = self.calls.service.opened(label_picture)
            size, read = result.rgb.shape[:2], self.calls.service.sandbox.read_label_picture
            usual = usual_counting(prediction.classes)
            truth = read_truth(named, size, prediction.palette, numbering, read=read, usual=usual)

            def pictures() -> dict[str, bytes]:
                made = truth_files(result, truth, ERROR_COLORS, EFFECT_COLORS)
                return {name: data for name, data in made.items() if name.endswith(".png")}

            return truth_facts(prediction, truth) | {"files": delivered.all(pictures)}


def _change(given: dict | None) -> Perturbation:
    """The caller's change; ValueError for an invalid one."""
    given = {} if given is None else given
    if not isinstance(given, Mapping) or set(given) - set(CHANGES):
        raise ValueError(f"change: give an object with any of {', '.join(CHANGES)}.")
    try:
        return Perturbation(**given)
    except (TypeError, OverflowError) as error:
        raise ValueError(
            "change: drop must be a text, region a list, shift_xy two integers, the others numbers."
        ) from error
