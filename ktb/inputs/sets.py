"""One reading for a set of X files: what is not said is guessed once for all files, from a few of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ktb.config import InputConfig, Stored
from ktb.inputs.detect import taken_for
from ktb.inputs.encoders.depth import depth_of, is_colour
from ktb.inputs.encoders.depth_units import NEAR_BRIGHT, NEAR_DARK
from ktb.inputs.encoders.image import one_channel
from ktb.inputs.encoders.nir import full_scale
from ktb.inputs.encoders.no_data import find_no_data
from ktb.inputs.encoders.polarization import guess_angle
from ktb.inputs.encoders.thermal import thermal_of
from ktb.inputs.limits import InputError
from ktb.inputs.options import RECORDING, XOptions
from ktb.inputs.types import Confidence, RawX
from ktb.inputs.units import kind_of, unit_name
from ktb.modalities import Modality

EXAMINED = 8
"""Files of a set from which a guess is made."""
_MAJORITY = 0.75
_PERCENT_FROM = 1.5  # the 99th percentile of a degree of polarization in per cent is above this somewhere


class Found(NamedTuple):
    """A guessed unit of one file, the confidence in it, and the reason."""

    unit: str
    surety: Confidence
    why: str


@dataclass(frozen=True)
class SetReading:
    """How the X files of a set are read.

    Attributes:
        unit, surety: as in `XOptions`; "auto" where the modality has no unit or the set needs none.
        why: the reason for a guessed unit, "" for another.
        stored: kind of numbers of all examined files.
        files: number of the examined files.
        white: stored value of white of 16-bit near infrared; None for other X.
        columns, time_unit, sensor_hw: of event recordings, guessed; the defaults if the files say them.
    """

    unit: str = "auto"
    surety: Confidence = "certain"
    why: str = ""
    stored: Stored = "any"
    files: int = 0
    white: int | None = None
    columns: str = "auto"
    time_unit: str = "auto"
    sensor_hw: tuple[int, int] | None = None

    def applied_to(self, options: XOptions) -> XOptions:
        """The options, completed by this reading where they say nothing."""
        if options.unit == "auto" and self.unit != "auto":
            options = replace(options, unit=self.unit, surety=self.surety)
        if options.value_range is None and self.white is not None:
            options = replace(options, value_range=(0.0, float(self.white)))
        open_ones = [name for name in RECORDING if getattr(options, name) in ("auto", None)]
        known = {name: value for name in open_ones if (value := getattr(self, name)) not in ("auto", None)}
        return replace(options, **known, assumed=(*options.assumed, *known)) if known else options

    def to_dict(self, modality: Modality) -> dict[str, str]:
        """Unit in words, surety, such as "likely, from 8 files", and reason; {} without a unit."""
        if self.unit == "auto":
            return {}
        guessed = self.surety in ("likely", "guess")
        source = f", from {self.files} file{'s' * (self.files != 1)}" if guessed else ""
        found = {"unit": unit_name(modality, self.unit), "surety": f"{self.surety}{source}"}
        return found | ({"why": self.why} if self.why else {})


class Disagreement(InputError):
    """The files of a set give different guesses; `key` is the option to say."""

    def __init__(self, key: str, message: str):
        super().__init__(message)
        self.key = key


def read_set(
    raws: Iterable[tuple[str, RawX]], inputs: InputConfig, options: XOptions, needs_unit: bool = True
) -> SetReading:
    """Guess what `options` leave open, from some files of a set.

    Args:
        raws: (name, X as read by `read_x` with these options), consumed one at a time.
        inputs: modality and encoding of X.
        needs_unit: without, files that disagree leave the unit "auto", as it does not affect the image.

    Raises:
        Disagreement: the files give different guesses.
        InputError: a file is none of this modality.
    """
    guess = _GUESSES.get(inputs.encoding)
    evidence = guess() if guess is not None and options.unit == "auto" else None
    kinds: set[Stored] = set()
    whites: list[int] = []
    recordings: dict[str, dict[Any, str]] = {name: {} for name in RECORDING}
    count = 0
    for name, raw in raws:
        count += 1
        kinds.add(kind_of(raw))
        if evidence is not None:
            evidence.add(name, raw, options)
        if inputs.encoding == "nir" and (white := _white(raw)) is not None:
            whites.append(white)
        for key, value in raw.guessed.items():
            recordings[key].setdefault(value, name)
    stored = kinds.pop() if len(kinds) == 1 else "any"
    found: dict[str, Any] = {"stored": stored, "files": count}
    if options.unit != "auto":
        found |= {"unit": options.unit, "surety": options.surety}
    elif evidence is not None and (unit := evidence.decide(needs_unit)) is not None:
        found |= unit._asdict()
    if whites and min(whites) > 255 and stored == "levels" and len(whites) == count:
        found["white"] = max(whites)
    return SetReading(**found, **_recording(recordings))


def _white(raw: RawX) -> int | None:
    """The white level of near infrared of 8 or 16 bits."""
    if raw.kind != "picture" or raw.data.dtype not in (np.uint8, np.uint16):
        return None
    measured = _measured(raw)
    return full_scale(measured) if measured.size else None


def _measured(raw: RawX) -> np.ndarray:
    """The values (N,) of one channel, without holes."""
    data, _ = one_channel(raw.data, (1 / 3, 1 / 3, 1 / 3))
    return data[~find_no_data(data).holes]


def settle(raws: Iterable[tuple[str, RawX]], inputs: InputConfig, options: XOptions) -> SetReading | None:
    """The reading of a set that a checkpoint with these inputs is given; None if its files do not agree.

    What the checkpoint's training says has priority over a guess.
    """
    needs_unit = inputs.encoding != "thermal" or inputs.range_low is not None or inputs.hot == "black"
    try:
        found = read_set(_of_modality(raws, inputs, options), inputs, options, needs_unit)
    except InputError:
        return None
    if inputs.unit != "auto" and inputs.stored in ("any", found.stored):
        found = replace(found, unit="auto", surety="certain", why="")
    return replace(found, white=None) if inputs.range_low is not None else found


def options_of(raw: RawX, reading: SetReading | None, inputs: InputConfig, options: XOptions) -> XOptions:
    """The options of one file of a set: its reading, unless the file is of another kind or modality."""
    if reading is None or kind_of(raw) != reading.stored or not _is_of(raw, inputs, options):
        return options
    return reading.applied_to(options)


def _of_modality(
    raws: Iterable[tuple[str, RawX]], inputs: InputConfig, options: XOptions
) -> Iterable[tuple[str, RawX]]:
    for name, raw in raws:
        if not _is_of(raw, inputs, options):
            raise InputError(f"{name}: this is not {inputs.modality}")
        yield name, raw


def _is_of(raw: RawX, inputs: InputConfig, options: XOptions) -> bool:
    return raw.origin == "measured" and taken_for(raw, inputs.modality, options)[0] == inputs.modality


def _recording(guesses: dict[str, dict[Any, str]]) -> dict[str, Any]:
    """One value per option of a recording: the largest sensor; the others must agree."""
    found = {}
    for key, names in guesses.items():
        if key == "sensor_hw" and names:
            found[key] = max(names, key=lambda size: size[0] * size[1])
        elif len(names) > 1:
            raise Disagreement(key, f"auto guesses different {key}: {_by_file(names)}; say the {key}")
        elif names:
            found[key] = next(iter(names))
    return found


def _by_file(names: dict[Any, str]) -> str:
    return ", ".join(f"'{value}' for {name}" for value, name in names.items())


class _Evidence(ABC):
    """What some files of a set say about the unit of all of them."""

    @abstractmethod
    def add(self, name: str, raw: RawX, options: XOptions) -> None:
        """Take account of one file."""

    @abstractmethod
    def decide(self, needs_unit: bool) -> Found | None:
        """The unit of the set, None if its files say none; Disagreement if they differ and it is needed."""


class _Votes(_Evidence):
    """A guess per file; all files must agree, but for a few of 8-bit depth, whose guess is weak."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Found]] = []

    def add(self, name: str, raw: RawX, options: XOptions) -> None:
        if (found := self.of(raw, options)) is not None:
            self.found.append((name, found))

    @abstractmethod
    def of(self, raw: RawX, options: XOptions) -> Found | None:
        """The guess from one file; None if it says nothing."""

    def decide(self, needs_unit: bool) -> Found | None:
        if not self.found:
            return None
        first: dict[str, str] = {}
        for name, found in self.found:
            first.setdefault(found.unit, name)
        units = [found.unit for _, found in self.found]
        common = max(first, key=units.count)
        share = units.count(common) / len(units)
        if len(first) > 1 and not (set(first) == {NEAR_DARK, NEAR_BRIGHT} and share >= _MAJORITY):
            if not needs_unit:
                return None
            raise Disagreement("unit", f"auto guesses different units: {_by_file(first)}; name the unit")
        agreeing = [found for _, found in self.found if found.unit == common]
        weakest = next((found for found in agreeing if found.surety == "guess"), agreeing[0])
        why = weakest.why if len(first) == 1 else f"{weakest.why}, in {units.count(common)} of {len(units)}"
        return Found(common, weakest.surety, why)


