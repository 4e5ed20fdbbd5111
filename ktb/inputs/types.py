"""Data classes of the inputs: raw (RawX), depth (DepthMap) and encoded (Encoded)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ktb.inputs.events.stacks import histogram_shape, summed
from ktb.inputs.events.stream import EventStream
from ktb.inputs.histogram import Histogram
from ktb.inputs.limits import InputError, check_layout
from ktb.modalities import Modality

Kind = Literal["picture", "events", "counts", "angles", "sin_cos"]
Origin = Literal["measured", "estimated", "missing"]
Confidence = Literal["certain", "as in training", "likely", "guess"]
"""Of a unit: said by the user, taken from the checkpoint's training, or guessed with or without doubt."""
Interpolation = Literal["nearest", "bilinear"]


@dataclass(frozen=True, eq=False)
class RawX:
    """A raw X input at its own size and bit depth.

    Attributes:
        data: by `kind`: "picture" (H, W), (H, W, 3) RGB or (H, W, 4) RGBA; "events" an EventStream; "counts"
            (H, W, 2) events of each polarity, or (H, W, 3) with their recency in 0..1; "angles" (H, W, 4)
            intensities behind a polarizer at 0, 45, 90, 135 degrees; "sin_cos" (H, W, 2) sine and cosine of
            twice the angle of polarization. Integers or floats, not modified after reading.
        format: for display, such as "16-bit PNG".
        name: name of the file, for messages.
        facts: further properties, title -> text, such as {"columns": "t x y polarity"}.
        notes: notes for the user, such as about ignored data.
        origin: "measured", "estimated" by a network from the RGB image, or "missing".
        orientation: the EXIF orientation that the reader applied, 1 to 8.
        recognized: the modality that `ktb.inputs.recognize` found, used unless the options name another one.
        guessed: the options of XOptions that the reader guessed for lack of a better source: `columns`,
            `time_unit` and `sensor_hw` of events, `unit` of depth estimated without a scale.
    """

    data: np.ndarray | EventStream
    format: str = "array"
    name: str = "the X array"
    kind: Kind = "picture"
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    origin: Origin = "measured"
    orientation: int = 1
    recognized: Modality | None = None
    guessed: Mapping[str, str | tuple[int, int]] = field(default_factory=dict)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.data.size_hw if isinstance(self.data, EventStream) else self.data.shape[:2]


@dataclass(frozen=True, eq=False)
class RgbImage:
    """An RGB image from a file.

    Attributes:
        pixels: (H, W, 3) uint8, upright.
        name, format: of the file, for messages and display.
        orientation: the EXIF orientation that the reader applied, 1 to 8.
        notes: notes for the user, such as about dropped channels.
    """

    pixels: np.ndarray
    name: str = "the RGB image"
    format: str = "array"
    orientation: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DepthMap:
    """A depth map in metres and the confidence in its unit.

    Attributes:
        metres: (H, W) float32, NaN where there is no measurement.
        unit: a key of DEPTH_UNITS, or another scale as "1/NUMBERm" (levels per metre).
        minimum, median, maximum: statistics of the measured pixels in metres.
        hole_share: fraction of pixels without a measurement, 0..1.
        why: the reason for a guessed unit, "" for a chosen one.
        notes: requests to check the unit where the result is unusual.
    """

    metres: np.ndarray
    unit: str
    confidence: Confidence
    minimum: float
    median: float
    maximum: float
    hole_share: float
    why: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class MeasuredValues:
    """What a sensor measured: values (H, W) float32, NaN in holes.

    `unit` is "m", "°C" or the like, and "" for values as stored.
    """

    values: np.ndarray
    unit: str


@dataclass(frozen=True, eq=False)
class Encoded:
    """The result of an encoder.

    Attributes:
        image: (H, W) or (H, W, 3) float32 on the network's scale, 0..1 (the angle of polarization -1..1);
            NaN where nothing was measured.
        display: image for display: (H, W) float32 physical values, NaN in holes, or (H, W, 3) uint8 RGB.
        summary: short description without the file's name, such as "voxel grid of 3,120 events".
        facts: title -> text for display, most important first.
        histogram: histogram of the physical values, or None.
        interpolation: interpolation for resizing image and display.
        notes: notes for the user.
        depth: the `DepthMap`, for depth.
        far_is_bright: whether large values of a one-channel display are drawn bright.
        measured: the physical values of each pixel; None where a pixel has no single one, and for depth,
            which has `depth`.
    """

    image: np.ndarray
    display: np.ndarray
    summary: str
    facts: Mapping[str, str]
    histogram: Histogram | None = None
    interpolation: Interpolation = "bilinear"
    notes: tuple[str, ...] = ()
    depth: DepthMap | None = None
    far_is_bright: bool = field(default=True)
    measured: MeasuredValues | None = None


def kind_of(picture: np.ndarray) -> Kind:
    """The kind of an array: of two channels, sine and cosine, unless they are counts of events.

    A sine and a cosine are floats of which many are negative; counts are not.
    """
    if picture.ndim != 3 or picture.shape[2] != 2:
        return "picture"
    if picture.dtype.kind != "f":
        return "counts" if picture.dtype.kind == "u" or picture.min() >= 0 else "sin_cos"
    measured = picture[np.isfinite(picture)]
    if not measured.size or measured.min() < 0:
        return "sin_cos"
    is_unit = np.abs(np.square(picture, dtype=np.float64).sum(axis=-1) - 1) < 0.05
    return "sin_cos" if np.mean(is_unit) > 0.5 else "counts"


def is_array(raw: RawX) -> bool:
    """Whether a raw X came as an array, not as an image file: its channels have no fixed meaning."""
    return raw.format.startswith(("NPY", "NPZ")) or raw.format.endswith("array")


def as_raw(x: "np.ndarray | EventStream | RawX") -> RawX:
    """Wrap an array or an event stream as a `RawX`; InputError for an array that is not an image.

    A stack of event histograms (T, 2, H, W) or (T, H, W, 2) is summed over time.
    """
    if isinstance(x, RawX):
        return x
    if isinstance(x, EventStream):
        return RawX(x, "event stream", "the event stream", "events")
    if not isinstance(x, np.ndarray):
        raise InputError(f"X is {type(x).__name__}; give an array, an EventStream, or what read_x returned")
    if (histogram := histogram_shape(x.shape)) is not None:
        check_layout(histogram, x.dtype)
        frame, note = summed(x, "the X array")
        return RawX(frame, f"{x.dtype} array", kind="counts", notes=(note,))
    check_layout(x.shape, x.dtype)
    x = x.squeeze()
    return RawX(x, f"{x.dtype} array", kind=kind_of(x))
