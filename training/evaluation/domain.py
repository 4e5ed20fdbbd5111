"""Fit of a domain check: statistics of pooled backbone features, and thresholds from frames left out.

The thresholds come from cross-fitting: the frames are cut into blocks of consecutive ones, which are dealt
out to folds; the distances of a fold's frames are computed with the statistics of the other folds, and the
threshold is a quantile of all of them.
Statistics of the training frames themselves would be too tight for other frames.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ktb.config import DOMAIN_CASES, LEVELS
from ktb.modeling.domain import FeatureGaussian, features_of, fit_gaussian, pooled_tokens
from ktb.modeling.model import KTB, mask_streams
from training.data.datasets.base import PairDataset
from training.data.datasets.sample import Sample
from training.evaluation.inference import Views, network_input

FOLDS = 8
BLOCK = 10
"""Consecutive frames that are left out together, because neighbours in a list often show one scene."""
Change = Callable[[Sample, np.random.Generator], Sample]


@dataclass(frozen=True)
class Case:
    """A case of `DOMAIN_CASES`: its stream's index, and which sensor has zero tokens."""

    stream: int
    without_rgb: bool = False
    without_x: bool = False


CASES: Mapping[str, Case] = MappingProxyType(
    {
        "rgb": Case(0),
        "x": Case(1),
        "rgb_alone": Case(0, without_x=True),
        "x_alone": Case(1, without_rgb=True),
    }
)
assert tuple(CASES) == DOMAIN_CASES


def case_features(
    model: KTB,
    frames: PairDataset | Sequence[Any],
    indices: Sequence[int],
    levels: Sequence[int],
    changes: Sequence[Change | None] = (None,),
) -> dict[str, Tensor]:
    """Pooled features (changes, frames, C) of every case.

    frames: a dataset, or anything whose items have `rgb` and `modal_x` like a sample's.
    changes: changes of the stored RGB image, drawn per (0, index); None leaves it. A case without the RGB
    image does not depend on them and has only one.
    """
    rows: dict[str, list[list[Tensor]]] = {case: [] for case in CASES}
    views = Views(model.config.inputs.short_side)
    model.eval()
    for index in tqdm(indices, unit="image", desc="features"):
        stored = frames[index]
        of_frame: dict[str, list[Tensor]] = {case: [] for case in CASES}
        for number, change in enumerate(changes):
            sample = stored if change is None else change(stored, np.random.default_rng([0, index]))
            inputs = network_input(model, sample, views.network_size(sample.rgb.shape[:2]))
            cases = {name: case for name, case in CASES.items() if number == 0 or not case.without_rgb}
            for name, features in _features(model, inputs, cases, levels).items():
                of_frame[name].append(features)
        for name, features in of_frame.items():
            rows[name].append(features)
    return {
        name: torch.stack([torch.stack(of_frame) for of_frame in found], dim=1)
        for name, found in rows.items()
    }


def fit_case(features: Tensor, rank: int, quantile: float) -> tuple[Mapping[str, Tensor], float, Tensor]:
    """Buffers of a `FeatureGaussian` and the threshold of one case.

    Args:
        features: (changes, frames, C), frames in the order of the list.
        quantile: fraction of the cross-fitted distances below the threshold.

    Returns:
        Buffers, rounded to float16 as files store them; the threshold; all cross-fitted distances.
    """
    frames = features.shape[1]
    distances = torch.empty(features.shape[:2])
    folds = torch.arange(frames) // min(BLOCK, max(1, frames // FOLDS)) % FOLDS
    for fold in folds.unique():
        buffers = fit_gaussian(features[:, folds != fold].flatten(0, 1), rank)
        distances[:, folds == fold] = gaussian_of(buffers)(features[:, folds == fold])
    buffers = {name: t.half().float() for name, t in fit_gaussian(features.flatten(0, 1), rank).items()}
    return buffers, float(distances.flatten().quantile(quantile)), distances


def gaussian_of(buffers: Mapping[str, Tensor]) -> FeatureGaussian:
    """A module with these buffers."""
    rank, channels = buffers["directions"].shape
    module = FeatureGaussian(channels, rank)
    module.load_state_dict(dict(buffers))
    return module


def flagged_share(distances: Tensor, threshold: float) -> float:
    """Fraction of distances above the threshold."""
    return float((distances > threshold).double().mean())


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Area under the ROC curve: the probability that an outside distance exceeds an inside one."""
    both = torch.cat([inside.flatten(), outside.flatten()]).double()
    ranks = torch.empty_like(both)
    ranks[both.argsort()] = torch.arange(1, len(both) + 1, dtype=torch.float64)
    count = outside.numel()
    wins = ranks[inside.numel() :].sum() - count * (count + 1) / 2
    return float(wins / (count * inside.numel()))


@torch.inference_mode()
def _features(
    model: KTB, inputs: Sequence[Tensor], cases: Mapping[str, Case], levels: Sequence[int]
) -> dict[str, Tensor]:
    """Features (C,) of the cases, by the streams alone: neither fusion nor heads are computed."""
    masks = sorted({(case.without_rgb, case.without_x) for case in cases.values()})
    batch = [image.expand(len(masks), -1, -1, -1) for image in inputs]
    hidden = torch.tensor(masks, device=inputs[0].device).T
    tokens = mask_streams(model.backbone.embed(*batch), *hidden)
    pooled = []
    for level in range(LEVELS):
        tokens = model.level_features(tokens, level)[0]
        pooled.append(pooled_tokens(tokens))
    found = features_of(pooled, levels).cpu()
    return {
        name: found[masks.index((case.without_rgb, case.without_x)), case.stream]
        for name, case in cases.items()
    }
