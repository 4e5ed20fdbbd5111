"""Distances of an image's backbone features to those of the training images.

Each stream's tokens are averaged over the positions of some levels. A case (a stream, with or without the
other sensor) has a Gaussian of these features: mean, principal directions with their variances, and one
variance for the residual, as in probabilistic principal component analysis (Tipping and Bishop, 1999). The
distance is the Mahalanobis distance under this Gaussian, divided by the case's threshold: above 1, an image
is unlike the training images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ktb.config import DOMAIN_CASES, DomainConfig


class FeatureGaussian(nn.Module):
    """Gaussian of pooled features (…, C): `mean` and `scale` (C,), `directions` (R, C), `variances` (R + 1,).

    Features are standardised by mean and scale first; the last variance is the residual's, per dimension.
    """

    mean: Tensor
    scale: Tensor
    directions: Tensor
    variances: Tensor

    def __init__(self, channels: int, rank: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("directions", torch.zeros(rank, channels))
        self.register_buffer("variances", torch.ones(rank + 1))

    def forward(self, features: Tensor) -> Tensor:
        """Mahalanobis distances (…) of features (…, C), per square root of a dimension."""
        features = (features.float() - self.mean) / self.scale
        along = features @ self.directions.T
        residual = features.square().sum(-1) - along.square().sum(-1)
        squares = (along.square() / self.variances[:-1]).sum(-1) + residual.clamp(min=0) / self.variances[-1]
        return (squares / features.shape[-1]).sqrt()


class Domain(nn.Module):
    """The Gaussians of all cases, with the thresholds of the configuration."""

    def __init__(self, config: DomainConfig, feature_dims: Sequence[int]):
        super().__init__()
        self.config = config
        channels = sum(feature_dims[level] for level in config.levels)
        self.cases = nn.ModuleDict({case: FeatureGaussian(channels, config.rank) for case in DOMAIN_CASES})

    def distances(
        self, pooled: Sequence[Tensor], without_rgb: bool, without_x: bool
    ) -> dict[Literal["rgb", "x"], Tensor]:
        """Relative distance of each present stream, scalars; above 1 is outside the training's domain.

        Args:
            pooled: per level (1, 2, C), as `ktb.modeling.model.KTBOutput.pooled`.
        """
        features = features_of(pooled, self.config.levels)[0]
        found: dict[Literal["rgb", "x"], Tensor] = {}
        names: tuple[Literal["rgb", "x"], ...] = ("rgb", "x")
        for stream, name in enumerate(names):
            if (without_rgb, without_x)[stream]:
                continue
            case = f"{name}_alone" if without_rgb or without_x else name
            threshold = self.config.thresholds[DOMAIN_CASES.index(case)]
            found[name] = self.cases[case](features[stream]) / threshold
        return found


def pooled_tokens(tokens: Tensor) -> Tensor:
    """Mean over the positions of tokens (2B, h, w, C), rgb samples first: (B, 2, C) float32."""
    means = tokens.float().mean(dim=(1, 2))
    return means.unflatten(0, (2, -1)).transpose(0, 1)


def features_of(pooled: Sequence[Tensor], levels: Sequence[int]) -> Tensor:
    """Pooled features of some levels side by side, (B, 2, C)."""
    return torch.cat([pooled[level] for level in levels], dim=-1)


def fit_gaussian(features: Tensor, rank: int, smallest: float = 1e-3) -> Mapping[str, Tensor]:
    """Buffers of a `FeatureGaussian` for features (N, C) of training images, N > rank.

    smallest: lower bound of the scales, relative to their mean, for channels that never change.
    """
    assert len(features) > rank, f"{len(features)} images for {rank} directions"
    features = features.double()
    mean, scale = features.mean(0), features.std(0)
    scale = scale.clamp(min=smallest * float(scale.mean()))
    _, singular, directions = torch.linalg.svd((features - mean) / scale, full_matrices=False)
    variances = singular.square() / (len(features) - 1)
    rest = variances[rank:].sum() / max(1, features.shape[1] - rank)
    kept = torch.cat([variances[:rank], rest[None]]).clamp(min=1e-6)
    found = {"mean": mean, "scale": scale, "directions": directions[:rank], "variances": kept}
    return {name: tensor.float() for name, tensor in found.items()}
