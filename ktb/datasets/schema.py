"""The keys of the YAML file that describes a custom dataset (`ktb.datasets.custom`), and the messages for
wrong ones.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ktb.config import Encoding, Modality, Polarity, TimeUnit
from ktb.inputs.encoders.depth_units import SCALES
from ktb.inputs.limits import InputError
from ktb.inputs.options import ByteOrder, Channel, Turn
from ktb.inputs.units import UNITS, checked_unit
from ktb.labels import DATASETS, IGNORE_INDEX, MAX_GENERIC_CLASSES, RGB, DatasetLabels, distinct_palette
from ktb.utils.text import did_you_mean
from ktb.utils.validation import explain

_MAX_FILE_BYTES = 2**20

Split = Literal["train", "val", "test"]
_ALL_UNITS = ("auto", *dict.fromkeys(unit for units in UNITS.values() for unit in units))
_ONLY_FOR: dict[str, tuple[Modality, ...]] = {
    "range": ("thermal", "nir"),
    "percentiles": ("thermal",),
    "hot": ("thermal",),
    "event_window_ms": ("event",),
    "depth_scale": ("depth", "hha"),
    "columns": ("event",),
    "time_unit": ("event",),
    "sensor": ("event",),
    "field_of_view": ("hha",),
    "intrinsics": ("hha",),
}
"""Keys that apply to these modalities only."""
_PLACE = "a folder, a glob such as photos/*.png, or a pattern such as photos/{name}_rgb.png"


class CustomClass(BaseModel):
    """One class with its colour: "#rrggbb" or three numbers 0..255; without one it gets a free colour."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(min_length=1)
    color: RGB | None = None

    @field_validator("color", mode="before")
    @classmethod
    def _from_text(cls, value):
        if value is None:
            raise ValueError('empty; write "#rrggbb" in quotes, without them # begins a comment')
        if not isinstance(value, str):
            return value
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            raise ValueError('give "#rrggbb" in quotes, or three numbers 0..255')
        return tuple(int(value[i : i + 2], 16) for i in (1, 3, 5))


