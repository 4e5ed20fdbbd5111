"""The authors' released checkpoints: their tensor names, and configurations read from shapes (section 8)."""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ktb.config import FusionConfig, InputConfig, Modality, ModelConfig, SwinConfig
from ktb.labels import DATASETS, generic_labels

# Applied in order to an official name; the result is ours.
RENAMES = [
    (r"^backbone\.extra_patch_embed\.", "backbone.patch_embed_x."),
    (r"^(backbone\.patch_embed\w*)\.projection\.", r"\1.proj."),
    (r"\.attn\.w_msa\.", ".attn."),
    (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
    (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
    (r"\.MLP_RGB_Adapter\.", ".adapters.rgb."),
    (r"\.MLP_DTE_Adapter\.", ".adapters.x."),
    (r"(\.adapters\.\w+)\.D_fc1\.", r"\1.down."),
    (r"(\.adapters\.\w+)\.D_fc2\.", r"\1.up."),
    (r"^backbone\.MPGBlocks\.(\d)\.", r"mapa.\1."),
    (r"^backbone\.DeformMPGBlocks\.(\d)\.", r"dscf.\1."),
    (r"^((?:mapa|dscf)\.\d)\.D_fc1\.", r"\1.down_rgb."),
    (r"^((?:mapa|dscf)\.\d)\.D_fc2\.", r"\1.down_x."),
    (r"^((?:mapa|dscf)\.\d)\.U_fc1\.", r"\1.up."),
    (r"^(mapa\.\d)\.P_fc2\.", r"\1.fuse."),
    (r"\.tfts_(gamma|beta)_rgb$", r".\1_rgb"),
    (r"\.tfts_(gamma|beta)_dte$", r".\1_x"),
    (r"\.deform_atten\.", "."),
    (r"\.conv_offset_x\.", ".offsets_rgb."),
    (r"\.conv_offset_y\.", ".offsets_x."),
    (r"(\.offsets_\w+\.1)\.norm\.", r"\1."),
    (r"\.fuse_q\.conv\.0\.", ".context_conv."),
    (r"\.fuse_q\.conv\.1\.", ".context_norm."),
    (r"\.get_sample_weight\.", ".modality_net."),
    (r"\.rpe_table$", ".bias_table"),
    (r"\.deform_weight$", ".alpha"),
    (r"\.identity_weight$", ".iota"),
    (r"^backbone\.norm(\d)\.", r"norms.rgb.\1."),
    (r"^backbone\.extra_norm(\d)\.", r"norms.x.\1."),
    (r"^backbone\.fuse_norm(\d)\.", r"norms.fused.\1."),
    (r"^decode_head\.", "heads.fused."),
    (r"^decode_head_rgb\.", "heads.rgb."),
    (r"^decode_head_dte\.", "heads.x."),
    (r"\.linear_fuse\.conv\.", ".fuse."),
    (r"\.linear_fuse\.bn\.", ".norm."),
    (r"\.linear_pred\.", ".classifier."),
]

# dataset by number of classes: name, X of the released model, evaluation height (TRAINING reference, 1 and 2)
RELEASED: dict[int, tuple[str, Modality, int]] = {
    40: ("nyuv2", "hha", 480),
    37: ("sunrgbd", "depth", 480),
    9: ("mfnet", "thermal", 480),
    5: ("pst900", "thermal", 720),
    20: ("mcubes", "nir", 1024),
    25: ("deliver", "event", 1024),
}
WRAPPERS = ("model_state_dict", "state_dict", "model")


def our_name(official: str) -> str:
    """Translate one official tensor name; names that no rule knows come back unchanged."""
    name = re.sub(
        r"^backbone\.stages\.(\d)\.downsample\.",
        lambda match: f"backbone.stages.{int(match[1]) + 1}.downsample.",
        official,
    )
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return re.sub(r"\.linear_c(\d)\.proj\.", lambda match: f".proj.{int(match[1]) - 1}.", name)


def merge_order_to_timm(tensor: Tensor) -> Tensor:
    """Reorder a patch merging's last axis from (channel, dy, dx) to timm's (dx, dy, channel)."""
    split = tensor.unflatten(-1, (-1, 2, 2))
    return split.movedim((-1, -2, -3), (-3, -2, -1)).flatten(-3).contiguous()


def to_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate a whole official state dict: names, patch-merging order, recomputable buffers dropped."""
    ours = {}
    for name, tensor in state.items():
        if name.endswith(("relative_position_index", "attn_mask")):
            continue
        if re.search(r"\.downsample\.(norm\.(weight|bias)|reduction\.weight)$", name):
            if tensor.ndim == 0 or tensor.shape[-1] % 4:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}; its last axis must be 4·C.")
            tensor = merge_order_to_timm(tensor)
        ours[our_name(name)] = tensor
    return ours


def read_pth(path: str | Path) -> dict[str, Tensor]:
    """Read a `.pth` with tensors only, unwrapped and without a `module.` prefix.

    Raises:
        ValueError: for a missing, truncated or foreign file, or a pickle that holds code.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}. Give the path of a downloaded .pth checkpoint.")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} is not a plain checkpoint of tensors and was refused, because loading it could run code "
            f"({reason}). Save it again with torch.save(model.state_dict(), …)."
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint ({str(error).splitlines()[0]}). "
            f"It is damaged or cut short: download it again."
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
            break
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ValueError(
            f"{path} holds no state dict: expected tensors by name, at the top or under "
            f"{', '.join(WRAPPERS[:2])}."
        )
    return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}


