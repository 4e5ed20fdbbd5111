"""Writing of a model file again with a changed configuration or card and the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ktb.checkpoints.files import read, write
from ktb.checkpoints.metadata import parse_metadata
from ktb.config import ModelConfig


def rewrite(
    source: str | Path,
    target: str | Path,
    config: ModelConfig | None = None,
    card: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a KTB file again, whole or adapter, with the bits of its weights and the type they are stored in.

    Args:
        source, target: the files; they may be the same.
        config, card: replacements; None keeps those of the file.
        tensors: further tensors, which replace those of the same names.

    Raises:
        ValueError: the source is damaged or no KTB file, or a tensor has values that are not finite.
    """
    source = Path(source)
    metadata, state = read(source)
    old_config, old_card = parse_metadata(source, metadata)
    stored = {t.dtype for t in state.values() if t.is_floating_point()}
    dtype = stored.pop() if len(stored) == 1 else torch.float32
    changed = {
        "config": (config or old_config).to_dict(),
        "card": dict(old_card if card is None else card),
    }
    write(target, {**state, **(tensors or {})}, {**metadata, **changed}, dtype)
