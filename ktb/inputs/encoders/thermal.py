"""Thermal images: temperatures or raw levels, their unit, holes, stretch and polarity."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from ktb.config import InputConfig
from ktb.inputs.encoders.depth import require_picture
from ktb.inputs.encoders.image import cut_off_note, one_channel, scaled
from ktb.inputs.encoders.no_data import find_no_data
from ktb.inputs.histogram import histogram, to_bytes
from ktb.inputs.limits import InputError
from ktb.inputs.options import XOptions
from ktb.inputs.types import Confidence, Encoded, MeasuredValues, RawX
from ktb.utils.text import did_you_mean

THERMAL_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "raw": "levels without a unit",
        "C": "degrees Celsius",
        "K": "kelvin",
        "0.01K": "hundredths of a kelvin",
        "0.1K": "tenths of a kelvin",
        "0.1C": "tenths of a degree Celsius",
        "0.01C": "hundredths of a degree Celsius",
    }
)
"""Units of a thermal file and their names for display; "auto" guesses among those that are no fraction of a
degree Celsius, as raw levels often look like these; `thermal_unit` adds scales.
"""

_SCALE = re.compile(r"(1/)?(\d+(?:[.,]\d*)?(?:e[+-]?\d+)?)°?([KC])", re.IGNORECASE)
_ZERO_CELSIUS = 273.15
_USUAL_MEDIANS = (-40.0, 100.0)  # degrees Celsius of scenes
_LIKELY_MEDIANS = (-20.0, 50.0)  # of most scenes
_USUAL_ENDS = (-100.0, 700.0)
_PICTURE_SPAN = 100  # of 8-bit levels: temperatures of a scene hardly span more
_IN_RANGE = 0.995  # of a float image's pixels: glints may lie beyond white
_LUMINANCE = (0.299, 0.587, 0.114)


def thermal_unit(said: str) -> str:
    """The unit of temperature that a user said: a key of THERMAL_UNITS, or the size of a level, as "0.04K".

    The size is that in kelvin above absolute zero or in degrees Celsius: "0.04K", "1/64K", "0.1C".

    Raises:
        InputError: it is neither.
    """
    if said in THERMAL_UNITS:
        return said
    found = _SCALE.fullmatch(re.sub(r"\s+", "", str(said)))
    number = float(found[2].replace(",", ".")) if found else 0.0
    size = 1 / number if found and found[1] and number else number
    if not (found and 1e-6 <= size <= 1e3):
        allowed = f"{', '.join(THERMAL_UNITS)}; or the size of a level, such as 0.04K, 1/64K or 0.1C"
        near = did_you_mean(str(said), THERMAL_UNITS)
        raise InputError(f"thermal unit {said!r}: choose auto or one of {allowed}.{near}")
    return f"{size:.12g}{found[3].upper()}" if size != 1 else found[3].upper()


def thermal_unit_name(unit: str) -> str:
    """The name for display of a unit from `thermal_unit`."""
    if unit in THERMAL_UNITS:
        return THERMAL_UNITS[unit]
    return f"{_level(unit):.6g} {'K' if unit.endswith('K') else '°C'} per level"


def _level(unit: str) -> float:
    """The size of a level of a unit with a temperature, in kelvin or degrees Celsius."""
    return float(unit[:-1] or 1)


@dataclass(frozen=True, eq=False)
class TemperatureMap:
    """A thermal image and the confidence in its unit ("certain": chosen by the user).

    Attributes:
        values: (H, W) float32, degrees Celsius where the unit is known, else as stored; NaN in holes.
        unit: a key of THERMAL_UNITS.
        why: the reason for a guessed unit, "" for a chosen one.
        full_scale: the value of white for raw levels that form an image (8 bits, floats in 0..1).
        no_data: the constants that mark holes, in words; "" for none.
    """

    values: np.ndarray
    unit: str
    confidence: Confidence
    why: str = ""
    full_scale: float | None = None
    no_data: str = ""

    @property
    def symbol(self) -> str:
        """ " °C", or "" for raw levels."""
        return "" if self.unit == "raw" else " °C"


def read_temperatures(
    data: np.ndarray, unit: str = "auto", name: str = "the thermal picture"
) -> TemperatureMap:
    """Convert stored values to temperatures if they have a unit.

    Holes: NaN and infinite values, what lies at or below absolute zero, and no-data values as
    `ktb.inputs.encoders.no_data` finds them, 0 among them; they take no part in a guess. unit "auto" guesses:
    8 bits and floats in 0..1 are raw; 16-bit integers and floats have the unit in which their median is a
    temperature of scenes, -40 to 100 degrees Celsius (floats may be in any unit, integers in 0.01 K or 0.1
    K); the rest is raw. The guess is "likely" if no other unit fits.

    Args:
        data: (H, W) integers or floats.
        unit: "auto", a key of THERMAL_UNITS, or a scale (see `thermal_unit`).
        name: of the file, for messages.

    Raises:
        InputError: the unit is unknown, or there is no measurement.
    """
    if unit != "auto":
        try:
            unit = thermal_unit(unit)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    missing = find_no_data(data, zero=True)
    values = data.astype(np.float32)
    values[missing.holes] = np.nan
    if data.dtype.kind != "u" and (data[missing.holes] < -_ZERO_CELSIUS).any():
        values[values < -_ZERO_CELSIUS] = np.nan  # resampling mixes a no-data value with the measurements
    if np.isnan(values).all():
        raise InputError(f"{name}: no pixel has a value, all are NaN or infinite; check the file")
    full_scale = _full_scale(data, values)
    confidence, why = "certain", ""
    if unit == "auto":
        unit, confidence, why = _guess(data, values[np.isfinite(values)], full_scale)
    values = _celsius(values, unit)
    if unit != "raw":
        values[values <= -_ZERO_CELSIUS] = np.nan
    if np.isnan(values).all():
        raise InputError(f"{name}: in the unit {unit!r} all is below absolute zero; choose another unit")
    white = full_scale if unit == "raw" else None
    return TemperatureMap(values, unit, confidence, why, white, missing.what)


def thermal_of(raw: RawX, options: XOptions) -> tuple[TemperatureMap, bool]:
    """Temperatures or levels of a raw X, and whether it is in colour (InputError as for `encode`)."""
    require_picture(raw, "a thermal picture")
    data, colour = one_channel(raw.data, _LUMINANCE)
    reading = read_temperatures(data, options.unit, raw.name)
    return (reading if options.unit == "auto" else replace(reading, confidence=options.surety)), colour


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Encode a thermal image in 0..1 with the checkpoint's polarity; holes are NaN.

    The user's range has priority over the checkpoint's (in degrees Celsius if the unit is known, else as
    stored). Without a range, 8-bit images and floats in 0..1 are unchanged unless the checkpoint says
    `stretch_pictures`, and others are stretched between the checkpoint's percentiles. In a file with a unit,
    high values are hot; otherwise the polarity is the user's, else the checkpoint's.

    Raises:
        InputError: as for `read_temperatures`, or X is not an image.
    """
    reading, colour = thermal_of(raw, options)
    image, stretch, notes = _stretched(reading, inputs, options)
    if colour:
        notes += (
            "This thermal picture is in colour: its brightness is used. Colours of a palette are not "
            "temperatures; export it in grey or with temperatures if you can.",
        )
    display = to_bytes(image) if reading.unit == "raw" else reading.values
    hot = options.hot
    if hot == "auto":
        hot = inputs.hot if reading.unit == "raw" else "white"
    facts = _facts(reading, stretch)
    if hot != inputs.hot:
        image = 1 - image
        facts["hot"] = f"{hot} in the file, inverted: this checkpoint expects {inputs.hot}"
    else:
        facts["hot"] = f"{hot}, as this checkpoint expects"
    known = f"{thermal_unit_name(reading.unit)}: " if reading.unit != "raw" else ""
    return Encoded(
        image,
        display,
        f"{known}{facts['range']}, {stretch}",
        facts,
        histogram(reading.values, reading.symbol.strip() or "as stored"),
        notes=notes,
        measured=MeasuredValues(reading.values, reading.symbol.strip()),
    )


