"""The KTB network: one frozen backbone for both streams, prompts and fusion per level, three heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ktb.config import BRANCHES, ModelConfig
from ktb.modeling.backbones import Backbone
from ktb.modeling.domain import Domain, pooled_tokens
from ktb.modeling.layers import TokenNorm, split_streams
from ktb.modeling.trace import FusionTrace

MIN_SIDE = 32
HEAD_STRIDE = 4
"""Stride of the heads' logits with respect to the network's input, in pixels."""


@dataclass(frozen=True)
class KTBOutput:
    """Output of the network: logits (B, K, H, W) per branch, None for a branch that was not requested.

    Attributes:
        trace: one FusionTrace per level if requested, else None; None where the fusion is a mean.
        prompts: relative change of the tokens by the prompts if requested, per level (B, 2, h, w), rgb first:
            ‖change‖ / ‖token‖; None without prompts.
        pooled: per level (B, 2, C) float32, mean of each stream's tokens, rgb first; None in training mode,
            and from exported graphs of models without a domain check.
        runtime: name of the runtime that computed the output, see `ktb.inference.runtimes`.
    """

    fused: Tensor | None = None
    rgb: Tensor | None = None
    x: Tensor | None = None
    trace: tuple[FusionTrace, ...] | None = None
    prompts: tuple[Tensor, ...] | None = None
    pooled: tuple[Tensor, ...] | None = None
    runtime: str = "eager"


LevelFunction = Callable[[Tensor, int, bool], Sequence[Tensor]]
"""As `KTB.level_features`."""
HeadFunction = Callable[[str, Sequence[Tensor]], Tensor]
"""As `KTB.head_logits`."""


class KTB(nn.Module):
    """Keep-the-Balance network, composed by `ktb.modeling.build.build_model`.

    Args:
        config: configuration of the network, kept for saving and preprocessing.
        backbone: frozen stages with their adapters, as `ktb.modeling.backbones.Backbone` says.
        mapa, dscf: one module per level: prompts and fusion, or their replacements for ablations.
        heads: one head per branch: "fused", "rgb", "x".
        domain: statistics of the training images' features, or None.
    """

    config: ModelConfig
    card: dict[str, Any]
    backbone: Backbone
    mapa: nn.ModuleList
    dscf: nn.ModuleList
    norms: nn.ModuleDict
    heads: nn.ModuleDict
    domain: Domain | None
    rgb_mean: Tensor
    rgb_std: Tensor
    x_mean: Tensor
    x_std: Tensor

    def __init__(
        self,
        config: ModelConfig,
        backbone: Backbone,
        mapa: list[nn.Module],
        dscf: list[nn.Module],
        heads: Mapping[str, nn.Module],
        domain: Domain | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.card = {}
        self.backbone = backbone
        self.mapa = nn.ModuleList(mapa)
        self.dscf = nn.ModuleList(dscf)
        self.norms = nn.ModuleDict(
            {b: nn.ModuleList(TokenNorm(d) for d in config.backbone.feature_dims) for b in BRANCHES}
        )
        self.heads = nn.ModuleDict(heads)
        self.domain = domain
        self.norms.requires_grad_(False)
        inputs = config.inputs
        for name in ("rgb_mean", "rgb_std", "x_mean", "x_std"):
            value = torch.tensor(getattr(inputs, name)).view(1, 3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(
        self,
        rgb: Tensor,
        modal_x: Tensor,
        mask_rgb: Tensor | None = None,
        mask_x: Tensor | None = None,
        trace: bool = False,
        logits_hw: tuple[int, int] | None = None,
        branches: Sequence[str] = BRANCHES,
    ) -> KTBOutput:
        """Segment a batch of RGB and X pairs.

        Args:
            rgb, modal_x: (B, 3, H, W) float, normalised (`normalize_rgb`, `normalize_x`); H, W ≥ 32.
            mask_rgb, mask_x: True zeroes tokens after patch embedding (reference section 6): (B,) bool all
                of a sample, (B, h, w) bool single tokens.
            trace: return the FusionTrace of every level; a mean fusion has none.
            logits_hw: size of the logits instead of H, W, e.g. smaller for a cheaper training loss.
            branches: heads to run; the logits of the others are None.

        Raises:
            ValueError: if the inputs differ in shape, do not have three channels or are smaller than 32
                pixels, if a mask has another shape, or if a branch is unknown.
        """
        _check_inputs(rgb, modal_x)
        _check_branches(branches)
        tokens = self.backbone.embed(rgb, modal_x)  # 2B, h, w, C: rgb samples first
        tokens = mask_streams(tokens, mask_rgb, mask_x)
        return self.from_tokens(tokens, logits_hw or (rgb.shape[-2], rgb.shape[-1]), trace, branches)

    def from_tokens(
        self,
        tokens: Tensor,
        logits_hw: tuple[int, int],
        trace: bool = False,
        branches: Sequence[str] = BRANCHES,
        level_features: LevelFunction | None = None,
        head_logits: HeadFunction | None = None,
    ) -> KTBOutput:
        """Run the network from the tokens of the patch embedding.

        Args:
            tokens: (2B, h, w, C), rgb samples first.
            logits_hw, trace, branches: as in `forward`.
            level_features, head_logits: replacements for the methods of these names, such as tiled versions.
        """
        level_features, head_logits = level_features or self.level_features, head_logits or self.head_logits
        feats: dict[str, list[Tensor]] = {branch: [] for branch in BRANCHES}
        traces, prompts, pooled = [], [], []
        for level, dscf in enumerate(self.dscf):
            tokens, rgb, modal_x, *change = level_features(tokens, level, trace)
            prompts += change
            pooled += [] if self.training else [pooled_tokens(tokens)]
            fused, level_trace = dscf(rgb, modal_x, trace)
            traces.append(level_trace)
            for branch, values in zip(BRANCHES, (self._normed("fused", level, fused), rgb, modal_x)):
                feats[branch].append(values)
        logits = {branch: _upsampled(head_logits(branch, feats[branch]), logits_hw) for branch in branches}
        return KTBOutput(
            fused=logits.get("fused"),
            rgb=logits.get("rgb"),
            x=logits.get("x"),
            trace=tuple(filter(None, traces)) or None,
            prompts=tuple(prompts) or None,
            pooled=tuple(pooled) or None,
        )

    def _normed(self, branch: str, level: int, tokens: Tensor) -> Tensor:
        norms = self.norms[branch]
        assert isinstance(norms, nn.ModuleList)
        return norms[level](tokens)

    def level_features(self, tokens: Tensor, level: int, trace: bool = False) -> Sequence[Tensor]:
        """Compute one level of both streams, up to the fusion.

        Args:
            tokens: (2B, h, w, C), output of the previous level, rgb samples first.
            trace: also return the relative change of the tokens by the prompts, if there are prompts.

        Returns:
            The level's tokens (2B, h', w', C'); the normalised features of both streams, (B, h', w', C')
            each; and (B, 2, h', w') as in `KTBOutput.prompts` if `trace`, else None.
        """
        tokens = self.backbone.downsample(tokens, level)
        prompted = self.mapa[level](tokens)
        wanted = trace and self.config.fusion.prompts
        change = [_relative_change(tokens, prompted)] if wanted else []
        tokens = self.backbone.blocks(prompted, level)
        rgb, modal_x = split_streams(tokens)
        return [tokens, self._normed("rgb", level, rgb), self._normed("x", level, modal_x), *change]

    def head_logits(self, branch: str, feats: Sequence[Tensor]) -> Tensor:
        """Logits (B, K, h, w) of one head from the features of all levels, at the first level's size."""
        return self.heads[branch](feats)

    def normalize_rgb(self, rgb: Tensor) -> Tensor:
        """Normalise RGB (B, 3, H, W), uint8 or float in [0, 1], to a network input."""
        rgb = rgb.to(self.rgb_mean.dtype) / 255 if rgb.dtype == torch.uint8 else rgb
        return (rgb - self.rgb_mean) / self.rgb_std

    def normalize_x(self, modal_x: Tensor) -> Tensor:
        """Normalise X (B, 3, H, W), uint8 or float in [0, 1], to a network input."""
        modal_x = modal_x.to(self.x_mean.dtype) / 255 if modal_x.dtype == torch.uint8 else modal_x
        return (modal_x - self.x_mean) / self.x_std

    def trainable_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and tensors of the trainable parameters (reference section 7)."""
        return ((name, p) for name, p in self.named_parameters() if p.requires_grad)

    def train(self, mode: bool = True) -> KTB:
        """Set the training mode; frozen modules stay in evaluation mode, so their statistics never change."""
        super().train(mode)
        self.backbone.freeze_statistics()
        return self


def _relative_change(before: Tensor, after: Tensor) -> Tensor:
    """Relative change of tokens (2B, h, w, C) per stream, ‖after - before‖ / ‖before‖: (B, 2, h, w)."""
    change = (after - before).float().norm(dim=-1) / before.float().norm(dim=-1).clamp(min=1e-12)
    return torch.stack(split_streams(change), dim=1)


def _upsampled(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _check_inputs(rgb: Tensor, modal_x: Tensor) -> None:
    if rgb.shape != modal_x.shape or rgb.ndim != 4 or rgb.shape[1] != 3:
        raise ValueError(
            f"rgb has shape {tuple(rgb.shape)} and modal_x {tuple(modal_x.shape)}; both must be "
            f"(B, 3, H, W) and equal. Resize X to the RGB image and repeat a single channel three times."
        )
    if min(rgb.shape[-2:]) < MIN_SIDE:
        raise ValueError(
            f"the images are {rgb.shape[-2]}×{rgb.shape[-1]} pixels; the network needs at least "
            f"{MIN_SIDE} on each side. Enlarge them first."
        )


def _check_branches(branches: Sequence[str]) -> None:
    if isinstance(branches, str) or not branches or not set(branches) <= set(BRANCHES):
        raise ValueError(f"branches is {branches!r}; give some of {', '.join(BRANCHES)} as a tuple.")


def mask_streams(tokens: Tensor, mask_rgb: Tensor | None, mask_x: Tensor | None) -> Tensor:
    """Zero tokens of both streams.

    Args:
        tokens: (2B, h, w, C), rgb samples first.
        mask_rgb, mask_x: True where masked, (B,) bool for whole samples or (B, h, w) bool for single tokens.

    Raises:
        ValueError: a mask has another shape.
    """
    if mask_rgb is None and mask_x is None:
        return tokens
    batch, height, width = len(tokens) // 2, *tokens.shape[1:3]
    none = torch.zeros(batch, dtype=torch.bool, device=tokens.device)
    masks = [none if mask is None else mask.to(none) for mask in (mask_rgb, mask_x)]
    for mask in masks:
        if tuple(mask.shape) not in ((batch,), (batch, height, width)):
            raise ValueError(
                f"a mask of the tokens is {tuple(mask.shape)}; give ({batch},) for whole samples or "
                f"({batch}, {height}, {width}) for single tokens."
            )
    per_token = [(m[:, None, None] if m.ndim == 1 else m).expand(batch, height, width) for m in masks]
    return tokens.masked_fill(torch.cat(per_token)[..., None], 0.0)


PARTS = ("backbone", "x embedding", "adapters", "prompts", "fusion", "heads")
_OUTSIDE_THE_BACKBONE = {
    "norms": "backbone", "domain": "backbone", "mapa": "prompts", "dscf": "fusion", "heads": "heads"
}  # fmt: skip


def parameter_group(name: str) -> str:
    """The group in `PARTS` of a parameter or buffer of `KTB.state_dict()`.

    "backbone" contains everything frozen: the pretrained network, the output norms and the statistics of its
    features.
    """
    if is_pretrained(name):
        return "backbone"
    if name.startswith("backbone."):
        return "adapters" if ".adapters." in name else "x embedding"
    return _OUTSIDE_THE_BACKBONE[name.split(".")[0]]


def is_pretrained(name: str) -> bool:
    """Whether a tensor belongs to the pretrained network, which all models on one backbone share."""
    ours = ".adapters." in name or name.startswith("backbone.patch_embed_x.")
    return name.startswith("backbone.") and not ours


def count_parameters(model: KTB) -> dict[str, tuple[int, int]]:
    """Number of parameters per group, (total, trainable); (0, 0) for a group that is not configured."""
    counts = {part: (0, 0) for part in PARTS}
    for name, parameter in model.named_parameters():
        total, trainable = counts[parameter_group(name)]
        size = parameter.numel()
        counts[parameter_group(name)] = (total + size, trainable + size * parameter.requires_grad)
    return counts
