"""Adapter files: the tensors added to a pretrained backbone, less than a tenth of a large model's file.

An adapter file is a safetensors file of all tensors outside the pretrained network
(`ktb.modeling.model.is_pretrained`): X embedding, adapters, prompts, fusion, heads, their statistics, and
the output norms. Its metadata has the format "ktb-adapter-1", the configuration and card of a whole file,
and `backbone`: the pretrained network's `name` in timm, null if timm has none of these widths, and the
`sha256` of its tensors (`frozen_sha256`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ktb.checkpoints.files import build_for_state, load_strict, read, write
from ktb.checkpoints.metadata import ADAPTER_FORMAT, FORMAT, file_format, opened, parse_metadata
from ktb.checkpoints.pretrained import is_at_hand, read_pretrained, usual_name
from ktb.config import ModelConfig
from ktb.modeling.device import AUTO, choose_device
from ktb.modeling.model import KTB, is_pretrained

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BackboneReference:
    """Reference to the pretrained network of an adapter file: timm's name, if any, and `frozen_sha256`."""

    name: str | None
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str | None):
            raise ValueError(f"name is {self.name!r}; expected text or null.")
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 is {self.sha256!r}; expected 64 hexadecimal digits.")

    @property
    def shown(self) -> str:
        """The reference as text for messages."""
        return f"{self.name or 'widths that timm does not have'}, sha256 {self.sha256[:12]}…"


def frozen_sha256(model: KTB) -> str:
    """SHA-256 of the pretrained tensors, equal for float32 and float16 copies of the same weights.

    The hash covers floating-point tensors in the order of their names, each as a line "NAME (SHAPE)" and its
    values rounded to little-endian float16. Integers (batch counters) have no effect and are excluded.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if is_pretrained(name) and tensor.is_floating_point():
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.to("cpu", torch.float16).numpy().astype("<f2", copy=False).tobytes())
    return digest.hexdigest()


def save_adapter(
    path: str | Path, model: KTB, card: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Save a model without its pretrained network; arguments and errors as for `ktb.save_model`."""
    metadata = {
        "format": ADAPTER_FORMAT,
        "config": model.config.to_dict(),
        "card": dict(card),
        "backbone": asdict(BackboneReference(usual_name(model.config.backbone), frozen_sha256(model))),
    }
    tensors = {name: t for name, t in model.state_dict().items() if not is_pretrained(name)}
    write(path, tensors, metadata, dtype)


def read_reference(path: str | Path) -> BackboneReference:
    """The backbone reference of an adapter file; ValueError for a whole model, a foreign or damaged file."""
    return _read_metadata(Path(path))[2]


def load_adapter(
    path: str | Path,
    backbone: str | Path | Literal[True] | None = None,
    device: str | torch.device = AUTO,
) -> KTB:
    """Load an adapter file with its pretrained backbone as a model in evaluation mode.

    Args:
        backbone: a whole KTB model file on the same backbone, or pretrained weights in one of the layouts of
            `ktb.checkpoints.pretrained`; True uses their default source, None too, but only if they are on
            this machine.
        device: as for `ktb.load_model`.

    Raises:
        ValueError: the file is damaged, foreign or a whole model, tensors do not match, or the backbone is
            missing or has another `frozen_sha256`.
    """
    path = Path(path)
    config, card, reference = _read_metadata(path)
    _, added = read(path)
    if backbone is None and not is_at_hand(config.backbone):
        raise ValueError(
            f"{path} is an adapter file: it needs its pretrained backbone ({reference.shown}), which is not "
            f"on this machine. Make a whole model with `python -m ktb merge {path.name} OUT.safetensors`, "
            f"which downloads the backbone if it can, or takes it from --backbone FILE."
        )
    source = None if backbone is None or backbone is True else Path(backbone)
    if source and source.suffix == ".safetensors" and (kind := file_format(source)):
        if kind == ADAPTER_FORMAT:
            raise ValueError(
                f"{source} is an adapter file and has no backbone; give a whole model file or pretrained "
                f"weights."
            )
        origin, model = source.name, _with_frozen_of(source, config, added)
    else:
        pretrained, origin = read_pretrained(config.backbone, source)
        model = build_for_state(config, {**pretrained, **added}, path)
        model.backbone.load_timm(pretrained)
    if (found := frozen_sha256(model)) != reference.sha256:
        raise ValueError(
            f"{path.name} was trained on another backbone than {origin}: expected frozen tensors with "
            f"sha256 {reference.sha256}, found {found}. Give the weights that it was trained on "
            f"({reference.shown}), or a whole model file that has them, in float32 or float16 alike; "
            f"bfloat16 is too coarse."
        )
    load_strict(model, added, path, part=lambda name: not is_pretrained(name))
    log.info("%s completed with the backbone of %s", path.name, origin)
    model.card = card
    return model.to(choose_device(device).device)


def _with_frozen_of(source: Path, config: ModelConfig, added: Mapping[str, Tensor]) -> KTB:
    """A network with the pretrained tensors of a whole model file; other tensors are initial."""
    _, state = read(source)
    frozen = {name: tensor for name, tensor in state.items() if is_pretrained(name)}
    model = build_for_state(config, {**frozen, **added}, source)
    load_strict(model, frozen, source, part=is_pretrained)
    return model


def _read_metadata(path: Path) -> tuple[ModelConfig, dict[str, Any], BackboneReference]:
    with opened(path) as file:
        metadata = file.metadata()
    config, card = parse_metadata(path, metadata)
    if metadata["format"] == FORMAT:
        raise ValueError(f"{path} is a whole model, not an adapter file; load it as it is.")
    try:
        reference = BackboneReference(**json.loads(metadata.get("backbone", "{}")))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} has damaged metadata (the backbone's name and sha256: {error}); write the file again."
        ) from error
    return config, card, reference