class CustomDatasetSchema(BaseModel):
    """Keys of the YAML file, described in `ktb.datasets.custom`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field("", description="a text")
    root: str = Field(".", description="a folder, relative to the YAML file")
    rgb: str = Field("", description=_PLACE)
    x: str = Field("", description=_PLACE)
    labels: str | None = Field(None, min_length=1, description=_PLACE)
    pairs: str | None = Field(None, min_length=1, description="a list with RGB image, X and label a line")
    modality: Modality = Field(description=", ".join(get_args(Modality)))
    encoding: Encoding | None = Field(None, description=", ".join(get_args(Encoding)))
    unit: str = Field("auto", description=f"{', '.join(_ALL_UNITS)}; for depth also {SCALES}")
    depth_scale: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="levels per metre, such as 6553.5"
    )
    max_metres: float = Field(10.0, gt=0, allow_inf_nan=False, description="a positive distance in metres")
    range: tuple[float, float] | None = Field(None, description="[low, high], the values of black and white")
    percentiles: tuple[float, float] | None = Field(
        None, description="[low, high] in 0..100, such as [1, 99]"
    )
    hot: Polarity | None = Field(None, description=", ".join(get_args(Polarity)))
    event_window_ms: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="a positive time in milliseconds"
    )
    columns: str = Field("auto", description="auto, or the order of x, y, t and p, such as txyp")
    time_unit: TimeUnit = Field("auto", description=", ".join(get_args(TimeUnit)))
    sensor: tuple[StrictInt, StrictInt] | None = Field(None, description="[height, width] in pixels")
    field_of_view: float | None = Field(None, description="the horizontal one, in degrees")
    intrinsics: tuple[float, float, float, float] | None = Field(
        None, description="[fx, fy, cx, cy] in pixels of X"
    )
    turn: Turn = Field("auto", description=", ".join(get_args(Turn)))
    turn_labels: Literal["auto", "exif"] = Field("auto", description="auto, exif")
    channel: Channel = Field("auto", description=", ".join(get_args(Channel)))
    byte_order: ByteOrder = Field("auto", description=", ".join(get_args(ByteOrder)))
    classes: tuple[CustomClass, ...] = Field(
        min_length=1, max_length=MAX_GENERIC_CLASSES, description="a list of names or of {name, color}"
    )
    label_offset: StrictInt = Field(0, description="a whole number")
    values: dict[StrictInt, str] | None = Field(
        None, min_length=1, description="stored label values and their classes, such as {0: soil, 255: tree}"
    )
    ignore: tuple[StrictInt, ...] | None = Field(None, description="a list of stored label values")
    split: dict[Split, float | str] = Field(
        {"train": 1.0}, min_length=1, description="train, val, test, each a fraction or each a file of names"
    )
    seed: StrictInt = Field(0, description="a whole number")

    @field_validator("name")
    @classmethod
    def _free_name(cls, value):
        if value in DATASETS:
            raise ValueError("this is the name of a benchmark, choose another")
        return value

    @field_validator("turn", "channel", mode="before")
    @classmethod
    def _number_as_text(cls, value):
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("unit", mode="before")
    @classmethod
    def _as_text(cls, value):
        return f"{value:.12g}" if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("unit")
    @classmethod
    def _known_unit(cls, value, info: ValidationInfo):
        modality = info.data.get("modality")  # none if that key is wrong itself
        try:
            if modality is None:
                return value if value in _ALL_UNITS else checked_unit("depth", value)
            return checked_unit(modality, value)
        except InputError as error:
            units = UNITS.get(modality, ()) if modality is not None else ()
            if modality is not None and (value in _ALL_UNITS or not units):
                has = f"has {', '.join(units)}" if units else "has no unit"
                raise ValueError(f"no unit of {modality}, which {has}") from error
            raise ValueError("no such unit") from error

    @model_validator(mode="after")
    def _fit_together(self):
        if self.depth_scale is not None and self.unit != "auto":
            raise ValueError("keys 'unit' and 'depth_scale' both say the scale; give one of them")
        if self.pairs is None and not (self.rgb and self.x):
            lacking = "rgb" if not self.rgb else "x"
            raise ValueError(f"key '{lacking}' is missing; allowed: {_PLACE}; or give a list as 'pairs'")
        if self.pairs is not None and (self.rgb or self.x or self.labels):
            raise ValueError("key 'pairs' names all files: leave out rgb, x and labels, or leave it out")
        if self.values is not None:
            names = [one.name for one in self.classes]
            for stored, name in self.values.items():
                if name not in names:
                    unlisted = f"key 'values' gives {stored} the class '{name}', which is not listed"
                    raise ValueError(f"{unlisted}.{did_you_mean(name, names)}".removesuffix("."))
            if self.label_offset:
                raise ValueError("keys 'values' and 'label_offset' both say what is stored; give one of them")
            if both := sorted(set(self.values) & set(self.ignore or ())):
                raise ValueError(f"keys 'values' and 'ignore' both name {both}; leave them out of one")
        return self

    @property
    def said_unit(self) -> str:
        """The unit that the file says, also by `depth_scale`; "auto" if it does not."""
        return self.unit if self.depth_scale is None else checked_unit("depth", self.depth_scale)

    @property
    def stored_values(self) -> dict[int, int]:
        """Stored label value -> class."""
        if self.values is None:
            return {self.label_offset + number: number for number in range(len(self.classes))}
        numbers = {one.name: number for number, one in enumerate(self.classes)}
        return {stored: numbers[name] for stored, name in self.values.items()}

    @property
    def ignored_values(self) -> frozenset[int]:
        """Stored label values that are not labelled; by default 255, unless it is a class."""
        if self.ignore is not None:
            return frozenset(self.ignore)
        return frozenset({IGNORE_INDEX} - set(self.values or ()))

    @field_validator(*_ONLY_FOR)
    @classmethod
    def _fits_the_modality(cls, value, info: ValidationInfo):
        modality, allowed = info.data.get("modality"), _ONLY_FOR[info.field_name]
        if value is not None and modality is not None and modality not in allowed:
            raise ValueError(f"only for modality {' or '.join(allowed)}, not {modality}")
        return value

    @field_validator("range", "percentiles")
    @classmethod
    def _ascending(cls, value):
        if value is not None and not value[0] < value[1]:
            raise ValueError("the lower number comes first")
        return value

    @field_validator("classes", mode="before")
    @classmethod
    def _named(cls, value):
        return [{"name": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    @field_validator("split")
    @classmethod
    def _one_kind(cls, value):
        shares = [v for v in value.values() if isinstance(v, float)]
        if shares and len(shares) < len(value):
            raise ValueError("fractions and files cannot be mixed")
        if shares and not (min(shares) > 0 and sum(shares) <= 1 + 1e-6):
            raise ValueError("fractions must be above 0 and add up to at most 1")
        return value


def read_keys(file: Path) -> CustomDatasetSchema:
    """Read and validate a YAML file; ValueError that names the file and every invalid key."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{file}: cannot be read ({error.strerror}); give the path of a YAML file"
        ) from error
    if len(text) > _MAX_FILE_BYTES:
        raise ValueError(f"{file}: {len(text):,} bytes are too many for a description of data")
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, Mapping):
        raise ValueError(f"{file}: expected 'key: value' lines; needed are rgb, x, modality and classes")
    try:
        return CustomDatasetSchema.model_validate({str(key): value for key, value in values.items()})
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, CustomDatasetSchema, str(file)))) from error


def class_labels(name: str, classes: Iterable[CustomClass]) -> DatasetLabels:
    """Names and colours; classes without a colour get a distinguishable unused one.

    Raises ValueError for a name or colour that is used twice, or a colour outside 0..255.
    """
    classes = tuple(classes)
    given = {c.color for c in classes if c.color}
    free = (color for color in distinct_palette(min(256, len(classes) + len(given))) if color not in given)
    return DatasetLabels(
        name, name, tuple(c.name for c in classes), tuple(c.color or next(free) for c in classes)
    )
