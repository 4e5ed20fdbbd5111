"""Degree and angle of linear polarization, from maps or polarizer images."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np

from ktb.config import InputConfig
from ktb.inputs.encoders.depth import require_picture
from ktb.inputs.encoders.image import one_channel
from ktb.inputs.encoders.mosaic import LAYOUT, demosaicked, is_polarizer_mosaic
from ktb.inputs.encoders.no_data import find_no_data
from ktb.inputs.encoders.stokes import Stokes, require_sine, stokes
from ktb.inputs.histogram import histogram
from ktb.inputs.limits import InputError
from ktb.inputs.options import XOptions
from ktb.inputs.types import Confidence, Encoded, MeasuredValues, RawX, is_array
from ktb.visualize import NO_VALUE_RGB

DOLP_UNITS: Mapping[str, str] = MappingProxyType({"fraction": "0 to 1", "percent": "per cent"})
AOLP_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "radians": "radians",
        "degrees": "degrees",
        "0..255": "0 to 255 for 0 to 180 degrees",
        "0..65535": "0 to 65,535 for 0 to 180 degrees",
        "0..1": "0 to 1 for 0 to 180 degrees",
    }
)
"""Units of maps and their names for display; "auto" guesses among them."""

_PER_DEGREE: Mapping[str, float] = MappingProxyType(
    {"radians": math.pi / 180, "degrees": 1.0, "0..255": 255 / 180, "0..65535": 65535 / 180, "0..1": 1 / 180}
)
_MEAN = (1 / 3, 1 / 3, 1 / 3)
_DISAGREEING = 0.1  # mean difference of I0 + I90 and I45 + I135, as a share of both
_CLEARLY_POLARIZED = 0.3  # degree that shows the angle's colour in full
_MOSAIC = (
    "This grey image is the raw mosaic of a polarization camera, not a map: its four polarizers were "
    "separated by Sony's layout (90, 45 over 135, 0 degrees). Give the unit if it is a map, or the four "
    "images at 0, 45, 90 and 135 degrees if the camera has another layout."
)


def encode_dolp(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Encode the degree of linear polarization, 0..1; maps are not clipped at 1, as in training.

    Raises:
        InputError: events, an angle, negative or far too large values, an unknown unit, nothing but NaN.
    """
    found = _stokes_of(raw, options)
    if found is not None:
        degree, facts, notes = found.degree, _stokes_facts(found, raw), _stokes_notes(found, raw)
    else:
        require_picture(raw, "a degree of polarization")
        degree, facts, notes = _degree_of(raw, options)
    extent = f"{np.nanmin(degree):.2f} / {np.nanmedian(degree):.2f} / {np.nanmax(degree):.2f}"
    facts = {"degree": f"{extent} (min / median / max), mean {np.nanmean(degree):.3f}"} | facts
    over = np.count_nonzero(degree > 1.001) / degree.size
    if over:
        notes += (f"{100 * over:.2g} % of the degrees of polarization are above 1, which is impossible.",)
    return Encoded(
        degree.astype(np.float32),
        degree.astype(np.float32),
        f"degree of polarization {extent}",
        facts | _hole_fact(degree),
        histogram(degree, "degree of polarization"),
        notes=notes,
        measured=MeasuredValues(degree.astype(np.float32), ""),
    )


