"""The authors' released checkpoints: tensor names, and configurations from shapes (reference section 8)."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ktb.config import LEVELS, FusionConfig, InputConfig, Modality, ModelConfig, SwinConfig
from ktb.labels import DATASETS, DatasetLabels, generic_labels
from ktb.modalities import DATASET_INPUTS, DEFAULT_ENCODINGS

# Names of the tensors in a released file outside the blocks, with alternatives in braces.
TENSORS = (
    "backbone.{patch_embed,extra_patch_embed}.{projection,norm}.{weight,bias}",
    "backbone.stages.{0,1,2}.downsample.{norm.weight,norm.bias,reduction.weight}",
    "backbone.{norm,extra_norm,fuse_norm}{0,1,2,3}.{weight,bias}",
    "backbone.MPGBlocks.{0,1,2,3}.{D_fc1,D_fc2,P_fc2,U_fc1}.{weight,bias}",
    "backbone.MPGBlocks.{0,1,2,3}.tfts_{gamma,beta}_{rgb,dte}",
    "backbone.DeformMPGBlocks.{0,1,2,3}.{D_fc1,D_fc2,U_fc1}.{weight,bias}",
    "backbone.DeformMPGBlocks.{0,1,2,3}.deform_atten.conv_offset_{x,y}.{0,1.norm}.{weight,bias}",
    "backbone.DeformMPGBlocks.{0,1,2,3}.deform_atten.conv_offset_{x,y}.3.weight",
    "backbone.DeformMPGBlocks.{0,1,2,3}.deform_atten.fuse_q.conv.{0,1}.{weight,bias}",
    "backbone.DeformMPGBlocks.{0,1,2,3}.deform_atten.fuse_q.conv.1.{running_mean,running_var}",
    "backbone.DeformMPGBlocks.{0,1,2,3}.deform_atten.fuse_q.conv.1.num_batches_tracked",
    "backbone.DeformMPGBlocks.{0,1,2,3}.deform_atten.proj_{q,k,v,out}.{weight,bias}",
    "backbone.DeformMPGBlocks.{0,1,2,3}.deform_atten.get_sample_weight.{0,2}.{weight,bias}",
    "backbone.DeformMPGBlocks.{0,1,2,3}.deform_atten.{rpe_table,deform_weight,identity_weight}",
    "decode_head{,_rgb,_dte}.linear_c{1,2,3,4}.proj.{weight,bias}",
    "decode_head{,_rgb,_dte}.linear_fuse.{conv.weight,bn.weight,bn.bias}",
    "decode_head{,_rgb,_dte}.linear_fuse.bn.{running_mean,running_var,num_batches_tracked}",
    "decode_head{,_rgb,_dte}.linear_pred.{weight,bias}",
)
BLOCK_TENSORS = (
    "{norm1,norm2,attn.w_msa.qkv,attn.w_msa.proj,ffn.layers.0.0,ffn.layers.1}.{weight,bias}",
    "attn.w_msa.relative_position_bias_table",
    "{MLP_RGB_Adapter,MLP_DTE_Adapter}.{D_fc1,D_fc2}.{weight,bias}",
)
RECOMPUTED = ("relative_position_index", "attn_mask")

# Applied in order, these rules translate an official name to ours.
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
UNNAMED: tuple[str, Modality, None] = ("", "other", None)
WRAPPERS = ("model_state_dict", "state_dict", "model")


def _expand(template: str) -> list[str]:
    """Expand a template such as `proj_{q,k}.{weight,bias}`."""
    parts = re.split(r"\{(.*?)\}", template)
    return ["".join(chosen) for chosen in itertools.product(*(part.split(",") for part in parts))]


def official_names(depths: tuple[int, ...]) -> list[str]:
    """Names of all tensors in a released file with these depths, without recomputed buffers."""
    blocks = [f"backbone.stages.{i}.blocks.{j}." for i, depth in enumerate(depths) for j in range(depth)]
    templates = [*TENSORS, *(block + template for block in blocks for template in BLOCK_TENSORS)]
    return [name for template in templates for name in _expand(template)]


def our_name(official: str) -> str:
    """Translate an official tensor name; names without a rule are returned unchanged."""
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
        if name.endswith(RECOMPUTED):
            continue
        if re.search(r"\.downsample\.(norm\.(weight|bias)|reduction\.weight)$", name):
            if tensor.ndim == 0 or tensor.shape[-1] % 4:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}; its last axis must be 4·C.")
            tensor = merge_order_to_timm(tensor)
        ours[our_name(name)] = tensor
    return ours


def read_pth(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a `.pth` file, unwrapped and without the prefix `module.`.

    Raises:
        ValueError: the file is missing, truncated or foreign, or its pickle contains code.
    """
    path = Path(path)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"{path} {found}. Give the path of a downloaded .pth checkpoint.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged archives and pickles raise many types of exceptions
        raise ValueError(_why_unreadable(path, error)) from error
    for wrapper in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
            break
    pairs = loaded.items() if isinstance(loaded, dict) else ()
    if not pairs or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in pairs):
        places = ", ".join(WRAPPERS[:2])
        raise ValueError(
            f"{path} holds no state dict: expected tensors by name, at the top or under {places}."
        )
    state = {name.removeprefix("module."): tensor.detach() for name, tensor in loaded.items()}
    if len(state) != len(loaded):
        raise ValueError(f"{path} has tensors both with and without the prefix 'module.'; keep one of them.")
    _require_whole(path, state)
    return state


