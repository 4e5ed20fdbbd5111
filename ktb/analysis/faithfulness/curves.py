"""Deletion and insertion curves: a sensor's tokens ablated by the order of a map, against random order.

Deletion zeroes the tokens with the highest values first, insertion restores them first, as RISE does with
pixels (Petsiuk et al., BMVC 2018). Tokens are zeroed where the ablation of a sensor zeroes all of them: after
the patch embedding, so that no later level sees them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ktb.inference.prediction import Drop
from ktb.inference.predictor import Predictor
from ktb.inputs import EncodedX
from ktb.modeling.model import mask_streams

FRACTIONS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
RANDOM = "random"
KINDS = ("deletion", "insertion")
Curves = dict[str, dict[str, list[float]]]
"""As `token_curves` returns them."""


class TokenRuns:
    """Runs of one pair whose tokens are partly zeroed; the patch embedding runs once.

    Args:
        rgb: (H, W, 3) uint8 RGB image.
        reading: its encoded X, which is not missing.

    Attributes:
        grid: (h, w), the grid of the tokens after the patch embedding, which is that of the logits.
    """

    def __init__(self, predictor: Predictor, rgb: np.ndarray, reading: EncodedX) -> None:
        self.predictor = predictor
        inputs = predictor.network_inputs(rgb, reading, predictor.network_size(rgb.shape[:2]))
        with torch.inference_mode(), predictor.evaluating() as model:
            self.tokens = model.backbone.embed(*inputs)
        self.grid: tuple[int, int] = (self.tokens.shape[1], self.tokens.shape[2])

    def logits(self, sensor: Drop, kept: np.ndarray) -> Tensor:
        """Fused logits (K, h, w) where only some of a sensor's tokens are kept, (h, w) bool."""
        ablated = torch.from_numpy(~kept)[None]
        masks = (ablated, None) if sensor == "rgb" else (None, ablated)
        with torch.inference_mode(), self.predictor.evaluating() as model:
            tokens = mask_streams(self.tokens, *masks)
            return model.from_tokens(tokens, self.grid, branches=("fused",)).fused[0].cpu()


def token_curves(
    runs: TokenRuns,
    sensor: Drop,
    maps: Mapping[str, np.ndarray],
    fractions: Sequence[float] = FRACTIONS,
    seeds: int = 3,
) -> Curves:
    """Agreement with the full run while a sensor's tokens are deleted or inserted by the order of each map.

    Args:
        maps: name → map of any size; the tokens with the highest values come first. Equal values are in
            random order.
        fractions: of the sensor's tokens, increasing from 0 to 1.
        seeds: number of random orders, whose mean is the curve "random".

    Returns:
        "deletion" and "insertion" → name → for each fraction the share of positions whose fused class is that
        of the full run, 0..1. A faithful map falls fast under deletion and rises fast under insertion.

    Raises:
        ValueError: the fractions do not increase from 0 to 1.
    """
    if list(fractions) != sorted(set(fractions)) or (fractions[0], fractions[-1]) != (0, 1):
        raise ValueError(f"fractions {tuple(fractions)}: give increasing numbers from 0 to 1")
    count = runs.grid[0] * runs.grid[1]
    rng = np.random.default_rng(0)
    full = runs.logits(sensor, np.ones(runs.grid, bool)).argmax(dim=0)
    none = _agreement(runs, sensor, np.zeros(count, bool), full)
    orders = {name: [_order(values, runs.grid, rng)] for name, values in maps.items()}
    orders[RANDOM] = [rng.permutation(count) for _ in range(seeds)]
    found: Curves = {kind: {} for kind in KINDS}
    for name, several in orders.items():
        for kind in KINDS:
            ends = (1.0, none) if kind == "deletion" else (none, 1.0)
            inner = [
                np.mean([_agreement(runs, sensor, _kept(order, kind, fraction), full) for order in several])
                for fraction in fractions[1:-1]
            ]
            found[kind][name] = [ends[0], *map(float, inner), ends[1]]
    return found


