"""Frozen model configuration: everything needed to build a network and to preprocess its inputs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Protocol, get_args

from ktb.modalities import Encoding, Modality, with_dataset_fields
from ktb.utils.lazy import resolve
from ktb.utils.validation import STRICT, OneOf, from_json

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Polarity = Literal["white", "black"]
FusionKind = Literal["dscf", "mean"]
LEVELS = 4
BRANCHES = ("fused", "rgb", "x")
HEADS: Mapping[str, str] = MappingProxyType({"fused": "Fused", "rgb": "RGB head", "x": "X head"})
"""Titles of the branches' heads in figures and tables."""
DOMAIN_CASES = ("rgb", "x", "rgb_alone", "x_alone")
"""Streams whose features a domain check compares: with both sensors, and without the other one."""
UNCALIBRATED = (1.0, 1.0, 1.0)
"""Temperatures that leave the heads' probabilities unchanged."""
MAX_CLASSES = 255  # labels are uint8 and 255 means "ignore"
Stored = Literal["any", "8-bit", "levels", "float"]
"""Numbers of an X file: integers of 8 bits, wider ones (in a float type as well), or fractions."""
TimeUnit = Literal["auto", "s", "ms", "us", "ns"]


class BackboneConfig(Protocol):
    """Fields of a backbone's configuration that the network reads; tuples have one entry per level."""

    kind: str
    adapter_ranks: tuple[int, ...]
    adapters: bool

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of the tokens that enter each stage's blocks."""
        ...

    @property
    def feature_dims(self) -> tuple[int, ...]:
        """Channels of each stage's output."""
        ...

    def weight_count(self) -> int:
        """Lower bound of the number of parameters."""
        ...


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
    adapters: bool = True  # False, for ablations: the blocks have no adapters

    def __post_init__(self) -> None:
        _require_levels(self, "depths", "num_heads", "adapter_ranks")
        _require(self.embed_dim >= 1, f"embed_dim is {self.embed_dim}; it must be at least 1.")
        _require(self.window_size >= 2, f"window_size is {self.window_size}; it must be at least 2.")
        _require(0 <= self.drop_path < 1, f"drop_path is {self.drop_path}; it must be in [0, 1).")
        for level, (dim, heads) in enumerate(zip(self.stage_dims, self.num_heads)):
            _require(
                dim % heads == 0, f"Swin stage {level}: {dim} channels do not divide into {heads} heads."
            )

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of the tokens that enter each stage's blocks."""
        return tuple(self.embed_dim * 2**i for i in range(4))

    @property
    def feature_dims(self) -> tuple[int, ...]:
        """Channels of each stage's output."""
        return self.stage_dims

    def weight_count(self) -> int:
        """Parameters of the blocks' matrices and tables, a lower bound of the backbone's size."""
        table = (2 * self.window_size - 1) ** 2
        return sum(
            depth * (12 * dim**2 + 4 * dim * rank * self.adapters + heads * table)
            for depth, dim, rank, heads in zip(
                self.depths, self.stage_dims, self.adapter_ranks, self.num_heads
            )
        )


LITE_DIMS: Mapping[int, tuple[tuple[int, ...], tuple[int, ...]]] = MappingProxyType(
    {
        0: ((24, 40, 80, 192), (24, 40, 112, 320)),
        1: ((24, 40, 80, 192), (24, 40, 112, 320)),
        2: ((24, 48, 88, 208), (24, 48, 120, 352)),
    }
)
"""Sizes of EfficientNet-Lite: `stage_dims` and `feature_dims`. Lite1 is Lite0 with more blocks."""


@dataclass(frozen=True)
class LiteConfig:
    """Frozen timm tf_efficientnet_lite0, 1 or 2 with adapters parallel to its residual blocks."""

    kind: Literal["lite"] = "lite"
    adapter_ranks: tuple[int, ...] = (24, 40, 64, 96)
    stage_dims: tuple[int, ...] = (24, 40, 80, 192)
    feature_dims: tuple[int, ...] = (24, 40, 112, 320)
    adapters: bool = True  # False, for ablations: the blocks have no adapters
    size: int = 0

    def __post_init__(self) -> None:
        _require_levels(self, "adapter_ranks")
        _require(self.size in LITE_DIMS, f"size of the lite backbone is {self.size}; allowed: 0, 1, 2.")
        for name, fixed in zip(("stage_dims", "feature_dims"), LITE_DIMS[self.size]):  # stored for readers
            found = getattr(self, name)
            _require(found == fixed, f"{name} of the lite backbone is {found}; it must be {fixed}.")

    @staticmethod
    def of_size(size: int) -> LiteConfig:
        """The configuration of EfficientNet-Lite 0, 1 or 2."""
        stage_dims, feature_dims = LITE_DIMS[size]
        return LiteConfig(stage_dims=stage_dims, feature_dims=feature_dims, size=size)

    def weight_count(self) -> int:
        """Parameters of one adapter pair per stage, a lower bound of what the configuration adds."""
        return self.adapters * sum(4 * dim * rank for dim, rank in zip(self.stage_dims, self.adapter_ranks))