def _why_unreadable(path: Path, error: Exception) -> str:
    if code := re.search(r"GLOBAL (\S+)", str(error)):
        return (
            f"{path} is not a plain checkpoint of tensors and was refused, because loading it could run code "
            f"({code[1]}). Save it again with torch.save(model.state_dict(), …)."
        )
    with open(path, "rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return f"{path} is a web page, not a checkpoint: download the file itself."
    return f"{path} cannot be read as a PyTorch checkpoint: damaged, cut short or no .pth. Download it again."


def _require_whole(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raise a ValueError for tensors that are not dense CPU tensors or claim more values than are stored."""
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            kind = f"{tensor.dtype}, {tensor.layout}, on {tensor.device}"
            raise ValueError(f"{path}: {name} is not a plain tensor ({kind}). Save it as a dense CPU tensor.")
    storages = (tensor.untyped_storage() for tensor in state.values())
    stored = sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if claimed > stored:
        raise ValueError(
            f"{path} stores {stored:,} bytes, but its tensors claim {claimed:,}. Save whole copies of them."
        )


def infer_config(
    state: Mapping[str, Tensor],
    name: str = "official",
    dataset: str | None = None,
    modality: Modality | None = None,
) -> ModelConfig:
    """Infer all widths, head counts, the window and K from official tensor shapes.

    Args:
        dataset: key in `ktb.labels.DATASETS` instead of the one inferred from K; "" for unnamed classes.
        modality: of X, instead of that of the dataset's released model.

    Raises:
        ValueError: naming tensors that are missing, unexpected or of an impossible shape, or the dataset has
            another number of classes.
    """
    depths = _checked_depths(state)
    block, fusion = "backbone.stages.{}.blocks.0.", "backbone.DeformMPGBlocks.{}."

    def per_level(template: str, ndim: int, axis: int = 0) -> tuple[int, ...]:
        return tuple(_shape(state, template.format(level), ndim)[axis] for level in range(LEVELS))

    dscf_ranks = per_level(fusion + "D_fc1.weight", 2)
    group_dims = per_level(fusion + "deform_atten.conv_offset_x.0.weight", 4)
    table_rows = _shape(state, block.format(0) + "attn.w_msa.relative_position_bias_table", 2)[0]
    heads = ("decode_head", "decode_head_rgb", "decode_head_dte")
    num_classes = _shape(state, "decode_head.linear_pred.weight", 4)[0]
    labels = _labels(num_classes, dataset)
    dataset = labels.name if labels.name in DATASETS else ""
    _, released_modality, short_side = RELEASED[num_classes] if dataset else UNNAMED
    modality = modality or released_modality
    encoding = (DEFAULT_ENCODINGS | {"depth": "image"}).get(
        modality, "image"
    )  # SUN's depth is stored as an image
    fields = {"encoding": encoding} | dict(DATASET_INPUTS.get((dataset, modality), {}))
    inputs = InputConfig(modality=modality, short_side=short_side, **fields)
    try:
        return ModelConfig(
            name=name,
            backbone=SwinConfig(
                embed_dim=_shape(state, "backbone.patch_embed.projection.weight", 4)[0],
                depths=depths,
                num_heads=per_level(block + "attn.w_msa.relative_position_bias_table", 2, axis=1),
                window_size=(math.isqrt(table_rows) + 1) // 2,
                adapter_ranks=per_level(block + "MLP_RGB_Adapter.D_fc1.weight", 2),
            ),
            fusion=FusionConfig(
                mapa_ranks=per_level("backbone.MPGBlocks.{}.D_fc1.weight", 2),
                dscf_ranks=dscf_ranks,
                num_heads=per_level(fusion + "deform_atten.rpe_table", 3),
                groups=tuple(rank // dim for rank, dim in zip(dscf_ranks, group_dims)),
            ),
            num_classes=num_classes,
            classes=labels.classes,
            palette=labels.palette,
            dataset=dataset,
            head_dims=tuple(_shape(state, f"{head}.linear_fuse.bn.weight", 1)[0] for head in heads),
            inputs=inputs,
        )
    except ValueError as error:
        raise ValueError(f"the tensors' shapes describe no possible network: {error}") from error


def _checked_depths(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Blocks per stage; ValueError unless the names are exactly those of a released file."""
    pattern = r"backbone\.stages\.{}\.blocks\.(\d+)\."
    found = [{m[1] for n in state if (m := re.match(pattern.format(i), n))} for i in range(LEVELS)]
    depths = tuple(max(1, len(numbers)) for numbers in found)
    expected = official_names(depths)
    missing = [name for name in expected if name not in state]
    unexpected = sorted({name for name in state if not name.endswith(RECOMPUTED)} - set(expected))
    if missing or unexpected:
        parts = [("missing", missing), ("unexpected", unexpected)]
        listed = [f"{len(n)} {what}: {'; '.join(n[:4])}{' …' * (len(n) > 4)}" for what, n in parts if n]
        raise ValueError(f"the tensors are not those of a released KTB checkpoint. {' | '.join(listed)}")
    return depths


def _labels(num_classes: int, dataset: str | None) -> DatasetLabels:
    if dataset is None:
        dataset = RELEASED.get(num_classes, UNNAMED)[0]
    if not dataset:
        return generic_labels(num_classes)
    if dataset not in DATASETS:
        raise ValueError(f"dataset {dataset!r} is not known; choose one of {', '.join(DATASETS)}.")
    labels = DATASETS[dataset]
    if labels.num_classes != num_classes:
        raise ValueError(
            f"dataset {dataset!r} has {labels.num_classes} classes, but the file's heads predict "
            f'{num_classes}. Leave it out to take the one that fits, or give "" for unnamed classes.'
        )
    return labels


def _shape(state: Mapping[str, Tensor], name: str, ndim: int) -> tuple[int, ...]:
    shape = tuple(state[name].shape)
    if len(shape) != ndim or 0 in shape:
        raise ValueError(f"{name} has shape {shape}; expected {ndim} axes, none of them empty.")
    return shape
