"""Many pairs through one checkpoint: a folder of label maps, masks and overlays, and a list of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ktb.batch import DEFAULTS, Made, Outcome, Running, Steps, run_batch
from ktb.file_pairs import FilePair
from ktb.modalities import AUTO, RawX, XOptions, XReading, read_image_rgb, read_x
from ktb.outputs import result_files
from ktb.prediction import Prediction
from ktb.predictor import Predictor

Branches = Literal["fused", "all"]
_FUSED = {"labels_fused.png": "labels", "mask_fused.png": "masks", "overlay.png": "overlays"}
KINDS: Mapping[Branches, Mapping[str, str]] = MappingProxyType(
    {
        "fused": _FUSED,
        "all": {
            **_FUSED,
            "labels_rgb.png": "labels_rgb",
            "labels_x.png": "labels_x",
            "mask_rgb.png": "masks_rgb",
            "mask_x.png": "masks_x",
        },
    }
)
"""Which of the files of `ktb.outputs.result_files` are kept, and the folder of each."""


def predict_pairs(
    predictor: Predictor,
    pairs: Sequence[FilePair],
    folder: Path,
    *,
    options: XOptions = AUTO,
    estimate: Callable[[np.ndarray], RawX] | None = None,
    branches: Branches = "fused",
    settings: Mapping[str, Any] | None = None,
    running: Running = DEFAULTS,
) -> Outcome:
    """Segment every pair and write labels/NAME.png, masks/NAME.png, overlays/NAME.png and results.jsonl.

    Args:
        pairs: from `ktb.file_pairs.match`; without X they run on the photograph alone.
        options: what is known about X, of all pairs.
        estimate: such as `ktb.modalities.estimate.DepthEstimator`, makes X from the photograph.
        branches: "all" adds labels_rgb, labels_x, masks_rgb and masks_x.
        settings: more that the results depend on, such as the checkpoint's file.
        running: how; errors as `ktb.batch.run_batch`.
    """
    kinds = KINDS[branches]

    def read(pair: FilePair) -> tuple[np.ndarray, XReading | None]:
        photo = read_image_rgb(pair.rgb)
        if not pair.x:
            return photo, None
        return photo, predictor.read(read_x(pair.x, options=options), photo.shape[:2], options)

    def compute(_: FilePair, found: tuple[np.ndarray, XReading | None]) -> tuple[np.ndarray, Prediction]:
        photo, x = found
        x = estimate(photo) if estimate else x
        return photo, predictor(photo, x, options=options, trace=False)

    def pack(pair: FilePair, found: tuple[np.ndarray, Prediction]) -> Made:
        made = result_files(*found, kinds)
        files = {kinds[file]: (f"{kinds[file]}/{pair.name}.png", png) for file, png in made.items()}
        return Made(files, {"prediction": found[1].summary()})

    everything = {
        "model": predictor.model.config.name,
        "short_side": predictor.short_side,
        "options": options.to_dict(),
        "estimated_by": getattr(estimate, "name", None),
        "branches": branches,
        **(settings or {}),
    }
    return run_batch(pairs, folder, Steps(read, compute, pack), everything, running)
