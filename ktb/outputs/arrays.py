"""A prediction's arrays as one .npz file that loads without pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ktb.analysis import Inspection, LevelMaps
from ktb.config import BRANCHES
from ktb.inference.prediction import Prediction

LEVEL_ARRAYS: Mapping[str, str] = MappingProxyType(
    {
        "balance": "balance",
        "head_balance": "head_balance",
        "entropy": "entropy",
        "sparse_share": "sparse_share",
        "residual_share": "residual_share",
        "importance": "importance",
        "importance_map": "importance_map",
        "density_map": "density_map",
        "sampling_points": "points",
        "reference_points": "references",
        "weight_x": "weight_x",
        "prompt_rgb": "prompt_rgb",
        "prompt_x": "prompt_x",
    }
)
"""Name in the file → attribute of `LevelMaps`."""
OF_X = frozenset({"balance", "head_balance", "weight_x", "prompt_x"})
"""Arrays that describe X, which a run without X does not have."""
META = "meta"
"""Name of the entry with the summary as a JSON text."""


def prediction_arrays(
    prediction: Prediction, half: bool = True, inspection: Inspection | None = None
) -> dict[str, np.ndarray]:
    """Name → array for all results of a run.

    Args:
        half: store logits as float16 (a third of the file's size) instead of float32.
        inspection: an inspection of this prediction, whose cached maps are reused.

    Returns:
        BRANCH is fused, rgb, x; L the level; K classes; (h, w) a level's grid; n points per stream, G groups,
        M heads.

        - `labels_BRANCH` (H, W) uint8, `confidence_BRANCH` (H, W) float32 0..1;
        - `logits_BRANCH` (K, h, w) from the head;
        - with a trace: `balance_L`, `sparse_share_L`, `importance_map_L`, `density_map_L` (h, w),
          `head_balance_L` and `entropy_L` (M, h, w), `importance_L` (G, 2n), `sampling_points_L` and
          `reference_points_L` (G, 2n, 2) as (y, x) in [-1, 1], `weight_x_L` (2n,): float32, as
          `ktb.analysis.LevelMaps` describes them; the first n points are rgb-led;
        - with a residual in the fusion: `residual_share_L` (h, w) float32;
        - with prompts: `prompt_rgb_L`, `prompt_x_L` (h, w) float32;
        - without X none of balance, head_balance, weight_x and prompt_x, which would describe it;
        - `meta`: a JSON text: `Prediction.summary` with the names of all classes.
    """
    arrays: dict[str, np.ndarray] = {}
    for branch in BRANCHES:
        arrays[f"labels_{branch}"] = prediction.labels[branch]
        arrays[f"confidence_{branch}"] = prediction.confidences[branch]
        logits = prediction.logits[branch][0].numpy()
        arrays[f"logits_{branch}"] = logits.astype(np.float16 if half else np.float32)
    if prediction.trace:
        inspection = inspection or Inspection(prediction)
        for level, maps in enumerate(inspection.all_maps()):
            found = level_arrays(maps)
            arrays |= {f"{name}_{level}": array for name, array in found.items()}
    meta: dict[str, Any] = {
        **prediction.summary(),
        "classes": list(prediction.classes),
        "palette": [list(color) for color in prediction.palette],
    }
    return arrays | {META: np.array(json.dumps(meta))}


def arrays_npz(prediction: Prediction, half: bool = True, inspection: Inspection | None = None) -> bytes:
    """`prediction_arrays` as a compressed .npz; `numpy.load(..., allow_pickle=False)` reads it.

    Equal predictions give equal bytes.
    """
    return arrays_file(prediction_arrays(prediction, half, inspection))


def level_arrays(maps: LevelMaps) -> dict[str, np.ndarray]:
    """Available arrays of a level by the names in LEVEL_ARRAYS; those in OF_X only with X."""
    names = LEVEL_ARRAYS.keys() - (OF_X if maps.x_is_missing else frozenset())
    found = {name: getattr(maps, source) for name, source in LEVEL_ARRAYS.items() if name in names}
    return {name: array for name, array in found.items() if array is not None}


def arrays_file(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as a compressed .npz; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