@dataclass(frozen=True)
class BackboneInfo:
    """Registry entry of a backbone: display name, configuration class, and network as "module:Class"."""

    noun: str
    config: type[BackboneConfig]
    network: str

    @property
    def network_class(self) -> type[Any]:
        """The network class; imports PyTorch and timm, which takes seconds."""
        return resolve(self.network)


BACKBONES: Mapping[str, BackboneInfo] = MappingProxyType(
    {
        "swin": BackboneInfo("Swin", SwinConfig, "ktb.modeling.backbones.swin:SwinBackbone"),
        "lite": BackboneInfo(
            "EfficientNet-Lite",
            LiteConfig,
            "ktb.modeling.backbones.efficientnet_lite:LiteBackbone",
        ),
    }
)
"""The registry of backbones, by the `kind` of their configuration."""


def backbone_noun(config: BackboneConfig) -> str:
    """The display name of a backbone with its size, such as "EfficientNet-Lite2 (tf_efficientnet_lite2)"."""
    noun = BACKBONES[config.kind].noun
    if isinstance(config, LiteConfig):
        return f"{noun}{config.size} (tf_efficientnet_lite{config.size})"
    return noun


@dataclass(frozen=True)
class FusionConfig:
    """Configuration of MAPA and DSCF per level (reference sections 3 and 4).

    For ablations, `kind` "mean" fuses each level by the mean of both streams, and `prompts` False removes
    MAPA; the widths of removed modules are ignored. `residual` adds the mean of both streams to DSCF's
    output, whose last layer then starts at zero; the released checkpoints have no residual.
    """

    mapa_ranks: tuple[int, ...]
    dscf_ranks: tuple[int, ...]
    num_heads: tuple[int, ...] = (2, 4, 8, 16)
    groups: tuple[int, ...] = (1, 2, 4, 8)
    strides: tuple[int, ...] = (8, 4, 2, 1)
    kind: FusionKind = "dscf"
    prompts: bool = True
    residual: bool = False

    def __post_init__(self) -> None:
        kinds = get_args(FusionKind)
        _require(self.kind in kinds, f"fusion kind is {self.kind!r}; allowed: {', '.join(kinds)}.")
        _require(
            not self.residual or self.kind == "dscf",
            f"residual is true, but the fusion kind is {self.kind!r}; the residual belongs to dscf.",
        )
        _require_levels(self, "mapa_ranks", "dscf_ranks", "num_heads", "groups", "strides")
        for level, (rank, heads, groups) in enumerate(zip(self.dscf_ranks, self.num_heads, self.groups)):
            _require(
                rank % heads == 0 and heads % groups == 0,
                f"DSCF level {level}: rank {rank} must be a multiple of num_heads {heads}, "
                f"and num_heads a multiple of groups {groups}. Choose a rank such as {heads * 8}.",
            )
        _require(max(self.strides) <= 64, f"strides are {self.strides}; 64 is the widest point grid.")

    def weight_count(self) -> int:
        """Lower bound of the number of parameters: matrices between ranks, and bias tables."""
        mapa = sum(2 * rank**2 for rank in self.mapa_ranks)
        dscf = sum(23 * rank**2 + heads * 119 * 159 for rank, heads in zip(self.dscf_ranks, self.num_heads))
        return mapa * self.prompts + dscf * (self.kind == "dscf")


_READING = (("stored", Stored), ("time_unit", TimeUnit))