def infer_config(
    state: Mapping[str, Tensor],
    name: str = "official",
    dataset: str | None = None,
    modality: Modality | None = None,
) -> ModelConfig:
    """Read every width, head count, window and K from official tensor shapes.

    Args:
        dataset, modality: override what the number of classes suggests.

    Raises:
        ValueError: naming the tensor that is missing or has an impossible shape.
    """
    depths = tuple(_count(state, rf"backbone\.stages\.{i}\.blocks\.(\d+)\.") for i in range(4))
    block = "backbone.stages.{}.blocks.0."
    tables = [_shape(state, block.format(i) + "attn.w_msa.relative_position_bias_table", 2) for i in range(4)]
    fusion = "backbone.DeformMPGBlocks.{}."
    ranks = [_shape(state, fusion.format(i) + "D_fc1.weight", 2)[0] for i in range(4)]
    offset_nets = [_shape(state, fusion.format(i) + "deform_atten.conv_offset_x.0.weight", 4) for i in range(4)]
    bias_tables = [_shape(state, fusion.format(i) + "deform_atten.rpe_table", 3) for i in range(4)]
    heads = ("decode_head", "decode_head_rgb", "decode_head_dte")
    num_classes = _shape(state, "decode_head.linear_pred.weight", 4)[0]
    known_dataset, known_modality, short_side = RELEASED.get(num_classes, ("", "other", None))
    dataset = known_dataset if dataset is None else dataset
    labels = DATASETS.get(dataset) or generic_labels(num_classes)
    return ModelConfig(
        name=name,
        backbone=SwinConfig(
            embed_dim=_shape(state, "backbone.patch_embed.projection.weight", 4)[0],
            depths=depths,
            num_heads=tuple(shape[1] for shape in tables),
            window_size=(math.isqrt(tables[0][0]) + 1) // 2,
            adapter_ranks=tuple(
                _shape(state, block.format(i) + "MLP_RGB_Adapter.D_fc1.weight", 2)[0] for i in range(4)
            ),
        ),
        fusion=FusionConfig(
            mapa_ranks=tuple(_shape(state, f"backbone.MPGBlocks.{i}.D_fc1.weight", 2)[0] for i in range(4)),
            dscf_ranks=tuple(ranks),
            num_heads=tuple(shape[0] for shape in bias_tables),
            groups=tuple(rank // max(1, shape[0]) for rank, shape in zip(ranks, offset_nets)),
        ),
        num_classes=num_classes,
        classes=labels.classes,
        palette=labels.palette,
        dataset=dataset,
        head_dims=tuple(_shape(state, f"{head}.linear_fuse.bn.weight", 1)[0] for head in heads),
        inputs=InputConfig(modality=modality or known_modality, short_side=short_side),
    )


def _shape(state: Mapping[str, Tensor], name: str, ndim: int) -> tuple[int, ...]:
    if name not in state:
        raise ValueError(
            f"the file has no tensor {name}, so it is not a released KTB checkpoint. "
            f"Its first tensors are: {', '.join(list(state)[:3])}."
        )
    shape = tuple(state[name].shape)
    if len(shape) != ndim or 0 in shape:
        raise ValueError(f"{name} has shape {shape}; expected {ndim} axes, none of them empty.")
    return shape


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for name in state if (match := re.match(pattern, name))})
