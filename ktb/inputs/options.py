"""Options of an X input that override detection; every default means automatic detection."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ktb.inputs.alignment.cameras import Calibration, Intrinsics, assumed_camera
from ktb.inputs.limits import MAX_SIDE, InputError
from ktb.inputs.validation import as_matrix, as_numbers, is_number, to_json
from ktb.modalities import MODALITIES
from ktb.utils.text import did_you_mean
from ktb.utils.validation import require

Hot = Literal["auto", "white", "black"]
Turn = Literal["auto", "exif", "90", "180", "270"]
Channel = Literal["auto", "colour", "1", "2", "3", "4"]
ByteOrder = Literal["auto", "stored", "swapped"]
if TYPE_CHECKING:
    Given: TypeAlias = str
else:
    Given = Literal[("auto", *MODALITIES)]
__all__ = ["AUTO", "Calibration", "Hot", "Intrinsics", "XOptions"]


@dataclass(frozen=True)
class XOptions:
    """Options of one X input; immutable and hashable.

    Attributes:
        modality: modality of X; "auto" uses that of the checkpoint, unless X clearly has another one.
        unit: unit of depth (a key of DEPTH_UNITS) or temperature (a key of THERMAL_UNITS).
        hot: polarity of a thermal image, "white" or "black".
        value_range: thermal values (in degrees Celsius if the unit is known, else as stored) mapped to 0 and
            1, instead of the checkpoint's rule.
        field_of_view: horizontal, in degrees; intrinsics: fx, fy, cx, cy of X's own image; for HHA only.
        window_ms: (start, end) of the event window in milliseconds from the first event.
        columns: order of an event table, such as "txyp"; time_unit: "s", "ms", "us" or "ns".
        sensor_hw: (height, width) of the event sensor.
        turn: of X before everything else: "exif" as the EXIF orientation of the RGB image turned that, or
            90, 180, 270 degrees clockwise; "auto" leaves X as it is, and warns.
        channel: of an image with several, 1 to 4, or "colour", the first three; "auto" takes a fourth one
            that varies where X is one measurement per pixel.
        byte_order: of 16-bit values, "stored" as the file says, or "swapped"; "auto" swaps where neighbouring
            pixels say so.
        matrix: 2 x 3 or 3 x 3, maps pixel positions (x, y, 1) of X to those of the RGB image, with pixel
            centres at integers; stored as 3 x 3 nested tuples with 1 at the lower right.
        calibration: both cameras, to register depth to the RGB image; an alternative to a matrix.

    Raises InputError for an invalid value, or for both a matrix and a calibration.
    """

    modality: Given = "auto"
    unit: str = "auto"
    hot: Hot = "auto"
    value_range: tuple[float, float] | None = None
    field_of_view: float | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    window_ms: tuple[float, float] | None = None
    columns: str = "auto"
    time_unit: str = "auto"
    sensor_hw: tuple[int, int] | None = None
    turn: Turn = "auto"
    channel: Channel = "auto"
    byte_order: ByteOrder = "auto"
    matrix: tuple[tuple[float, ...], ...] | None = None
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        for name in ("turn", "channel"):
            value = getattr(self, name)
            if isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, name, str(value))
        texts = {"modality": Given, "unit": str, "hot": Hot, "columns": str, "time_unit": str}
        texts |= {"turn": Turn, "channel": Channel, "byte_order": ByteOrder}
        for name, kind in texts.items():
            if not isinstance(value := getattr(self, name), str) or value != "auto":
                require(kind, value, f"the option {name} of X", InputError)
        for name, count in (("value_range", 2), ("window_ms", 2), ("sensor_hw", 2), ("intrinsics", 4)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_numbers(name, value, count))
        for name in ("value_range", "window_ms"):
            value = getattr(self, name)
            if value is not None and value[0] >= value[1]:
                raise InputError(f"{name} {value}: give the lower number first, then a higher one")
        self._check_cameras()
        if self.matrix is not None:
            object.__setattr__(self, "matrix", as_matrix("the matrix", self.matrix))

    def _check_cameras(self) -> None:
        if self.sensor_hw is not None:
            if any(side % 1 or not 1 <= side <= MAX_SIDE for side in self.sensor_hw):
                raise InputError(
                    f"sensor_hw {self.sensor_hw}: give height and width in pixels, 1 to {MAX_SIDE:,}"
                )
            object.__setattr__(self, "sensor_hw", tuple(map(int, self.sensor_hw)))
        if self.intrinsics is not None:
            Intrinsics(*self.intrinsics)  # validates the numbers
        if self.field_of_view is not None:
            if not is_number(self.field_of_view):
                raise InputError(f"the option field_of_view of X is {self.field_of_view!r}; give degrees")
            Intrinsics.from_field_of_view(self.field_of_view, (1, 1))
            object.__setattr__(self, "field_of_view", float(self.field_of_view))
        if self.calibration is not None:
            if not isinstance(self.calibration, Calibration):
                found = type(self.calibration).__name__
                raise InputError(f"the calibration is {found}; give a Calibration, see Calibration.from_dict")
            if self.matrix is not None:
                raise InputError("both a matrix and a calibration align X; give one of them")

    def camera(self, size_hw: tuple[int, int]) -> Intrinsics:
        """The camera of an X image of this size: as given, else NYU's scaled to that size."""
        if self.intrinsics is not None:
            return Intrinsics(*self.intrinsics, (size_hw[0], size_hw[1]))
        if self.field_of_view is not None:
            return Intrinsics.from_field_of_view(self.field_of_view, size_hw)
        return self.calibration.x.scaled(size_hw) if self.calibration else assumed_camera(size_hw)

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form of the options that differ from the defaults; the inverse of `from_dict`."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: to_json(value) for name, value in values.items()}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "XOptions":
        """Options from JSON values; InputError for an unknown key or an invalid value."""
        known = {f.name for f in fields(XOptions)}
        if not isinstance(values, Mapping):
            raise InputError(
                f"the options of X are {type(values).__name__}; give an object of {sorted(known)}"
            )
        if unknown := sorted(map(str, set(values) - known)):
            near = did_you_mean(unknown[0], known)
            raise InputError(f"the options of X have unknown keys {unknown}; allowed: {sorted(known)}.{near}")
        values = dict(values)
        if values.get("calibration") is not None:
            values["calibration"] = Calibration.from_dict(values["calibration"])
        return XOptions(**values)


AUTO = XOptions()
"""All defaults: automatic detection."""
