"""The network as the reference computes it: what the benchmark measures everything else against.

Two passes of the frozen Swin, one per stream; attention by matrix product and softmax with its position bias
looked up in every call; a fusion that reads its bias table on a grid of all displacements; heads that
concatenate at full width. It takes its weights from a `KTB` and nothing else:

    python -m ktb bench --model swin-b --baseline tools/plain_forward.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ktb.modeling.model import KTB, KTBOutput


class PlainForward:
    """Runs a KTB network on Swin in evaluation mode without anything that makes it fast.

    Raises:
        ValueError: for a network on another backbone or with parts left out.
    """

    def __init__(self, model: KTB):
        config = model.config
        whole = config.fusion.kind == "dscf" and config.fusion.prompts and config.backbone.adapters
        if config.backbone.kind != "swin" or not whole:
            raise ValueError("the plain forward computes whole networks on Swin only.")
        self.model = model.eval()
        self.window = config.backbone.window_size

    @torch.inference_mode()
    def __call__(self, rgb: Tensor, modal_x: Tensor) -> KTBOutput:
        """rgb, modal_x (B, 3, H, W), normalised → logits (B, K, H, W)."""
        model = self.model
        t_rgb = patch_embedding(model.backbone.patch_embed, rgb)
        t_x = patch_embedding(model.backbone.patch_embed_x, modal_x)
        feats = {"fused": [], "rgb": [], "x": []}
        for level, stage in enumerate(model.backbone.stages):
            t_rgb, t_x = stage.downsample(t_rgb), stage.downsample(t_x)
            t_rgb, t_x = prompted(model.mapa[level], t_rgb, t_x)
            t_rgb = self._blocks(stage.blocks, t_rgb, "rgb")
            t_x = self._blocks(stage.blocks, t_x, "x")
            feats["rgb"].append(model.norms["rgb"][level](t_rgb))
            feats["x"].append(model.norms["x"][level](t_x))
            fused = fusion(model.dscf[level], feats["rgb"][-1], feats["x"][-1])
            feats["fused"].append(model.norms["fused"][level](fused))
        size = rgb.shape[-2:]
        return KTBOutput(**{branch: head(model.heads[branch], feats[branch], size) for branch in feats})

    def _blocks(self, blocks: nn.ModuleList, t: Tensor, stream: str) -> Tensor:
        mask = shift_mask(*t.shape[1:3], self.window).to(t)
        for block in blocks:
            y = t + window_attention(block.attn, block.norm1(t), self.window, block.shift, mask)
            adapter = getattr(block.adapters, stream)
            t = y + block.mlp(block.norm2(y)) + 0.5 * adapter.up(torch.relu(adapter.down(y)))
        return t


def make(model: KTB) -> PlainForward:
    """What the benchmark calls."""
    return PlainForward(model)


def patch_embedding(embed: nn.Module, image: Tensor) -> Tensor:
    """(B, 3, H, W) → (B, h, w, C), section 2."""
    image = F.pad(image, (0, -image.shape[3] % 4, 0, -image.shape[2] % 4))
    return embed.norm(embed.proj(image).permute(0, 2, 3, 1))


def prompted(mapa: nn.Module, t_rgb: Tensor, t_x: Tensor) -> tuple[Tensor, Tensor]:
    """Both streams with their prompts added, section 3."""
    u = mapa.up(mapa.fuse(torch.cat([mapa.down_rgb(t_rgb), mapa.down_x(t_x)], dim=-1)))
    t_rgb = t_rgb + u + (u * mapa.gamma_rgb + mapa.beta_rgb)
    t_x = t_x + u + (u * mapa.gamma_x + mapa.beta_x)
    return t_rgb, t_x


def windows_of(image: Tensor, size: int) -> Tensor:
    """(B, H, W, C) → (B·windows, size², C)."""
    batch, height, width, channels = image.shape
    image = image.reshape(batch, height // size, size, width // size, size, channels)
    return image.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, channels)


def image_of(windows: Tensor, size: int, height: int, width: int) -> Tensor:
    """The inverse of `windows_of`."""
    windows = windows.reshape(-1, height // size, width // size, size, size, windows.shape[-1])
    return windows.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, windows.shape[-1])


def shift_mask(height: int, width: int, size: int) -> Tensor:
    """(windows, size², size²): −100 between positions of different shift regions, section 2."""
    shift = size // 2
    padded_hw = height + -height % size, width + -width % size
    regions = torch.zeros(1, *padded_hw, 1)
    bands = slice(0, -size), slice(-size, -shift), slice(-shift, None)
    for number, (rows, columns) in enumerate((r, c) for r in bands for c in bands):
        regions[:, rows, columns] = number
    region = windows_of(regions, size).squeeze(-1)
    return torch.where(region[:, :, None] == region[:, None, :], 0.0, -100.0)


def window_attention(attn: nn.Module, t: Tensor, size: int, shift: int, mask: Tensor) -> Tensor:
    """Attention in (shifted) windows of t (B, h, w, C), section 2."""
    batch, height, width, channels = t.shape
    padded = F.pad(t, (0, 0, 0, -width % size, 0, -height % size))
    padded_hw = padded.shape[1:3]
    if shift:
        padded = torch.roll(padded, (-shift, -shift), dims=(1, 2))
    windows = windows_of(padded, size)
    heads, area = attn.num_heads, size * size
    qkv = attn.qkv(windows).reshape(-1, area, 3, heads, channels // heads).permute(2, 0, 3, 1, 4)
    query, key, value = qkv[0], qkv[1], qkv[2]
    scores = (query * (channels // heads) ** -0.5) @ key.transpose(-2, -1)
    index = attn.relative_position_index.reshape(-1)
    bias = attn.relative_position_bias_table[index].reshape(area, area, heads).permute(2, 0, 1)
    scores = scores + bias
    if shift:
        scores = scores.reshape(batch, -1, heads, area, area) + mask[:, None]
        scores = scores.reshape(-1, heads, area, area)
    attended = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(-1, area, channels)
    padded = image_of(attn.proj(attended), size, *padded_hw)
    if shift:
        padded = torch.roll(padded, (shift, shift), dims=(1, 2))
    return padded[:, :height, :width]


def fusion(dscf: nn.Module, feats_rgb: Tensor, feats_x: Tensor) -> Tensor:
    """Fused features (B, h, w, C) before their norm, section 4."""
    a_rgb = dscf.down_rgb(feats_rgb).permute(0, 3, 1, 2)
    a_x = dscf.down_x(feats_x).permute(0, 3, 1, 2)
    z = F.gelu(dscf.context_norm(dscf.context_conv(torch.cat([a_rgb, a_x], dim=1))))
    q = dscf.proj_q(z)
    groups, (height, width) = dscf.groups, z.shape[-2:]
    points = torch.cat(
        [sampling_points(dscf.offsets_rgb, a_rgb, groups), sampling_points(dscf.offsets_x, a_x, groups)],
        dim=1,
    )  # B·G, 2n, (y, x)
    s_rgb, s_x, s_q = (sampled(image, points, groups) for image in (a_rgb, a_x, q))  # B, c, 1, 2n
    weights = dscf.modality_net(s_q).softmax(dim=1)
    mixed = weights[:, :1] * s_rgb + weights[:, 1:] * s_x
    attended = attention(dscf, q, dscf.proj_k(mixed), dscf.proj_v(mixed), points)
    attended = attended.reshape(*z.shape[:2], height, width)
    out = dscf.alpha[:, None, None] * dscf.proj_out(attended) + dscf.iota[:, None, None] * z
    return dscf.up(out.permute(0, 2, 3, 1))


def sampling_points(offset_net: nn.Module, image: Tensor, groups: int) -> Tensor:
    """(B·G, n, 2) as (y, x), section 4 step 3."""
    offsets = offset_net(image.reshape(image.shape[0] * groups, -1, *image.shape[2:]))  # B·G, 2, h', w'
    axes = [reference_axis(length).to(offsets) for length in offsets.shape[2:]]
    reference = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    return (reference + offsets.permute(0, 2, 3, 1)).clamp(-1, 1).flatten(1, 2)


def reference_axis(length: int) -> Tensor:
    """(j+0.5)/(L−1)·2 − 1, and 0 where there is one point."""
    return torch.zeros(1) if length == 1 else (torch.arange(length) + 0.5) / (length - 1) * 2 - 1


def query_axis(length: int) -> Tensor:
    """linspace(−1, 1), and 0 where there is one position."""
    return torch.zeros(1) if length == 1 else torch.linspace(-1, 1, length)


def sampled(image: Tensor, points: Tensor, groups: int) -> Tensor:
    """image (B, c, h, w), each group read at its own points → (B, c, 1, 2n)."""
    batch, channels, height, width = image.shape
    image = image.reshape(batch * groups, channels // groups, height, width)
    values = F.grid_sample(image, points.flip(-1)[:, None], mode="bilinear", align_corners=True)
    return values.reshape(batch, channels, 1, -1)


def attention(dscf: nn.Module, q: Tensor, k: Tensor, v: Tensor, points: Tensor) -> Tensor:
    """Attention of all positions to the points with the position bias, section 4 step 5 → (B, c, h·w)."""
    batch, channels, height, width = q.shape
    heads, groups = dscf.num_heads, dscf.groups
    query, key, value = (t.reshape(batch * heads, channels // heads, -1) for t in (q, k, v))
    scores = torch.einsum("bcm,bcn->bmn", query, key) * (channels // heads) ** -0.5
    axes = query_axis(height).to(q), query_axis(width).to(q)
    queries = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(1, -1, 1, 2)
    displacements = 0.5 * (queries - points[:, None])  # B·G, h·w, 2n, (y, x)
    table = dscf.bias_table[None].expand(batch, -1, -1, -1)
    table = table.reshape(batch * groups, heads // groups, *table.shape[2:])
    bias = F.grid_sample(table, displacements.flip(-1), mode="bilinear", align_corners=True)
    weights = (scores + bias.reshape(scores.shape)).softmax(dim=-1)
    return torch.einsum("bmn,bcn->bcm", weights, value).reshape(batch, channels, -1)


def head(module: nn.Module, feats: list[Tensor], size_hw: tuple[int, int]) -> Tensor:
    """Four feature maps (B, h_i, w_i, C_i) → logits (B, K, H, W), section 5."""
    level_hw = feats[0].shape[1:3]
    maps = []
    for feat, proj in zip(feats, module.proj):
        projected = proj(feat).permute(0, 3, 1, 2)
        maps.append(F.interpolate(projected, size=level_hw, mode="bilinear", align_corners=False))
    fused = torch.relu(module.norm(module.fuse(torch.cat(maps[::-1], dim=1))))
    return F.interpolate(module.classifier(fused), size=size_hw, mode="bilinear", align_corners=False)