def encode_aolp(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Encode the angle φ of linear polarization as (sin 2φ, cos 2φ, sin 2φ), each -1..1.

    Raises:
        InputError: events, a coloured picture, values that are no angle, an unknown unit, nothing but NaN.
    """
    strength: np.ndarray | float = 1.0
    found = _stokes_of(raw, options)
    if found is not None:
        double, notes = found.double_angle, _stokes_notes(found, raw)
        facts = {"mean degree of polarization": f"{np.nanmean(found.degree):.3f}"}
        facts |= _stokes_facts(found, raw)
        strength = np.clip(found.degree / _CLEARLY_POLARIZED, 0.1, 1)
    elif raw.kind == "sin_cos" or _is_encoded_angle(raw):
        sine, cosine = (raw.data[..., i].astype(np.float32) for i in (0, 1))
        require_sine(raw.data[..., :2], raw.name)
        facts, notes = {"angle": "from its sine and cosine, taken as they are"}, ()
        return _angle(np.stack([sine, cosine, sine], axis=-1), np.arctan2(sine, cosine), 1.0, facts, notes)
    else:
        require_picture(raw, "an angle of polarization")
        double, facts, notes = _double_angle_of(raw, options)
    sine, cosine = np.sin(double), np.cos(double)
    return _angle(np.stack([sine, cosine, sine], axis=-1), double, strength, facts, notes)


def _angle(image: np.ndarray, double: np.ndarray, strength, facts: dict[str, str], notes) -> Encoded:
    degrees = np.degrees(double) % 360 / 2
    if np.isnan(degrees).all():
        raise InputError("the angle of polarization is nowhere measured, all is NaN; check the file")
    facts = facts | _hole_fact(degrees) | {"colours": "red at 0 degrees, green at 60, blue at 120"}
    return Encoded(
        image.astype(np.float32),
        _hues(degrees, strength),
        "angle of polarization as sine and cosine of twice the angle",
        facts,
        histogram(degrees, "degrees"),
        notes=notes,
    )


def _hues(degrees: np.ndarray, strength: np.ndarray | float) -> np.ndarray:
    """Colour the angle, which has a period of 180 degrees, with a cyclic hue: (H, W, 3) uint8."""
    hue = np.nan_to_num(2 * degrees).astype(np.float32)
    strong = np.nan_to_num(np.broadcast_to(np.float32(strength), hue.shape))
    colours = cv2.cvtColor(np.stack([hue, strong, np.ones_like(hue)], axis=-1), cv2.COLOR_HSV2RGB)
    picture = np.rint(colours * 255).astype(np.uint8)
    picture[np.isnan(degrees)] = NO_VALUE_RGB
    return picture


def _hole_fact(values: np.ndarray) -> dict[str, str]:
    share = np.isnan(values).mean()
    return {"holes": f"{100 * share:.1f} %"} if share else {}


def _stokes_of(raw: RawX, options: XOptions) -> Stokes | None:
    """Stokes parameters of four images or channels, or of a mosaic; None for maps.

    An image file's fourth channel is alpha. An image whose unit was given is a map.
    """
    if raw.kind == "angles" or (_has_channels(raw, 4) and is_array(raw)):
        return stokes(raw.data, raw.name)
    if options.unit == "auto" and (mosaic := _mosaic_of(raw)) is not None:
        return stokes(demosaicked(mosaic), raw.name)
    return None


def _has_channels(raw: RawX, count: int) -> bool:
    return raw.kind == "picture" and raw.data.ndim == 3 and raw.data.shape[2] == count


def _is_frame(raw: RawX) -> bool:
    """Whether Stokes parameters of a raw X came from a mosaic."""
    return raw.kind == "picture" and not _has_channels(raw, 4)


def _mosaic_of(raw: RawX) -> np.ndarray | None:
    """The frame (H, W) of a polarization camera, which counts light in integers; None for other images."""
    if raw.kind != "picture" or raw.data.dtype.kind != "u":
        return None
    grey, is_colour = one_channel(raw.data, _MEAN)
    return grey if not is_colour and is_polarizer_mosaic(grey) else None


def _stokes_facts(found: Stokes, raw: RawX) -> dict[str, str]:
    s0 = found.s0
    (first, second), (third, fourth) = LAYOUT
    layout = f"{first}, {second} over {third}, {fourth} degrees, as Sony's sensors (guess)"
    mosaic = {"mosaic": layout} if _is_frame(raw) else {}
    return mosaic | {
        "S0": f"{np.nanmin(s0):,.6g} / {np.nanmedian(s0):,.6g} / {np.nanmax(s0):,.6g} (min / median / max)",
        "saturated": f"{100 * found.saturated:.1f} % of the pixels",
    }


def _stokes_notes(found: Stokes, raw: RawX) -> tuple[str, ...]:
    notes = (_MOSAIC,) if _is_frame(raw) else ()
    if found.disagreement > _DISAGREEING:
        notes += (
            f"I0 + I90 and I45 + I135 differ by {100 * found.disagreement:.0f} %, but should be equal: check "
            "that the angles are 0, 45, 90 and 135 degrees in this order and the exposures the same.",
        )
    if found.saturated > 0.05:
        notes += (f"{100 * found.saturated:.0f} % of the pixels are saturated: their polarization is wrong.",)
    return notes


def _is_encoded_angle(raw: RawX) -> bool:
    """Whether an image is encoded as (sin 2φ, cos 2φ, sin 2φ) already."""
    data = raw.data
    if raw.kind != "picture" or data.dtype.kind != "f" or data.ndim != 3 or data.shape[2] != 3:
        return False
    same = np.array_equal(data[..., 0], data[..., 2], equal_nan=True)
    return same and not np.array_equal(data[..., 0], data[..., 1], equal_nan=True)


def _unit(options: XOptions, units: Mapping[str, str], what: str, name: str) -> str:
    if options.unit != "auto" and options.unit not in units:
        allowed = ", ".join(units)
        raise InputError(f"{name}: unit {options.unit!r} of the {what}: choose auto or one of {allowed}")
    return options.unit


def _degree_of(raw: RawX, options: XOptions) -> tuple[np.ndarray, dict[str, str], tuple[str, ...]]:
    data, colour = one_channel(raw.data, _MEAN)
    missing = find_no_data(data).holes
    measured = data[~missing]
    if not measured.size:
        raise InputError(f"{raw.name}: the degree of polarization is nowhere measured, all is NaN")
    unit = _unit(options, DOLP_UNITS, "degree of polarization", raw.name)
    sure: Confidence = options.surety
    if unit == "auto":
        is_float = raw.data.dtype.kind == "f"
        sure = "likely" if is_float else "guess"  # any grey image is one of integers
        unit = "percent" if is_float and np.percentile(measured, 99) > 1.5 else "fraction"
    full = np.iinfo(raw.data.dtype).max if raw.data.dtype.kind in "ui" else 1
    divisor = 100 if unit == "percent" else full
    degree = np.where(missing, np.nan, data).astype(np.float32) / np.float32(divisor)
    if measured.min() < 0 or np.nanpercentile(degree, 99) > 1.5:
        found = f"{measured.min():g}..{measured.max():g}"
        raise InputError(
            f"{raw.name}: values {found} are no degree of polarization, which is 0 to 1 or 0 to 100 %; "
            "choose its unit, or another modality for X"
        )
    notes = ()
    if colour:
        notes += (
            "This degree of polarization is a picture in colour: the mean of its channels is used. Colours "
            "of a palette are no degrees; export the map in grey or as an array.",
        )
    stored = f", {full:,} = 1" if full > 1 and unit == "fraction" else ""
    return degree, {"unit": f"{DOLP_UNITS[unit]}{stored} ({sure})"}, notes


def _double_angle_of(raw: RawX, options: XOptions) -> tuple[np.ndarray, dict[str, str], tuple[str, ...]]:
    data, colour = one_channel(raw.data, _MEAN)
    if colour:
        raise InputError(
            f"{raw.name}: an angle of polarization cannot be read from a coloured picture; give the angles "
            "as an array, their sine and cosine, or the four pictures behind the polarizer"
        )
    unit = _unit(options, AOLP_UNITS, "angle of polarization", raw.name)
    missing = find_no_data(data).holes
    measured = data[~missing]
    if not measured.size:
        raise InputError(f"{raw.name}: the angle of polarization is nowhere measured, all is NaN")
    low, high = float(measured.min()), float(measured.max())
    sure: Confidence = options.surety
    if unit == "auto":
        unit, sure = guess_angle(raw.data.dtype, low, high, raw.name)
    per_degree = _PER_DEGREE[unit]
    phi = np.where(missing, np.nan, data).astype(np.float64) / per_degree
    facts = {"unit": f"{AOLP_UNITS[unit]} ({sure})", "values": f"{low:,.6g} to {high:,.6g}"}
    notes = ()
    if high - low > 181 * per_degree:
        notes += ("The angles span more than half a turn: check that they are φ and not 2φ.",)
    return np.radians(2 * phi).astype(np.float32), facts, notes


def guess_angle(dtype: np.dtype, low: float, high: float, name: str) -> tuple[str, Confidence]:
    """The unit of angles between two stored values, a key of AOLP_UNITS, and the confidence in it.

    Raises:
        InputError: the values are no angles.
    """
    if dtype.kind in "ui":
        if low >= -180 and high <= 180:
            return "degrees", "guess"
        top = 255 if dtype == np.uint8 else 65535
        if low >= 0 and high <= top:
            return f"0..{top}", "guess"
    elif low >= 0 and 0.9 < high <= 1:
        return "0..1", "guess"
    elif max(-low, high) <= math.pi + 0.01:
        return "radians", "likely"
    elif max(-low, high) <= 361:
        return "degrees", "likely"
    raise InputError(f"{name}: values {low:g}..{high:g} are no angles in radians or degrees; check the file")
