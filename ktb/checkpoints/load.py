"""Saving and loading models; the format is safetensors with the configuration and the card as metadata."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ktb.checkpoints.adapters import load_adapter
from ktb.checkpoints.files import build_for_state, load_strict, read, write
from ktb.checkpoints.metadata import FORMAT, OFFICIAL_SUFFIXES, is_adapter_file, parse_metadata
from ktb.checkpoints.official import RECOMPUTED, infer_config, our_name, read_pth, to_ours
from ktb.checkpoints.registry import resolve
from ktb.checkpoints.remote import Progress
from ktb.modeling.device import AUTO, choose_device
from ktb.modeling.layers import require_matching
from ktb.modeling.model import KTB

_log = logging.getLogger(__name__)


def save_model(
    path: str | Path, model: KTB, card: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Save weights, configuration and card to a file, atomically.

    Args:
        dtype: storage dtype of floating-point tensors, e.g. torch.float16 to halve the file.

    Raises:
        ValueError: a tensor, which is named, has values that are not finite or overflow the dtype.
    """
    metadata = {"format": FORMAT, "config": model.config.to_dict(), "card": dict(card)}
    write(path, model.state_dict(), metadata, dtype)


def load_model(
    name_or_file: str | Path,
    device: str | torch.device = AUTO,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> KTB:
    """Load a model in evaluation mode with float32 weights; its card is the attribute `card`.

    The file is copied into memory, so later changes of the file do not affect the model. An adapter file is
    loaded with its pretrained backbone if that is on this machine; see
    `ktb.checkpoints.adapters.load_adapter`.

    Args:
        name_or_file: a built-in model, an imported model of the authors (`python -m ktb zoo`), a KTB
            `.safetensors` file, an official `.pth` file, or `hf://ORG/NAME[/FILE]@REVISION` on the Hugging
            Face hub, which is kept in the cache of huggingface_hub.
        device: a device of torch, or "auto": a CUDA GPU that works, else Apple's MPS if it gives the CPU's
            results, else the CPU (`ktb.modeling.device.choose_device`).
        sha256: the expected SHA-256 of the file.
        progress: called with a `ktb.checkpoints.remote.Transfer` during a download.

    Raises:
        ValueError: the name is unknown, the file is damaged or foreign, tensors, which are named, do not
            match, the download failed, or the device cannot be used.
    """
    path = resolve(name_or_file, sha256, progress)
    choice = choose_device(device)
    _log.debug("%s is loaded on %s", path.name, choice)
    device = choice.device
    if path.suffix in OFFICIAL_SUFFIXES:
        return load_official(path).to(device)
    if is_adapter_file(path):
        return load_adapter(path, device=device)
    metadata, state = read(path)
    config, card = parse_metadata(path, metadata)
    model = build_for_state(config, state, path)
    load_strict(model, state, path)
    model.card = card
    return model.to(device)


def load_official(path: str | Path, name: str | None = None, **overrides: Any) -> KTB:
    """Load a released `.pth` file.

    `overrides` and errors are those of `ktb.checkpoints.official.infer_config`.
    """
    return from_official(read_pth(path), Path(path), name, **overrides)


def from_official(state: Mapping[str, Tensor], path: Path, name: str | None = None, **overrides: Any) -> KTB:
    """The model of a released file's tensors, as in `load_official`; `path` is the file."""
    official = {n: t for n, t in state.items() if not n.endswith(RECOMPUTED)}
    config = infer_config(official, name=name or path.stem, **overrides)
    model = build_for_state(config, official, path)
    own = model.state_dict()
    require_matching(
        {name: own[our_name(name)] for name in official}, official, f"the tensors of {path.name}"
    )
    load_strict(model, to_ours(official), path)
    model.card = {
        "name": config.name,
        "origin": "converted from a checkpoint released by the authors of Keep the Balance (CVPR 2025)",
        "source_file": path.name,
        "data": config.dataset or "unknown",
        "figures": "not measured by us; see the paper for published ones",
    }
    return model