def _stretched(
    reading: TemperatureMap, inputs: InputConfig, options: XOptions
) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """The image in 0..1 with the stored polarity, a description of the stretch, and notes."""
    values, symbol = reading.values, reading.symbol
    low, high = options.value_range or (inputs.range_low, inputs.range_high)
    if low is not None:
        notes = cut_off_note(values, low, high, symbol)
        return scaled(values, low, high), f"fixed range {low:g} to {high:g}{symbol}", notes
    if reading.full_scale is not None and not inputs.stretch_pictures:
        return np.clip(values / np.float32(reading.full_scale), 0, 1), "taken as it is", ()
    low, high = np.nanpercentile(values, inputs.percentiles)
    ends = "{:g} % to {:g} %".format(*inputs.percentiles)
    notes = () if high > low else ("This thermal picture is the same everywhere: it says nothing.",)
    return scaled(values, low, high), f"stretched from {ends} ({_range(low, high)}{symbol})", notes


def _facts(reading: TemperatureMap, stretch: str) -> dict[str, str]:
    values = reading.values
    extent = _range(np.nanmin(values), np.nanmedian(values), np.nanmax(values), separator=" / ")
    facts = {"unit": f"{thermal_unit_name(reading.unit)} ({reading.confidence})"}
    if reading.why:
        facts["unit guessed from"] = reading.why
    facts |= {"range": f"{extent}{reading.symbol} (min / median / max)", "stretch": stretch}
    holes = np.isnan(values).mean()
    where = f", stored as {reading.no_data}" if reading.no_data else ""
    return facts | ({"holes": f"{100 * holes:.1f} %{where}"} if holes else {})