@dataclass(frozen=True)
class InputConfig:
    """Encoding and normalisation of the inputs; values are in [0, 1], channels in RGB order.

    `encoding` names the encoder of `ktb.inputs` that produced the X images in training; the fields after it
    are its options. `range_low` and `range_high` are the thermal values mapped to 0 and 1 (degrees Celsius
    where the file's unit is known, else as stored). Without them, 16-bit and float images are stretched
    between two percentiles, and 8-bit images are unchanged unless `stretch_pictures`. `hot` is the polarity
    of heat in training images. A near-infrared range of FULL_SCALE is that of the file's type, such as 255
    for 8 bits. `picture_metres` is None where the scale of the training pictures is unknown.
    `event_window_ms` is the time span of one event image; None uses the whole stream.

    The next fields say how the X files of training were read. A file of the same kind is read in the same
    way, unless the user says otherwise; one that contradicts them is read by itself, with a warning.
    `unit` is that of depth, temperature, degree or angle of polarization ("auto": unknown), and `stored` the
    kind of numbers that it belongs to. `columns`, `time_unit` and `sensor_hw` are those of event recordings,
    `field_of_view` (degrees) or `intrinsics` (fx, fy, cx, cy in pixels) those of the depth camera for HHA.
    """

    rgb_mean: tuple[float, ...] = IMAGENET_MEAN
    rgb_std: tuple[float, ...] = IMAGENET_STD
    x_mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    x_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    modality: Modality = "other"
    encoding: Encoding = "image"
    max_metres: float = 10.0  # depth mapped to 1.0 by the encoding "depth"
    range_low: float | None = None
    range_high: float | None = None
    percentiles: tuple[float, ...] = (1.0, 99.0)
    stretch_pictures: bool = False  # thermal images of 8 bits and floats in 0..1 are stretched, too
    hot: Polarity = "white"
    picture_metres: float | None = None  # depth mapped to 1.0 in training pictures of the encoding "image"
    event_window_ms: float | None = None
    unit: str = "auto"
    stored: Stored = "any"
    columns: str = "auto"
    time_unit: TimeUnit = "auto"
    sensor_hw: tuple[int, int] | None = None
    field_of_view: float | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    short_side: int | None = None  # images are resized so that their shorter side has this many pixels

    def __post_init__(self) -> None:
        for name, kind in (("modality", Modality), ("encoding", Encoding), ("hot", Polarity), *_READING):
            value, allowed = getattr(self, name), get_args(kind)
            _require(value in allowed, f"{name} is {value!r}; allowed: {', '.join(allowed)}.")
        _require(bool(self.unit), 'unit is empty; give a unit of the modality, or "auto".')
        _require(
            self.columns == "auto" or sorted(self.columns) == sorted("txyp"),
            f'columns are {self.columns!r}; give an order of t, x, y and p such as "txyp", or "auto".',
        )
        _require(
            self.sensor_hw is None or min(self.sensor_hw) >= 1,
            f"sensor_hw is {self.sensor_hw}; give height and width in pixels, or none.",
        )
        for name in ("rgb_mean", "rgb_std", "x_mean", "x_std"):
            values = getattr(self, name)
            fits = len(values) == 3 and all(math.isfinite(v) for v in values)
            fits &= not name.endswith("std") or min(values, default=0) > 0
            _require(fits, f"{name} is {values}; give three finite numbers, standard deviations above 0.")
        _require(
            math.isfinite(self.max_metres) and self.max_metres > 0,
            f"max_metres is {self.max_metres}; give a positive distance in metres, such as 10.",
        )
        _require(
            self.picture_metres is None or (math.isfinite(self.picture_metres) and self.picture_metres > 0),
            f"picture_metres is {self.picture_metres}; give a positive distance, or none if it is unknown.",
        )
        low, high = self.range_low, self.range_high
        _require(
            (low is None and high is None) or (low is not None and high is not None and low < high),
            f"range_low is {low} and range_high {high}; give both, the lower one first, or none.",
        )
        fits = len(self.percentiles) == 2 and 0 <= self.percentiles[0] < self.percentiles[1] <= 100
        _require(fits, f"percentiles are {self.percentiles}; give two in 0..100, the lower one first.")
        _require(
            self.event_window_ms is None
            or (math.isfinite(self.event_window_ms) and self.event_window_ms > 0),
            f"event_window_ms is {self.event_window_ms}; give a positive time, or none for whole streams.",
        )
        _require(
            self.short_side is None or 32 <= self.short_side <= 16_384,
            f"short_side is {self.short_side}; give 32 to 16384 pixels, or none for the images' own size.",
        )


