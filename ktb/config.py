"""Frozen model configuration: everything that is needed to build a network and to prepare its inputs."""

from __future__ import annotations

import dataclasses
import types
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Modality = Literal["depth", "hha", "thermal", "event", "nir", "dolp", "aolp", "lidar", "other"]
Encoding = Literal["depth", "image"]


@dataclass(frozen=True)
class SwinConfig:
    """Frozen Swin with one adapter per stream and block (reference section 2)."""

    kind: Literal["swin"] = "swin"
    embed_dim: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    num_heads: tuple[int, ...] = (4, 8, 16, 32)
    window_size: int = 12
    adapter_ranks: tuple[int, ...] = (8, 16, 32, 64)
    drop_path: float = 0.3

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of the tokens that enter each stage's blocks."""
        return tuple(self.embed_dim * 2**i for i in range(4))

    @property
    def feature_dims(self) -> tuple[int, ...]:
        """Channels of each stage's output."""
        return self.stage_dims


@dataclass(frozen=True)
class LiteConfig:
    """Frozen timm tf_efficientnet_lite0 with adapters parallel to its residual blocks."""

    kind: Literal["lite"] = "lite"
    adapter_ranks: tuple[int, ...] = (24, 40, 64, 96)
    stage_dims: tuple[int, ...] = (24, 40, 80, 192)
    feature_dims: tuple[int, ...] = (24, 40, 112, 320)


@dataclass(frozen=True)
class FusionConfig:
    """Widths of MAPA and of DSCF per level (reference sections 3 and 4)."""

    mapa_ranks: tuple[int, ...]
    dscf_ranks: tuple[int, ...]
    num_heads: tuple[int, ...] = (2, 4, 8, 16)
    groups: tuple[int, ...] = (1, 2, 4, 8)
    strides: tuple[int, ...] = (8, 4, 2, 1)

    def __post_init__(self):
        for level, (rank, heads, groups) in enumerate(zip(self.dscf_ranks, self.num_heads, self.groups)):
            if rank % heads or heads % groups:
                raise ValueError(
                    f"DSCF level {level}: rank {rank} must be a multiple of num_heads {heads}, "
                    f"and num_heads a multiple of groups {groups}. Choose a rank such as {heads * 8}."
                )


@dataclass(frozen=True)
class InputConfig:
    """How arrays become network inputs; values are on the 0..1 scale, in RGB order."""

    rgb_mean: tuple[float, ...] = IMAGENET_MEAN
    rgb_std: tuple[float, ...] = IMAGENET_STD
    x_mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    x_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    modality: Modality = "other"
    encoding: Encoding = "image"
    max_metres: float = 10.0  # depth that becomes 1.0, for encoding "depth"
    short_side: int | None = None  # images are resized so that their shorter side has this many pixels


@dataclass(frozen=True)
class ModelConfig:
    """One network: backbone, fusion, heads, classes and inputs."""

    name: str
    backbone: SwinConfig | LiteConfig
    fusion: FusionConfig
    num_classes: int
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    dataset: str = ""
    head_dims: tuple[int, int, int] = (512, 256, 256)  # fused, rgb, x
    inputs: InputConfig = field(default_factory=InputConfig)

    def __post_init__(self):
        for what, values in (("classes", self.classes), ("palette", self.palette)):
            if len(values) != self.num_classes:
                raise ValueError(
                    f"{what} has {len(values)} entries, but num_classes is {self.num_classes}; "
                    f"give one entry per class."
                )

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary that JSON can hold; `from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> ModelConfig:
        """Build a configuration, rejecting unknown, missing and wrongly typed keys by name (ValueError)."""
        return _parse(ModelConfig, values, "configuration")


def _parse(kind: Any, value: Any, where: str) -> Any:
    """Turn JSON values into the annotated types, with the key's path in every message."""
    if kind == SwinConfig | LiteConfig:
        allowed = {"swin": SwinConfig, "lite": LiteConfig}
        chosen = value.get("kind") if isinstance(value, dict) else None
        if chosen not in allowed:
            raise ValueError(f"{where}.kind is {chosen!r}; allowed: {', '.join(allowed)}.")
        kind = allowed[chosen]
    if dataclasses.is_dataclass(kind):
        return _parse_dataclass(kind, value, where)
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} is {value!r}; expected a list.")
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else args
        if len(kinds) != len(value):
            raise ValueError(f"{where} has {len(value)} entries; expected {len(kinds)}.")
        return tuple(_parse(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value)))
    if origin is Literal:
        if value not in args:
            raise ValueError(f"{where} is {value!r}; allowed: {', '.join(map(str, args))}.")
        return value
    expected = args if origin is types.UnionType else (kind,)
    if float in expected and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
        names = " or ".join(t.__name__ for t in expected)
        raise ValueError(f"{where} is {value!r}; expected {names}.")
    return value


def _parse_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}; expected an object.")
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(value) - set(fields)):
        raise ValueError(f"{where} has unknown keys {unknown}; allowed: {sorted(fields)}.")
    no_default = {
        n
        for n, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(no_default - set(value)):
        raise ValueError(f"{where} lacks the keys {missing}.")
    return kind(**{n: _parse(hints[n], v, f"{where}.{n}") for n, v in value.items()})
