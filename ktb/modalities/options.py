"""What a user may say about an X input, where the guess would be wrong; every default means "find out"."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from ktb.config import Modality
from ktb.modalities.limits import InputError

Hot = Literal["auto", "white", "black"]


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera in pixels of an image of `size_hw`; pixel centres are counted from 0.

    Source of the default: NYU's colour camera at 480 x 640.
    """

    fx: float = 518.858
    fy: float = 519.470
    cx: float = 325.582 - 1
    cy: float = 253.736 - 1
    size_hw: tuple[int, int] = (480, 640)

    def __post_init__(self):
        values = (self.fx, self.fy, self.cx, self.cy)
        if not all(map(math.isfinite, values)) or min(self.fx, self.fy, *self.size_hw) <= 0:
            raise InputError(f"intrinsics {values} of {self.size_hw}: fx, fy and the size must be positive")

    def scaled(self, size_hw: tuple[int, int]) -> "Intrinsics":
        """The same camera for an image of another size."""
        y, x = (new / old for new, old in zip(size_hw, self.size_hw))
        cx, cy = (self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5
        return Intrinsics(self.fx * x, self.fy * y, cx, cy, tuple(size_hw))

    @staticmethod
    def from_field_of_view(degrees: float, size_hw: tuple[int, int]) -> "Intrinsics":
        """A camera that looks through the image's centre, with this horizontal field of view."""
        if not 1 <= degrees <= 170:
            raise InputError(f"field of view {degrees}: give 1 to 170 degrees, measured horizontally")
        height, width = size_hw
        focal = width / 2 / math.tan(math.radians(degrees) / 2)
        return Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, (height, width))


@dataclass(frozen=True)
class XOptions:
    """Corrections of one input.

    Attributes:
        modality: what X is; "auto" takes it for what the checkpoint was trained on, unless it plainly is not.
        unit: of depth (a key of DEPTH_UNITS) or temperature (a key of THERMAL_UNITS).
        hot: whether hot is white or black in a thermal picture.
        value_range: thermal values (in the file's unit, degrees Celsius where it is known) that become 0 and
            1, in place of the checkpoint's rule.
        field_of_view: horizontal, degrees; intrinsics: fx, fy, cx, cy of X's own image; both for HHA only.
        window_ms: (start, end) of the events used, in milliseconds from the first event.
        columns: order of an event table, such as "txyp"; time_unit: "s", "ms", "us" or "ns".
        sensor_hw: height and width of the event sensor.
        matrix: 2 x 3 or 3 x 3, takes pixel positions (x, y, 1) of X to those of the photograph; rows as
            nested tuples.
    """

    modality: Modality | Literal["auto"] = "auto"
    unit: str = "auto"
    hot: Hot = "auto"
    value_range: tuple[float, float] | None = None
    field_of_view: float | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    window_ms: tuple[float, float] | None = None
    columns: str = "auto"
    time_unit: str = "auto"
    sensor_hw: tuple[int, int] | None = None
    matrix: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self):
        allowed = ("auto", *get_args(Modality))
        if self.modality not in allowed:
            raise InputError(f"modality {self.modality!r}: choose one of {', '.join(allowed)}")
        if self.hot not in get_args(Hot):
            raise InputError(f"hot {self.hot!r}: choose one of {', '.join(get_args(Hot))}")
        for name, count in (("value_range", 2), ("window_ms", 2), ("sensor_hw", 2), ("intrinsics", 4)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _numbers(name, value, count))
        for name in ("value_range", "window_ms"):
            value = getattr(self, name)
            if value is not None and value[0] >= value[1]:
                raise InputError(f"{name} {value}: give the lower number first, then a higher one")
        if self.matrix is not None:
            object.__setattr__(self, "matrix", _matrix(self.matrix))

    def camera(self, size_hw: tuple[int, int]) -> Intrinsics:
        """The camera of X's image of this size: as given, else NYU's scaled to it."""
        if self.intrinsics is not None:
            return Intrinsics(*self.intrinsics, tuple(size_hw))
        if self.field_of_view is not None:
            return Intrinsics.from_field_of_view(self.field_of_view, size_hw)
        return Intrinsics().scaled(size_hw)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "XOptions":
        """From JSON; InputError for an unknown key or a value of the wrong kind."""
        known = {f.name for f in fields(XOptions)}
        if not isinstance(values, Mapping):
            raise InputError(
                f"the options of X are {type(values).__name__}; give an object of {sorted(known)}"
            )
        if unknown := sorted(set(values) - known):
            raise InputError(f"the options of X have unknown keys {unknown}; allowed: {sorted(known)}")
        texts = ("modality", "unit", "hot", "columns", "time_unit")
        for name in texts:
            if not isinstance(values.get(name, ""), str):
                raise InputError(f"the option {name} of X is {values[name]!r}; give a text")
        fov = values.get("field_of_view")
        if fov is not None and (isinstance(fov, bool) or not isinstance(fov, int | float)):
            raise InputError(f"the option field_of_view of X is {fov!r}; give degrees")
        return XOptions(**values)


def _numbers(name: str, value: Any, count: int) -> tuple:
    fits = isinstance(value, list | tuple | np.ndarray) and len(value) == count
    fits = fits and all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in value)
    if not fits or not all(map(math.isfinite, value)):
        raise InputError(f"{name} is {value!r}; give {count} finite numbers")
    return tuple(int(v) if name == "sensor_hw" else float(v) for v in value)


def _matrix(value: Any) -> tuple[tuple[float, ...], ...]:
    """A 3 x 3 matrix as nested tuples, from 2 x 3 or 3 x 3."""
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the matrix {value!r} is no table of numbers; give 2 x 3 or 3 x 3") from error
    if matrix.shape == (2, 3):
        matrix = np.vstack([matrix, (0.0, 0.0, 1.0)])
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise InputError(f"the matrix has shape {matrix.shape}; give 2 x 3 or 3 x 3 finite numbers")
    if abs(np.linalg.det(matrix)) < 1e-9:
        raise InputError("the matrix cannot be inverted: it maps X onto a line; check its numbers")
    return tuple(tuple(row) for row in matrix.tolist())


AUTO = XOptions()
"""Nothing said: everything is found out."""
