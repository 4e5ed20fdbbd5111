"""Validation of numbers from users, in JSON or code, and conversion to tuples."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ktb.inputs.limits import InputError

Matrix = tuple[tuple[float, float, float], ...]
LARGEST_AREA_SCALE = 1e8
"""Limit of the change of area by an alignment matrix."""


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, not a bool, text or NaN."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def as_numbers(name: str, value: Any, count: int) -> tuple[float, ...]:
    """Convert a list, tuple or array of `count` finite numbers to a tuple of floats; else InputError."""
    if not _is_row(value) or len(value) != count or not all(map(is_number, value)):
        raise InputError(f"{name} is {short(value)}; give {count} finite numbers")
    return tuple(map(float, value))


def as_table(name: str, value: Any, shapes: Sequence[tuple[int, int]]) -> np.ndarray:
    """Convert nested lists, tuples or an array of one of these shapes to float64; else InputError."""
    wanted = f"give {' or '.join(f'{rows} x {columns}' for rows, columns in shapes)} finite numbers"
    if not _is_row(value) or not all(map(_is_row, value)):
        raise InputError(f"{name} is {short(value)}, no table of numbers; {wanted}")
    lengths = sorted({len(row) for row in value})
    if len(lengths) != 1 or (len(value), lengths[0]) not in shapes:
        found = " or ".join(map(str, lengths)) or "no"
        raise InputError(f"{name} has {len(value)} rows of {found} numbers; {wanted}")
    wrong = [cell for row in value for cell in row if not is_number(cell)]
    if wrong:
        raise InputError(f"{name} contains {short(wrong[0])}; {wanted}")
    return np.array([[float(cell) for cell in row] for row in value])


def as_matrix(name: str, value: Any) -> Matrix:
    """Convert a 2 x 3 or 3 x 3 matrix of pixel positions to 3 x 3 nested tuples with 1 at the lower right.

    Raises:
        InputError: the shape or a value is invalid, or the matrix is degenerate.
    """
    matrix = as_table(name, value, ((2, 3), (3, 3)))
    if len(matrix) == 2:
        matrix = np.vstack([matrix, (0.0, 0.0, 1.0)])
    with np.errstate(all="ignore"):
        matrix = matrix / matrix[2, 2]
        area = abs(np.linalg.det(matrix)) if np.isfinite(matrix).all() else math.nan
    if not 1 / LARGEST_AREA_SCALE <= area <= LARGEST_AREA_SCALE:
        raise InputError(
            f"{name} cannot be used: it makes X {'infinitely ' if math.isnan(area) else ''}small, flat or "
            "large; check its numbers and their order (rows: x, y, and 0 0 1)"
        )
    return tuple(tuple(row) for row in matrix.tolist())


def to_json(value: Any) -> Any:
    """JSON-compatible form: tuples as lists, objects by their `to_dict`."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return [to_json(part) for part in value] if isinstance(value, tuple) else value


def short(value: Any) -> str:
    """The repr of a value, truncated for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_row(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)
