"""Safetensors files with metadata and a checksum: atomic writing, strict reading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import save_file
from torch import Tensor

from ktb.checkpoints.metadata import opened
from ktb.config import ModelConfig
from ktb.modeling.build import build_model
from ktb.modeling.layers import require_matching
from ktb.modeling.model import KTB
from ktb.utils.files import write_atomically

_TYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I64": torch.int64,
        "I32": torch.int32,
        "U8": torch.uint8,
        "BOOL": torch.bool,
    }
)
"""Safetensors names of the supported dtypes."""
CHECKSUM = "sha256"
"""Metadata key of `contents_sha256`."""
_LENGTH_BYTES = 8  # a safetensors file starts with the length of its header


def write(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping, dtype: torch.dtype) -> None:
    """Write a file atomically, with a checksum of its tensors and metadata.

    Args:
        metadata: strings are stored unchanged, other values as JSON.
        dtype: floating-point tensors are stored in this type.

    Raises:
        ValueError: a tensor, which is named, has values that are not finite or overflow the dtype.
    """
    path = Path(path)
    stored = {
        name: (t.to(dtype) if t.is_floating_point() else t).contiguous().cpu() for name, t in tensors.items()
    }
    _require_finite(stored, f"the tensors as {dtype}")
    texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in metadata.items()}
    texts[CHECKSUM] = contents_sha256(texts, stored)
    path.parent.mkdir(parents=True, exist_ok=True)

    def fill_file(temporary: Path) -> None:
        save_file(stored, temporary, metadata=texts)
        temporary.chmod(0o644)  # safetensors lets only its owner read it

    write_atomically(path, fill_file)


def read(path: str | Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read the metadata and tensors of a safetensors file and verify its checksum, if it has one.

    The tensors are copies in memory allocated by torch. With safetensors' memory mapping, another program
    that overwrites the file would change the tensors, and one that truncates it would crash this process.

    Raises:
        ValueError: the file is missing, damaged or of another format.
    """
    path = Path(path)
    with opened(path, "numpy") as header, path.open("rb") as file:
        file.seek(_LENGTH_BYTES + int.from_bytes(file.read(_LENGTH_BYTES), "little"))
        state = {}
        for name in header.offset_keys():  # in file order, without gaps
            entry = header.get_slice(name)
            if entry.get_dtype() not in _TYPES:
                raise ValueError(f"{path}: {name} has the type {entry.get_dtype()}, which no KTB file has.")
            tensor = torch.empty(entry.get_shape(), dtype=_TYPES[entry.get_dtype()])
            if file.readinto(_bytes(tensor)) != tensor.nbytes:
                raise ValueError(f"{path} was changed while it was read; load it again.")
            state[name] = tensor
        metadata = dict(header.metadata() or {})
    expected = metadata.pop(CHECKSUM, None)
    if expected is not None and (found := contents_sha256(metadata, state)) != expected:
        raise ValueError(
            f"{path} is damaged: its contents have sha256 {found}, but it says {expected}. Download or write "
            f"it again."
        )
    return metadata, state


def contents_sha256(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a file's contents as 64 hexadecimal digits, independent of the order of names.

    The hash covers the JSON of the other metadata with sorted keys, then each contiguous CPU tensor by name:
    a line "NAME TYPE SHAPE" and its bytes.
    """
    digest = hashlib.sha256()
    for part in _contents(metadata, tensors):
        digest.update(part)
    return digest.hexdigest()


def _contents(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    others = {key: text for key, text in metadata.items() if key != CHECKSUM}
    yield json.dumps(others, sort_keys=True).encode() + b"\n"
    for name, tensor in sorted(tensors.items()):
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode()
        yield _bytes(tensor)


def build_for_state(config: ModelConfig, state: Mapping[str, Tensor], path: Path) -> KTB:
    """Build the network of a configuration; ValueError, before allocation, if there are too few values."""
    least, found = config.weight_count(), sum(tensor.numel() for tensor in state.values())
    if found < least:
        raise ValueError(
            f"the tensors of {path.name} do not fit the network: it has more than {least:,} weights, "
            f"the file {found:,} values."
        )
    return build_model(config)


@torch.no_grad()
def load_strict(
    model: KTB,
    state: Mapping[str, Tensor],
    path: Path,
    part: Callable[[str], bool] = lambda name: True,
) -> None:
    """Copy a file's tensors into the network, or into the submodules whose names `part` accepts.

    Raises:
        ValueError: naming tensors that are missing, unexpected, not finite, or mismatched in shape or kind.
    """
    what = f"the tensors of {path.name}"
    own = {name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if part(name)}
    require_matching(own, state, what)
    wrong = [
        f"{n} is {t.dtype}" for n, t in state.items() if t.is_floating_point() != own[n].is_floating_point()
    ]
    if wrong:
        raise ValueError(f"{what} are of another kind: {'; '.join(wrong[:5])}.")
    _require_finite(state, what)
    for name, tensor in own.items():
        tensor.copy_(state[name])


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor as bytes."""
    return memoryview(tensor.view(-1).view(torch.uint8).numpy())


def _require_finite(state: Mapping[str, Tensor], what: str) -> None:
    if infinite := [name for name, tensor in state.items() if not _finite(tensor)]:
        raise ValueError(f"{what} are not all finite numbers: {'; '.join(infinite[:5])}.")


def _finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    tensor = tensor.float()
    return bool(tensor.sum().isfinite()) or bool(
        tensor.isfinite().all()
    )  # the sum alone is many times faster than a test of every value
