"""Save and load: our format is safetensors with the configuration and the card inside."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ktb.build import build_model
from ktb.config import ModelConfig
from ktb.layers import require_matching
from ktb.model import KTB
from ktb.official import RECOMPUTED, infer_config, our_name, read_pth, to_ours

FORMAT = "ktb-1"
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
    path = Path(path)
    tensors = {
        name: (t.to(dtype) if t.is_floating_point() else t).contiguous().cpu()
        for name, t in model.state_dict().items()
    }
    _require_finite(tensors, f"the tensors as {dtype}")
    metadata = {
        "format": FORMAT,
        "config": json.dumps(model.config.to_dict()),
        "card": json.dumps(dict(card)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        save_file(tensors, temporary, metadata=metadata)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_header(path: str | Path) -> tuple[ModelConfig, dict[str, Any]]:
    """Configuration and card of one of our files, its tensors unread; ValueError if it is not ours."""
    with _opened(path) as file:
        return _parse_metadata(path, file.metadata())


def parameter_count(path: str | Path) -> int:
    """Number of parameters in one of our files, without reading them; ValueError if it is damaged."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    with _opened(path) as file:
        shapes = [file.get_slice(n).get_shape() for n in file.keys() if not n.endswith(statistics)]  # noqa: SIM118
    return sum(math.prod(shape) for shape in shapes)


def load_model(name_or_file: str | Path, device: str | torch.device = "cpu") -> KTB:
    """Load a built-in model, one of our `.safetensors` files or an official `.pth`, in evaluation mode.

    The card is on the result as `.card`. Weights become float32.

    Raises:
        ValueError: for an unknown name, a damaged or foreign file, or tensors that do not fit, by name.
    """
    path = resolve(name_or_file)
    if path.suffix in (".pth", ".pt", ".bin"):
        return load_official(path).to(device)
    with _opened(path) as file:
        config, card = _parse_metadata(path, file.metadata())
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    model = _built(config, state, path)
    require_matching(model.state_dict(), state, f"the tensors of {path.name}")
    _fill(model, state, path)
    model.card = card
    return model.to(device)


def load_official(path: str | Path, name: str | None = None, **overrides: Any) -> KTB:
    """Load a released `.pth`; `overrides` are those of `ktb.official.infer_config`. ValueError as there."""
    path = Path(path)
    official = {n: t for n, t in read_pth(path).items() if not n.endswith(RECOMPUTED)}
    config = infer_config(official, name=name or path.stem, **overrides)
    model = _built(config, official, path)
    own = model.state_dict()
    require_matching(
        {name: own[our_name(name)] for name in official}, official, f"the tensors of {path.name}"
    )
    _fill(model, to_ours(official), path)
    model.card = {
        "name": config.name,
        "origin": "converted from a checkpoint released by the authors of Keep the Balance (CVPR 2025)",
        "source_file": path.name,
        "data": config.dataset or "unknown",
        "figures": "not measured by us; see the paper for published ones",
    }
    return model


def _built(config: ModelConfig, state: Mapping[str, Tensor], path: Path) -> KTB:
    """The network of a configuration; ValueError, before it takes memory, if the file is too small for it."""
    least, found = config.weight_count(), sum(tensor.numel() for tensor in state.values())
    if found < least:
        raise ValueError(
            f"the tensors of {path.name} do not fit the network: it has more than {least:,} weights, "
            f"the file {found:,} values."
        )
    return build_model(config)


def _fill(model: KTB, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors whose names and shapes fit; ValueError if they are of another kind or not finite."""
    own = model.state_dict()
    wrong = [
        f"{n} is {t.dtype}" for n, t in state.items() if t.is_floating_point() != own[n].is_floating_point()
    ]
    if wrong:
        raise ValueError(f"the tensors of {path.name} are of another kind: {'; '.join(wrong[:5])}.")
    _require_finite(state, f"the tensors of {path.name}")
    model.load_state_dict(state)


def _require_finite(state: Mapping[str, Tensor], what: str) -> None:
    if infinite := [name for name, tensor in state.items() if not _finite(tensor)]:
        raise ValueError(f"{what} are not all finite numbers: {'; '.join(infinite[:5])}.")


def _finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    tensor = tensor.float()
    return bool(tensor.sum().isfinite()) or bool(
        tensor.isfinite().all()
    )  # the sum alone is many times faster


def _opened(path: str | Path):
    if not os.path.isfile(path):
        found = "is a folder" if os.path.isdir(path) else "does not exist"
        raise ValueError(f"{path} {found}. Give the path of a .safetensors file.")
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as a safetensors file ({error}). It is damaged, cut short or of another "
            f"format: download or write it again."
        ) from error


def _parse_metadata(
    path: str | Path, metadata: Mapping[str, str] | None
) -> tuple[ModelConfig, dict[str, Any]]:
    found = metadata or {}
    if found.get("format") != FORMAT or "config" not in found:
        raise ValueError(
            f"{path} is a safetensors file, but not a KTB model: its metadata has format "
            f"{found.get('format')!r}, expected {FORMAT!r}. Convert official files with "
            f"`python -m ktb import-official IN.pth OUT.safetensors`."
        )
    try:
        config, card = ModelConfig.from_dict(json.loads(found["config"])), json.loads(found.get("card", "{}"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} has damaged metadata ({error}); write the file again.") from error
    if not isinstance(card, dict):
        raise ValueError(f"{path} has damaged metadata (the card is no object); write the file again.")
    return config, card