class _Depth(_Votes):
    def of(self, raw: RawX, options: XOptions) -> Found | None:
        if raw.kind == "picture" and raw.data.ndim == 3 and is_colour(raw.data) and self.may_be_encoded:
            return None
        depth = depth_of(raw, options)
        return Found(depth.unit, depth.confidence, depth.why)

    may_be_encoded = False


class _Hha(_Depth):
    may_be_encoded = True


class _Thermal(_Votes):
    def of(self, raw: RawX, options: XOptions) -> Found | None:
        reading, _ = thermal_of(raw, options)
        return Found(reading.unit, reading.confidence, reading.why)


class _Polarization(_Evidence):
    """The range of the values of all files together; maps only, as other files have no unit."""

    def __init__(self) -> None:
        self.ranges: list[tuple[np.dtype, float, float, float]] = []

    def add(self, name: str, raw: RawX, options: XOptions) -> None:
        if raw.kind != "picture" or (raw.data.ndim == 3 and raw.data.shape[2] == 4):
            return
        measured = _measured(raw)
        if measured.size:
            ends = float(measured.min()), float(measured.max()), float(np.percentile(measured, 99))
            self.ranges.append((raw.data.dtype, *ends))

    def decide(self, needs_unit: bool) -> Found | None:
        if not self.ranges:
            return None
        dtypes, lows, highs, uppers = zip(*self.ranges)
        dtype = max(dtypes, key=lambda one: (one.kind == "f", one.itemsize))
        return self.pooled(dtype, min(lows), max(highs), max(uppers))

    @abstractmethod
    def pooled(self, dtype: np.dtype, low: float, high: float, upper: float) -> Found:
        """The unit from the widest type, the extremes and the largest 99th percentile of all files."""


class _Angle(_Polarization):
    def pooled(self, dtype: np.dtype, low: float, high: float, upper: float) -> Found:
        unit, surety = guess_angle(dtype, low, high, "the set")
        return Found(unit, surety, f"values from {low:,.6g} to {high:,.6g}")


class _Degree(_Polarization):
    def pooled(self, dtype: np.dtype, low: float, high: float, upper: float) -> Found:
        unit = "percent" if dtype.kind == "f" and upper > _PERCENT_FROM else "fraction"
        return Found(unit, "likely", f"99 % of the values of each file up to {upper:.4g}")


_GUESSES: dict[str, Callable[[], _Evidence]] = {
    "depth": _Depth,
    "hha": _Hha,
    "thermal": _Thermal,
    "aolp": _Angle,
    "dolp": _Degree,
}
