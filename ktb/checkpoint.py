"""Save and load: our format is safetensors with the configuration and the card inside."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ktb.adapter_files import load_adapter
from ktb.config import ModelConfig
from ktb.layers import require_matching
from ktb.model import KTB
from ktb.official import RECOMPUTED, infer_config, our_name, read_pth, to_ours
from ktb.storage import FORMAT, OFFICIAL_SUFFIXES, built, fill, is_adapter_file, opened, parse_metadata, write

DEFAULT_MODEL = "ktb-lite-nyuv2-depth"
BUILT_IN_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "checkpoints"


def built_in_models() -> dict[str, Path]:
    """Name and file of every checkpoint that ships with the project."""
    return {path.stem: path for path in sorted(BUILT_IN_FOLDER.glob("*.safetensors"))}


def resolve(name_or_file: str | Path) -> Path:
    """The file behind a built-in name or a path; ValueError listing the names if it is neither."""
    built_in = built_in_models()
    if str(name_or_file) in built_in:
        return built_in[str(name_or_file)]
    if not os.path.isfile(name_or_file):  # unlike Path's, never raises: a name may be anything
        raise ValueError(
            f"there is no model or file {str(name_or_file)!r}. Built-in models: "
            f"{', '.join(built_in) or 'none'}. Or give the path of a .safetensors or official .pth file."
        )
    return Path(name_or_file)


def save_model(
    path: str | Path, model: KTB, card: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Write weights, configuration and card; the file appears whole or not at all.

    Args:
        dtype: floating-point tensors are stored in this type, e.g. torch.float16 to halve the file.

    Raises:
        ValueError: naming a tensor that holds no finite numbers, or none in this type.
    """
    metadata = {"format": FORMAT, "config": model.config.to_dict(), "card": dict(card)}
    write(path, model.state_dict(), metadata, dtype)


def read_header(path: str | Path) -> tuple[ModelConfig, dict[str, Any]]:
    """Configuration and card of one of our files, its tensors unread; ValueError if it is not ours."""
    with opened(path) as file:
        return parse_metadata(path, file.metadata())


def parameter_count(path: str | Path) -> int:
    """Number of parameters in one of our files, without reading them; ValueError if it is damaged."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    with opened(path) as file:
        shapes = [file.get_slice(n).get_shape() for n in file.keys() if not n.endswith(statistics)]  # noqa: SIM118
    return sum(math.prod(shape) for shape in shapes)


def load_model(name_or_file: str | Path, device: str | torch.device = "cpu") -> KTB:
    """Load a built-in model, one of our `.safetensors` files or an official `.pth`, in evaluation mode.

    An adapter file is completed with its pretrained backbone if that is on this machine; see
    `ktb.adapter_files.load_adapter`. The card is on the result as `.card`. Weights become float32.

    Raises:
        ValueError: for an unknown name, a damaged or foreign file, or tensors that do not fit, by name.
    """
    path = resolve(name_or_file)
    if path.suffix in OFFICIAL_SUFFIXES:
        return load_official(path).to(device)
    if is_adapter_file(path):
        return load_adapter(path, device=device)
    with opened(path) as file:
        config, card = parse_metadata(path, file.metadata())
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    model = built(config, state, path)
    fill(model, state, path)
    model.card = card
    return model.to(device)


def load_official(path: str | Path, name: str | None = None, **overrides: Any) -> KTB:
    """Load a released `.pth`; `overrides` are those of `ktb.official.infer_config`. ValueError as there."""
    path = Path(path)
    official = {n: t for n, t in read_pth(path).items() if not n.endswith(RECOMPUTED)}
    config = infer_config(official, name=name or path.stem, **overrides)
    model = built(config, official, path)
    own = model.state_dict()
    require_matching(
        {name: own[our_name(name)] for name in official}, official, f"the tensors of {path.name}"
    )
    fill(model, to_ours(official), path)
    model.card = {
        "name": config.name,
        "origin": "converted from a checkpoint released by the authors of Keep the Balance (CVPR 2025)",
        "source_file": path.name,
        "data": config.dataset or "unknown",
        "figures": "not measured by us; see the paper for published ones",
    }
    return model