def integrated_gradients(runs: TokenRuns, sensor: Drop, steps: int = 4) -> np.ndarray:
    """Integrated gradients of the fused class's log-probability along a sensor's tokens, (h, w) float32.

    The path goes from the ablated sensor (zero tokens) to the full run (Sundararajan et al., ICML 2017), with
    the midpoint rule. The score is the sum over all positions: a value belongs to a token, not to the
    positions that it changes.
    """
    index = 0 if sensor == "rgb" else 1
    with torch.inference_mode(False), torch.enable_grad(), runs.predictor.evaluating() as model:
        tokens = runs.tokens.clone()
        with torch.no_grad():
            full = model.from_tokens(tokens, runs.grid, branches=("fused",)).fused
            label = full.argmax(dim=1, keepdim=True)
        total = torch.zeros_like(tokens[:1])
        for step in range(steps):
            scaled = tokens.clone()
            scaled[index] *= (step + 0.5) / steps
            scaled.requires_grad_(True)
            logits = model.from_tokens(scaled, runs.grid, branches=("fused",)).fused
            score = logits.log_softmax(dim=1).gather(1, label).sum()
            (gradient,) = torch.autograd.grad(score, scaled)
            total += gradient[index : index + 1]
        return (total * tokens[index : index + 1] / steps).sum(dim=-1)[0].float().cpu().numpy()


class CurveStudy:
    """Mean curves of many images."""

    def __init__(self, fractions: Sequence[float] = FRACTIONS, seeds: int = 3) -> None:
        self.fractions, self.seeds = tuple(fractions), seeds
        self._found: dict[Drop, list[Curves]] = defaultdict(list)

    def add(self, curves: Mapping[Drop, Curves]) -> None:
        """Add an image: the results of `token_curves` with these fractions and seeds, by ablated sensor."""
        for sensor, found in curves.items():
            self._found[sensor].append(found)

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible: mean curves over the images, and the area between each and that of random order.

        An area is positive where the map's order is better than random, 0 for random, at most 1. Its standard
        error is over the images; None for a single one.
        """
        found: dict[str, Any] = {}
        for sensor, images in self._found.items():
            found[sensor] = {kind: self._of_kind(kind, [image[kind] for image in images]) for kind in KINDS}
        images = len(next(iter(self._found.values()), []))
        return {
            "images": images,
            "fractions": list(self.fractions),
            "random_orders": self.seeds,
            "ablated": found,
        }

    def _of_kind(self, kind: str, images: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
        sign, found = -1 if kind == "deletion" else 1, {}
        for name in images[0]:
            curves = np.array([image[name] for image in images])
            random = np.array([image[RANDOM] for image in images])
            gains = sign * (curves - random)
            areas = (np.diff(self.fractions) * (gains[:, 1:] + gains[:, :-1]) / 2).sum(axis=1)
            error = float(areas.std(ddof=1) / len(areas) ** 0.5) if len(areas) > 1 else None
            found[name] = {
                "agreement": curves.mean(axis=0).tolist(),
                "area": float(areas.mean()),
                "area_error": error,
            }
        return found


def _order(values: np.ndarray, grid: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Flat indices of the tokens, highest value first."""
    resized = cv2.resize(values.astype(np.float32), grid[::-1], interpolation=cv2.INTER_LINEAR).ravel()
    shuffled = rng.permutation(resized.size)
    return shuffled[np.argsort(-resized[shuffled], kind="stable")]


def _kept(order: np.ndarray, kind: str, fraction: float) -> np.ndarray:
    """The tokens that remain, flat bool."""
    first = np.zeros(order.size, bool)
    first[order[: round(fraction * order.size)]] = True
    return ~first if kind == "deletion" else first


def _agreement(runs: TokenRuns, sensor: Drop, kept: np.ndarray, full: Tensor) -> float:
    return float((runs.logits(sensor, kept.reshape(runs.grid)).argmax(dim=0) == full).float().mean())
