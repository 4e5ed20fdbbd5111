"""Endpoints of the HTTP API that hold a run against another one."""

from __future__ import annotations

from collections.abc import Mapping

from app.answers import compared
from app.api_calls import Calls, as_text, options_of
from ktb.what_if import Change
from ktb.what_if import run as run_changed

CHANGES = ("drop", "shift_xy", "darken", "blur_sigma")


class ChangeApi:
    """Endpoints that run a pair twice."""

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
    ):
        """The pair as it is and changed.

        change: any of {"drop": "rgb" or "x", "shift_xy": [right, down] in pixels, "darken": 0..1 of the
        light, "blur_sigma": pixels}. Returns an object: `before` and `after` (class tables and warnings as
        /segment, the masks as base64 indexed PNG under `labels`), `difference` (shares of the pixels that
        change class, the largest changes, classes, mean confidence, agreement per branch), `words`.
        """
        with self.calls.run(rgb, x, model, options, x_source) as result:
            given = change or {}
            if not isinstance(given, Mapping) or set(given) - set(CHANGES):
                raise ValueError(f"change: give an object with any of {', '.join(CHANGES)}.")
            try:
                wanted = Change(**given)
            except (TypeError, OverflowError) as error:
                raise ValueError(
                    "change: drop is a text, shift_xy two whole numbers, darken and blur_sigma are numbers."
                ) from error
            predictor = self.calls.service.predictor(model)
            changed = run_changed(predictor, wanted, result.rgb, result.prediction.x)
            return {"words": list(wanted.words), **compared(result.prediction, changed)}

    @as_text
    def compare(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        other: str,
        options: dict | None,
        x_source: str,
    ):
        """Two checkpoints on one pair; answers as /what_if: `before` is model's, `after` other's."""
        with self.calls.run(rgb, x, model, options, x_source) as result:
            second = self.calls.service.segment(rgb, x, other, options_of(options), x_source)
            return compared(result.prediction, second.prediction)