@dataclass(frozen=True)
class DomainConfig:
    """The check whether an image is like those of the training (`ktb.modeling.domain`).

    `trained_on` names the training images in sentences, such as "the 795 rooms of NYU Depth V2".
    `thresholds` are distances, one per case of `DOMAIN_CASES`; `levels` and `rank` give the features' levels
    and the number of principal directions.
    """

    trained_on: str
    thresholds: tuple[float, float, float, float]
    levels: tuple[int, ...] = (1, 2, 3)
    rank: int = 32

    def __post_init__(self) -> None:
        fits = len(self.thresholds) == len(DOMAIN_CASES)
        fits &= all(math.isfinite(value) and value > 0 for value in self.thresholds)
        _require(fits, f"thresholds are {self.thresholds}; give {len(DOMAIN_CASES)} finite numbers above 0.")
        fits = len(set(self.levels)) == len(self.levels) > 0 and set(self.levels) <= set(range(LEVELS))
        _require(fits, f"levels are {self.levels}; give different ones of 0 to {LEVELS - 1}.")
        _require(1 <= self.rank <= 512, f"rank is {self.rank}; give 1 to 512 principal directions.")


@dataclass(frozen=True)
class ModelConfig:
    """Configuration of a model: backbone, fusion, heads, classes and inputs.

    Class probabilities of a branch are softmax(logits / temperature). `temperatures` are fitted by
    `python -m training.calibrate`; 1 leaves the probabilities as the heads give them.
    """

    __pydantic_config__: ClassVar = STRICT
    name: str
    backbone: Annotated[BackboneConfig, OneOf({kind: info.config for kind, info in BACKBONES.items()})]
    fusion: FusionConfig
    num_classes: int
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    dataset: str = ""
    head_dims: tuple[int, int, int] = (512, 256, 256)  # fused, rgb, x
    temperatures: tuple[float, float, float] = UNCALIBRATED  # fused, rgb, x
    inputs: InputConfig = field(default_factory=InputConfig)
    domain: DomainConfig | None = None

    def __post_init__(self) -> None:
        _require(
            1 <= self.num_classes <= MAX_CLASSES,
            f"num_classes is {self.num_classes}; allowed: 1..{MAX_CLASSES}.",
        )
        for what, values in (("classes", self.classes), ("palette", self.palette)):
            _require(
                len(values) == self.num_classes,
                f"{what} has {len(values)} entries, but num_classes is {self.num_classes}; "
                f"give one entry per class.",
            )
        wrong = [c for c in self.palette if len(c) != 3 or not all(0 <= channel <= 255 for channel in c)]
        _require(not wrong, f"the palette's colour {wrong[:1]} is not three numbers (R, G, B) in 0..255.")
        _require(min(self.head_dims) >= 1, f"head_dims is {self.head_dims}; every width must be at least 1.")
        fits = len(self.temperatures) == len(BRANCHES)
        fits &= all(math.isfinite(value) and value > 0 for value in self.temperatures)
        _require(fits, f"temperatures are {self.temperatures}; give three finite numbers above 0.")

    def weight_count(self) -> int:
        """Lower bound of the number of parameters, to reject an absurd configuration before allocation."""
        heads = sum(4 * width**2 for width in self.head_dims)
        return self.backbone.weight_count() + self.fusion.weight_count() + heads

    def to_dict(self) -> dict[str, Any]:
        """The configuration as a JSON-compatible dictionary; the inverse of `from_dict`."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> ModelConfig:
        """Build a configuration, rejecting unknown, missing and wrongly typed keys by name (ValueError).

        A model of NYUv2's depth that was stored without the unit gets that of this dataset, and models of a
        benchmark that were stored before `DATASET_INPUTS` get its fields.
        """
        config = from_json(ModelConfig, values, "configuration")
        is_unsaid = "unit" not in values.get("inputs", {})
        inputs = with_dataset_fields(config.inputs, config.dataset, is_unsaid)
        return dataclasses.replace(config, inputs=inputs)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_levels(config: Any, *names: str) -> None:
    """Require every named tuple to have one positive entry per level."""
    for name in names:
        values = getattr(config, name)
        _require(
            len(values) == LEVELS and min(values) >= 1,
            f"{name} is {values}; give {LEVELS} numbers of at least 1, one per level.",
        )
