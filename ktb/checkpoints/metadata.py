"""Metadata of model files, read without the tensors and without torch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from ktb.config import ModelConfig

FORMAT = "ktb-1"
ADAPTER_FORMAT = "ktb-adapter-1"
FORMATS = (FORMAT, ADAPTER_FORMAT)
OFFICIAL_SUFFIXES = (".pth", ".pt", ".bin")  # files of other names are read as safetensors


def opened(path: str | Path, framework: Literal["pt", "numpy"] = "pt"):
    """Open a safetensors file as a context manager; ValueError if it cannot be read as one.

    Args:
        framework: of the returned tensors; "numpy" avoids importing torch.
    """
    if not os.path.isfile(path):
        found = "is a folder" if os.path.isdir(path) else "does not exist"
        raise ValueError(f"{path} {found}. Give the path of a .safetensors file.")
    try:
        return safe_open(path, framework=framework, device="cpu")
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as a safetensors file ({error}). It is damaged, cut short or of another "
            f"format: download or write it again."
        ) from error


def file_format(path: str | Path) -> str | None:
    """The format in `FORMATS` of a safetensors file, None if foreign; ValueError if it is damaged."""
    with opened(path, "numpy") as file:
        found = (file.metadata() or {}).get("format")
    return found if found in FORMATS else None


def is_adapter_file(path: Path) -> bool:
    """Whether a model file is an adapter file; ValueError if it is damaged."""
    return path.suffix not in OFFICIAL_SUFFIXES and file_format(path) == ADAPTER_FORMAT


def parse_metadata(
    path: str | Path, metadata: Mapping[str, str] | None
) -> tuple[ModelConfig, dict[str, Any]]:
    """Configuration and card from the metadata of a KTB file; ValueError for a foreign or damaged one."""
    found = metadata or {}
    if found.get("format") not in FORMATS or "config" not in found:
        raise ValueError(
            f"{path} is a safetensors file, but not a KTB model: its metadata has format "
            f"{found.get('format')!r}, expected {' or '.join(map(repr, FORMATS))}. Convert official files "
            f"with `python -m ktb import-official IN.pth OUT.safetensors`."
        )
    try:
        config, card = ModelConfig.from_dict(json.loads(found["config"])), json.loads(found.get("card", "{}"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} has damaged metadata ({error}); write the file again.") from error
    if not isinstance(card, dict):
        raise ValueError(f"{path} has damaged metadata (the card is no object); write the file again.")
    return config, card


def read_header(path: str | Path) -> tuple[ModelConfig, dict[str, Any]]:
    """Configuration and card of a KTB file, without its tensors; ValueError for another file."""
    with opened(path, "numpy") as file:
        return parse_metadata(path, file.metadata())


def parameter_count(path: str | Path) -> int:
    """Number of parameters in a KTB file, without reading the tensors; ValueError if it is damaged."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    with opened(path, "numpy") as file:
        names = [n for n in file.keys() if not n.endswith(statistics) and not n.startswith("domain.")]  # noqa: SIM118
        shapes = [file.get_slice(name).get_shape() for name in names]
    return sum(math.prod(shape) for shape in shapes)
