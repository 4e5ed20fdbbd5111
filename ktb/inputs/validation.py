"""Numbers as users give them, in JSON or in code: checked, and made into tuples that cannot be changed."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ktb.inputs.limits import InputError

Matrix = tuple[tuple[float, float, float], ...]
LARGEST_AREA_SCALE = 1e8
"""A matrix that makes areas larger or smaller than this is a mistake, not an alignment."""


def is_number(value: Any) -> bool:
    """Whether this is one finite number: no bool, no text, no NaN."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def as_numbers(name: str, value: Any, count: int) -> tuple[float, ...]:
    """A list, tuple or array of `count` finite numbers as a tuple of floats; InputError for anything else."""
    if not _is_row(value) or len(value) != count or not all(map(is_number, value)):
        raise InputError(f"{name} is {short(value)}; give {count} finite numbers")
    return tuple(map(float, value))


def as_table(name: str, value: Any, shapes: Sequence[tuple[int, int]]) -> np.ndarray:
    """Nested lists, tuples or an array of one of these shapes as float64; InputError for anything else."""
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
    """A 2 x 3 or 3 x 3 matrix that moves pixels, as 3 x 3 nested tuples with 1 at the lower right.

    Raises:
        InputError: another shape, what is no number, or a matrix that makes a line or a huge plane of X.
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
    """Tuples as lists, and what has a `to_dict` as a dict."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return [to_json(part) for part in value] if isinstance(value, tuple) else value


def short(value: Any) -> str:
    """A value as it would be typed, cut for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_row(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)
