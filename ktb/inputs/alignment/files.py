"""Alignment files: a matrix of pixel positions or a calibration of cameras."""

import io
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ktb.inputs.alignment.cameras import CALIBRATION_FORM, Calibration
from ktb.inputs.limits import MAX_ALIGNMENT_BYTES, InputError
from ktb.inputs.options import AUTO, XOptions
from ktb.inputs.readers.files import Source, load
from ktb.inputs.validation import Matrix, as_matrix, short

_FORMS = (
    "give a matrix of 2 x 3 or 3 x 3 numbers (.json, .npy, or .txt and .csv with a row on each line) or a "
    f"calibration (.json): {CALIBRATION_FORM}"
)
_SHAPES = ((2, 3), (3, 3))


@dataclass(frozen=True)
class Alignment:
    """An alignment of X: either a matrix or a calibration.

    Attributes:
        matrix: 3 x 3 nested tuples, from pixel positions (x, y, 1) of X to those of the RGB image, or None.
        calibration: of X's camera and the RGB image's, for depth, or None.
        name: name of the file, for display.
    """

    matrix: Matrix | None = None
    calibration: Calibration | None = None
    name: str = "the alignment"

    def __post_init__(self) -> None:
        if (self.matrix is None) == (self.calibration is None):
            raise InputError(f"{self.name}: {_FORMS}, one of the two")
        if self.matrix is not None:
            object.__setattr__(self, "matrix", as_matrix(f"{self.name}: the matrix", self.matrix))

    @property
    def summary(self) -> str:
        """One line for display."""
        if self.calibration is not None:
            distance = np.linalg.norm(self.calibration.translation)
            return f"{self.name}: a calibration of two cameras {100 * distance:.1f} cm apart, for depth"
        (a, b, x), (c, d, y), last = self.matrix
        kind = "an affine matrix" if last == (0, 0, 1) else "a homography"
        return (
            f"{self.name}: {kind}, x' = {a:.4g} x + {b:.4g} y + {x:.4g}, y' = {c:.4g} x + {d:.4g} y + {y:.4g}"
        )

    def applied_to(self, options: XOptions = AUTO) -> XOptions:
        """These options with this alignment in place of any other."""
        return replace(options, matrix=self.matrix, calibration=self.calibration)


def read_alignment(source: Source, filename: str | None = None) -> Alignment:
    """Read a matrix or a calibration; the contents decide which, not the suffix.

    Args:
        source: a file or its contents. Matrix, 2 x 3 or 3 x 3: JSON (nested lists, or {"matrix": nested
            lists}), .npy, or a text with a row on each line, numbers apart by spaces, commas or semicolons,
            comments after "#". Calibration: JSON as `Calibration.from_dict` takes it.
        filename: for messages; by default that of the path.

    Raises:
        InputError: no such file, too large, or neither of the two; the message says what is expected.
    """
    if not isinstance(source, bytes) and os.path.isfile(source):
        _check_length(os.path.getsize(source), filename or Path(source).name)
    data, name = load(source, filename)
    _check_length(len(data), name)
    if data.startswith(b"\x93NUMPY"):
        return Alignment(_npy(data, name), name=name)
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: neither text nor .npy; {_FORMS}") from error
    if not text.startswith(("{", "[")):
        return Alignment(_rows(text, name), name=name)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.startswith("["):  # as numpy prints arrays
            return Alignment(_rows(text, name), name=name)
        raise InputError(f"{name}: no valid JSON ({error}); {_FORMS}") from error
    return _from_json(values, name)


def _from_json(values: list | dict[str, Any], name: str) -> Alignment:
    if isinstance(values, list):
        return Alignment(values, name=name)
    if set(values) == {"matrix"} and values["matrix"] is not None:
        return Alignment(values["matrix"], name=name)
    if "matrix" in values:
        others = sorted(set(values) - {"matrix"})
        raise InputError(f"{name}: a matrix with other keys beside it, {short(others)}; {_FORMS}")
    if not set(values) & {"x", "rgb"}:
        raise InputError(f"{name}: JSON with the keys {short(sorted(values))}; {_FORMS}")
    try:
        return Alignment(calibration=Calibration.from_dict(values), name=name)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _rows(text: str, name: str) -> list[list[float]]:
    """A table of numbers; what is no number is named with its line."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.partition("#")[0].translate(str.maketrans(",;[]()", "      ")).split()
        try:
            row = [float(cell) for cell in cells]
        except ValueError as error:
            raise InputError(
                f"{name}: line {number} is {short(line.strip())}, no row of numbers; {_FORMS}"
            ) from error
        if row:
            rows.append(row)
    if not rows:
        raise InputError(f"{name}: holds no numbers; {_FORMS}")
    return rows


def _npy(data: bytes, name: str) -> np.ndarray:
    """A small array; its header is checked before anything is believed, and pickles are refused."""
    stream, np_format = io.BytesIO(data), np.lib.format
    readers = {(1, 0): np_format.read_array_header_1_0, (2, 0): np_format.read_array_header_2_0}
    try:
        shape, column_major, dtype = readers[np_format.read_magic(stream)](stream)
    except Exception as error:  # damaged headers raise many types
        raise InputError(f"{name}: the .npy header is damaged or of unknown kind; save it again") from error
    if shape not in _SHAPES or dtype.kind not in "uif":
        raise InputError(f"{name}: an array of shape {shape}, {dtype}; {_FORMS}")
    values = np.frombuffer(stream.read(), np.uint8)
    if values.size < np.prod(shape) * dtype.itemsize:
        raise InputError(f"{name}: cut off; save or send it again")
    return (
        values[: np.prod(shape) * dtype.itemsize]
        .view(dtype)
        .reshape(shape, order="F" if column_major else "C")
    )


def _check_length(length: int, name: str) -> None:
    if length > MAX_ALIGNMENT_BYTES:
        raise InputError(
            f"{name}: {length:,} bytes, at most {MAX_ALIGNMENT_BYTES:,} for an alignment; {_FORMS}"
        )
