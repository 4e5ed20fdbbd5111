"""Options of an X input that override detection; every default means automatic detection."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ktb.config import InputConfig
from ktb.inputs.alignment.cameras import Calibration, Intrinsics, assumed_camera
from ktb.inputs.limits import MAX_SIDE, InputError
from ktb.inputs.types import Confidence
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
RECORDING = ("columns", "time_unit", "sensor_hw")
"""Options of an event recording that a checkpoint stores."""
CAMERA = ("field_of_view", "intrinsics")
"""Options of the depth camera that a checkpoint stores."""
_INNER = ("surety", "assumed")  # who said the others; a user's JSON has none of them
__all__ = ["AUTO", "Calibration", "Hot", "Intrinsics", "XOptions"]


@dataclass(frozen=True)
class XOptions:
    """Options of one X input; immutable and hashable.

    Attributes:
        modality: modality of X; "auto" uses that of the checkpoint, unless X clearly has another one.
        unit: unit of depth (a key of DEPTH_UNITS, or a scale: levels per metre such as 6553.5, or the size of
            a level such as "0.25mm"), of temperature (a key of THERMAL_UNITS), or of a degree or angle of
            polarization (a key of DOLP_UNITS or AOLP_UNITS).
        hot: polarity of a thermal image, "white" or "black".
        value_range: thermal values (in degrees Celsius if the unit is known, else as stored) mapped to 0 and
            1, instead of the checkpoint's rule.
        field_of_view: horizontal, in degrees; intrinsics: fx, fy, cx, cy of X's own image; for HHA and for
            points in space.
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
        surety: of the unit; other than "certain" if the user did not say it, see `as_trained`.
        assumed: the names in RECORDING and CAMERA that the user did not say, but the checkpoint's training;
            what a file itself says has priority.

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
    surety: Confidence = "certain"
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("turn", "channel"):
            value = getattr(self, name)
            if isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, name, str(value))
        if is_number(self.unit):  # levels per metre
            object.__setattr__(self, "unit", f"{self.unit:.12g}")
        if self.surety != "certain":
            require(Confidence, self.surety, "the option surety of X", InputError)
        if not isinstance(self.assumed, list | tuple) or set(self.assumed) - {*RECORDING, *CAMERA}:
            raise InputError(f"the option assumed of X is {self.assumed!r}; give names of options")
        object.__setattr__(self, "assumed", tuple(self.assumed))
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

    def rgb_camera(self, x_hw: tuple[int, int], rgb_hw: tuple[int, int]) -> tuple[Intrinsics, bool]:
        """The camera of an aligned X in the RGB image's pixels, and whether it is assumed.

        It is the calibration's for the RGB image, else that of X, resized or warped as X is. It is assumed if
        the user gave none: then it is NYU's, or that of the checkpoint's training.

        Args:
            x_hw, rgb_hw: (height, width) of X and of the RGB image.
        """
        if self.calibration is not None:
            return self.calibration.rgb.scaled(rgb_hw), False
        camera = self.camera(x_hw)
        moved = camera.scaled(rgb_hw) if self.matrix is None else camera.warped(self.matrix, rgb_hw)
        is_given = any(getattr(self, name) is not None for name in CAMERA if name not in self.assumed)
        return moved or assumed_camera(rgb_hw), moved is None or not is_given

    def as_trained(self, inputs: InputConfig) -> "XOptions":
        """These options, completed by how a checkpoint's training read its recordings, or by its camera.

        Reading a file with them gives the same columns, time unit and sensor of events as in training. The
        unit of an image is completed when it is encoded.
        """
        if self.modality not in ("auto", inputs.modality):
            return self
        names: tuple[str, ...] = RECORDING if inputs.modality == "event" else ()
        has_camera = self.calibration or any(getattr(self, name) is not None for name in CAMERA)
        if inputs.modality == "hha" and not has_camera:
            names = CAMERA
        known = {n: getattr(inputs, n) for n in names if getattr(self, n) in ("auto", None)}
        known = {name: value for name, value in known.items() if value not in ("auto", None)}
        return replace(self, **known, assumed=(*self.assumed, *known)) if known else self

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form of the user's options that differ from the defaults; see `from_dict`."""
        said = [f for f in fields(self) if f.name not in _INNER and getattr(self, f.name) != f.default]
        values = {f.name: getattr(self, f.name) for f in said}
        return {name: to_json(value) for name, value in values.items()}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "XOptions":
        """Options from JSON values; InputError for an unknown key or an invalid value."""
        known = {f.name for f in fields(XOptions)} - set(_INNER) | {"depth_scale"}
        if not isinstance(values, Mapping):
            raise InputError(
                f"the options of X are {type(values).__name__}; give an object of {sorted(known)}"
            )
        if unknown := sorted(map(str, set(values) - known)):
            near = did_you_mean(unknown[0], known)
            raise InputError(f"the options of X have unknown keys {unknown}; allowed: {sorted(known)}.{near}")
        values = dict(values)
        if (scale := values.pop("depth_scale", None)) is not None:
            if values.get("unit", "auto") != "auto":
                raise InputError(
                    f"both unit {values['unit']!r} and depth_scale {scale!r} are given; give one"
                )
            if not is_number(scale):
                raise InputError(
                    f"depth_scale is {scale!r}; give a number of levels per metre, such as 6553.5"
                )
            values["unit"] = scale
        if values.get("calibration") is not None:
            values["calibration"] = Calibration.from_dict(values["calibration"])
        return XOptions(**values)


AUTO = XOptions()
"""All defaults: automatic detection."""