def _range(*values: float, separator: str = " to ") -> str:
    wide = max(map(abs, values)) >= 1000
    return separator.join(f"{value:,.0f}" if wide else f"{round(float(value), 2):g}" for value in values)


def _full_scale(data: np.ndarray, values: np.ndarray) -> float | None:
    """The value of white for raw levels that form an image: 8 bits in any type, or floats in 0..1."""
    measured = values[np.isfinite(values)]
    if measured.min() < 0:
        return None
    if data.dtype.kind != "f":
        return 255.0 if data.dtype.kind == "u" and np.mean(measured <= 255) >= _IN_RANGE else None
    if np.mean(measured <= 1) >= _IN_RANGE:
        return 1.0
    is_whole = 200 < measured.max() <= 255 and bool((measured == np.rint(measured)).all())
    return 255.0 if is_whole else None


def _guess(data: np.ndarray, measured: np.ndarray, full_scale: float | None) -> tuple[str, Confidence, str]:
    low, middle, high = np.percentile(measured, (1, 50, 99))
    if full_scale is not None:
        if full_scale != 255:
            return "raw", "likely", "floats in 0..1, as a picture has them"
        if high - low > _PICTURE_SPAN:
            return "raw", "likely", "8-bit levels"
        return "raw", "guess", f"8-bit levels; {low:g} to {high:g} may be degrees Celsius as well"
    is_whole = data.dtype.kind != "f"
    usual = [
        unit
        for unit in (("0.01K", "0.1K") if is_whole else ("C", "K", "0.01K", "0.1K"))
        if _is_usual(*_celsius(np.array([low, middle, high], np.float32), unit))
    ]
    if not usual:
        return _raw_levels(middle, is_whole)
    unit = usual[0]
    celsius = _celsius(np.array([middle], np.float32), unit)[0]
    why = f"a median of {middle:,.6g} is {celsius:.1f} °C then"
    # Raw levels of 12 to 14 bits are often as large as tenths of a kelvin.
    return unit, "guess" if unit == "0.1K" or len(usual) > 1 else "likely", why


def _raw_levels(middle: float, is_whole: bool) -> tuple[str, Confidence, str]:
    """Raw levels, a guess where integers may be fractions of a degree Celsius."""
    found = f"a median of {middle:,.6g}"
    for unit in ("0.1C", "0.01C") if is_whole else ():
        celsius = middle * _level(unit)
        if _LIKELY_MEDIANS[0] <= celsius <= _LIKELY_MEDIANS[1]:
            return (
                "raw",
                "guess",
                f"{found} would be {celsius:.1f} °C in {THERMAL_UNITS[unit]}: say {unit} then",
            )
    return "raw", "likely", f"{found} is no usual temperature in any unit"


def _is_usual(low: float, middle: float, high: float) -> bool:
    """Whether degrees Celsius (1st, 50th, 99th percentile) are those of a scene."""
    is_scene = _USUAL_MEDIANS[0] <= middle <= _USUAL_MEDIANS[1]
    return is_scene and low >= _USUAL_ENDS[0] and high <= _USUAL_ENDS[1]


def _celsius(values: np.ndarray, unit: str) -> np.ndarray:
    """Convert values (...) float32 to degrees Celsius; raw levels are unchanged."""
    if unit in ("raw", "C"):
        return values
    factor = np.float32(1 / _level(unit))
    if unit.endswith("C"):
        return values / factor
    return (values - np.float32(_ZERO_CELSIUS) * factor) / factor
