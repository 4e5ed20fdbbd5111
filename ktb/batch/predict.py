"""Batch prediction with one checkpoint: label maps, masks, overlays and a journal of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ktb.batch.reading import noted, reading_of
from ktb.batch.runner import DEFAULTS, Made, Outcome, Running, Steps, run_batch
from ktb.datasets.pairing import FilePair
from ktb.inference.predictor import Predictor
from ktb.inference.preprocess import Prepared
from ktb.inputs import AUTO, RawX, XOptions, read_rgb, read_x
from ktb.inputs.sets import options_of
from ktb.modeling.model import KTBOutput
from ktb.outputs.files import result_files
from ktb.outputs.point_cloud import ply_bytes, point_cloud

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
"""The files of `ktb.outputs.files.result_files` to write, and the folder of each."""
CLOUDS = "clouds"
"""The folder of PLY files."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    """An RGB image that waits for the network; without its pair if X is not yet estimated."""

    photo: np.ndarray
    network_hw: tuple[int, int]
    pair: Prepared | None = None

    def weight(self) -> int:
        """Bytes."""
        return self.photo.nbytes + (0 if self.pair is None else self.pair.nbytes)


@dataclass(frozen=True, eq=False)
class _Computed:
    """The network's output for one pair."""

    photo: np.ndarray
    pair: Prepared
    output: KTBOutput
    seconds: float


def predict_pairs(
    predictor: Predictor,
    pairs: Sequence[FilePair],
    folder: Path,
    *,
    options: XOptions = AUTO,
    estimate: Callable[[np.ndarray], RawX] | None = None,
    branches: Branches = "fused",
    ply: bool = False,
    settings: Mapping[str, Any] | None = None,
    running: Running = DEFAULTS,
) -> Outcome:
    """Segment every pair and write labels/NAME.png, masks/NAME.png, overlays/NAME.png and results.jsonl.

    Args:
        pairs: from `ktb.datasets.pairing.match`; pairs without X run on the RGB image alone.
        options: options of X for all pairs.
        estimate: estimates X from the RGB image, such as `ktb.inputs.depth_estimation.DepthEstimator`.
        branches: "all" adds labels_rgb, labels_x, masks_rgb and masks_x.
        ply: add clouds/NAME.ply, as `ktb.outputs.point_cloud` makes it; a pair for which it cannot fails.
        settings: further settings that the results depend on, such as the checkpoint's file.
        running: execution options; errors as for `ktb.batch.runner.run_batch`.
    """
    kinds, inputs = KINDS[branches], predictor.model.config.inputs
    reading = reading_of(pairs, inputs, options) if estimate is None else None
    reading_options = predictor.x_options(options)
    if reading is not None and inputs.modality == "event":
        reading_options = reading.applied_to(reading_options)

    def read(pair: FilePair) -> _Waiting:
        image = read_rgb(pair.rgb)
        photo = image.pixels
        if estimate is not None:
            return _Waiting(photo, predictor.network_size(photo.shape[:2]))
        raw = read_x(pair.x, options=reading_options) if pair.x else None
        said = options if raw is None else options_of(raw, reading, inputs, options)
        prepared = predictor.prepare(image, raw, options=said)
        return _Waiting(photo, prepared.network_hw, prepared)

    def compute(found: Sequence[_Waiting]) -> list[_Computed]:
        ready = [w.pair or predictor.prepare(w.photo, estimate(w.photo), options=options) for w in found]
        started = time.perf_counter()
        outputs = predictor.run(ready)
        seconds = (time.perf_counter() - started) / len(ready)
        return [_Computed(w.photo, p, o, seconds) for w, p, o in zip(found, ready, outputs, strict=True)]

    def pack(pair: FilePair, computed: _Computed) -> Made:
        prediction = predictor.finish(computed.pair, computed.output, computed.seconds)
        made = result_files(computed.photo, prediction, kinds)
        files = {kinds[file]: (f"{kinds[file]}/{pair.name}.png", png) for file, png in made.items()}
        if ply:
            cloud = point_cloud(computed.photo, prediction)
            files[CLOUDS] = (f"{CLOUDS}/{pair.name}.ply", ply_bytes(cloud, prediction))
        return Made(files, {"prediction": prediction.summary()})

    everything = {
        "model": predictor.model.config.name,
        "short_side": predictor.short_side,
        "precision": predictor.runtime.precision,
        "options": options.to_dict(),
        "estimated_by": getattr(estimate, "name", None),
        "branches": branches,
        **({"ply": True} if ply else {}),  # without it, results of earlier versions stay complete
        **(settings or {}),
    }
    steps = Steps(read, compute, pack, kind=lambda found: found.network_hw, weigh=_Waiting.weight)
    return run_batch(pairs, folder, steps, everything, noted(running, reading))
