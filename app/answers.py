"""What the HTTP API answers: predictions and arrays as plain values for JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ktb.differences import difference
from ktb.model import BRANCHES
from ktb.outputs import png_bytes
from ktb.prediction import Prediction


def compared(before: Prediction, after: Prediction) -> dict[str, Any]:
    """Both predictions and how they differ."""
    found = difference(before, after)
    return {
        "before": told(before),
        "after": told(after),
        "difference": {
            "changed_share": plain(found.changed_share),
            "changes": [asdict(change) for change in found.changes],
            "classes": [asdict(pair) for pair in found.classes],
            "confidence_change": plain(found.confidence_change),
            "agreement": plain(dict(found.agreement)),
        },
    }


def told(prediction: Prediction) -> dict[str, Any]:
    """The class tables, and the masks as base64 indexed PNG."""
    labels = {
        branch: as_base64(
            png_bytes(prediction.labels[branch], prediction.model, prediction.palette, prediction.x.origin)
        )
        for branch in BRANCHES
    }
    return prediction.summary() | {"labels": labels}


def plain(value: Any) -> Any:
    """Arrays as lists, numbers as JSON has them; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def as_base64(data: bytes) -> str:
    """Bytes as JSON can hold them."""
    return base64.b64encode(data).decode()


def check_given(*numbers: int | None) -> None:
    """ValueError if a number was left out."""
    if None in numbers:
        raise ValueError("give row, column and level as whole numbers.")
