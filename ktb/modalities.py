"""The registry of modalities: one entry per kind of X image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar


@dataclass(frozen=True)
class ModalityInfo:
    """One modality of X.

    Attributes:
        noun: name in sentences, such as "near infrared".
        encodings: encoders as "module:function", by the encoding's name; the first is the default.
        filename_words: words in a file's name that indicate this modality.
        image: name of one X on the page; by default the noun and "image".
        label: name in selection lists; by default the noun.
        hint: files that the page accepts; "" for the page's default text.
    """

    noun: str
    encodings: Mapping[str, str]
    filename_words: frozenset[str] = field(default_factory=frozenset)
    image: str = ""
    label: str = ""
    hint: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", self.image or f"{self.noun} image")
        object.__setattr__(self, "label", self.label or self.noun)


_AS_PICTURE = {"image": "ktb.inputs.encoders.image:encode"}
_POLARIZATION = (
    "The map as picture or .npy, or the four pictures behind a polarizer at once "
    "(0, 45, 90, 135 in their names)."
)
MODALITIES: Mapping[str, ModalityInfo] = MappingProxyType(
    {
        "depth": ModalityInfo(
            "depth",
            {"depth": "ktb.inputs.encoders.depth:encode"} | _AS_PICTURE,
            frozenset({"depth"}),
        ),
        "hha": ModalityInfo(
            "HHA",
            {"hha": "ktb.inputs.encoders.hha:encode"},
            frozenset({"hha"}),
            hint="HHA as 8-bit colour picture, or metric depth, from which it is computed.",
        ),
        "thermal": ModalityInfo(
            "thermal",
            {"thermal": "ktb.inputs.encoders.thermal:encode"},
            frozenset({"thermal", "ther", "lwir", "flir", "infrared"}),
            hint="8- or 16-bit picture, or .npy of temperatures.",
        ),
        "event": ModalityInfo(
            "events",
            dict.fromkeys(("event_frame", "event_voxel", "event_surface"), "ktb.inputs.events.images:encode"),
            frozenset({"event", "events"}),
            image="event frame",
            hint="A stream (.npz, .npy, .txt, .csv, .h5, .aedat4), or a frame: 8-bit colour picture of "
            "positive events, negative events, recency.",
        ),
        "nir": ModalityInfo(
            "near infrared",
            {"nir": "ktb.inputs.encoders.nir:encode"},
            frozenset({"nir"}),
            image="near-infrared image",
        ),
        "dolp": ModalityInfo(
            "the degree of polarization",
            {"dolp": "ktb.inputs.encoders.polarization:encode_dolp"},
            frozenset({"dolp"}),
            image="image of the degree of polarization",
            label="degree of polarization",
            hint=_POLARIZATION,
        ),
        "aolp": ModalityInfo(
            "the angle of polarization",
            {"aolp": "ktb.inputs.encoders.polarization:encode_aolp"},
            frozenset({"aolp"}),
            image="image of the angle of polarization",
            label="angle of polarization",
            hint=_POLARIZATION,
        ),
        "lidar": ModalityInfo("LiDAR", _AS_PICTURE, label="LiDAR, projected"),
        "other": ModalityInfo("a plain picture", _AS_PICTURE, image="X image"),
    }
)
ENCODERS: Mapping[str, str] = MappingProxyType(
    {name: encoder for info in MODALITIES.values() for name, encoder in info.encodings.items()}
)
"""Encoders of all modalities as "module:function", by the encoding's name."""
if TYPE_CHECKING:
    Modality: TypeAlias = str
    Encoding: TypeAlias = str
else:
    Modality = Literal[tuple(MODALITIES)]
    Encoding = Literal[tuple(ENCODERS)]
DEFAULT_ENCODINGS: Mapping[Modality, Encoding] = MappingProxyType(
    {name: next(iter(info.encodings)) for name, info in MODALITIES.items()}
)
"""Default encoding of each modality, used unless a checkpoint names another."""

Config = TypeVar("Config")  # ktb.config.InputConfig, which imports this module
NEAR_DARK = "8-bit near dark (255 = 10 m)"
"""The unit of NYUv2's 8-bit depth, see `ktb.inputs.DEPTH_UNITS`."""
FULL_SCALE = (0.0, 65535.0)
"""The range of near infrared that is divided by the full scale of its type."""
DATASET_INPUTS: Mapping[tuple[str, Modality], Mapping[str, Any]] = MappingProxyType(
    {
        ("mcubes", "nir"): {"range_low": FULL_SCALE[0], "range_high": FULL_SCALE[1]},
        # 16-bit files of SUN RGB-D hold millimetres rotated left by 3 bits
        ("sunrgbd", "depth"): {"encoding": "image", "picture_metres": 65.535 / 8},
        ("deliver", "depth"): {"encoding": "image"},  # no scale is published
        ("deliver", "event"): {"encoding": "image"},  # no rule of drawing is published
    }
)
"""Fields of InputConfig for X of a benchmark, by (dataset, modality), where they are not the defaults."""


def with_dataset_fields(inputs: Config, dataset: str, unit_is_unsaid: bool) -> Config:
    """An `InputConfig` with the fields of DATASET_INPUTS that it leaves at their defaults.

    A model of NYUv2's depth that was stored without the unit gets that of this dataset.
    """
    usual = type(inputs)(modality=inputs.modality, encoding=DEFAULT_ENCODINGS[inputs.modality])
    fields = DATASET_INPUTS.get((dataset, inputs.modality), {})
    left = {name: value for name, value in fields.items() if getattr(inputs, name) == getattr(usual, name)}
    if unit_is_unsaid and (dataset, inputs.modality, inputs.encoding) == ("nyuv2", "depth", "depth"):
        left |= {"unit": NEAR_DARK, "stored": "8-bit"}
    return dataclasses.replace(inputs, **left)
