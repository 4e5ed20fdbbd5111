"""Event recordings in NumPy arrays and text tables, as four columns."""

import io
import re
from collections.abc import Iterable, Sequence

import numpy as np

from ktb.inputs.events.build import EventColumns
from ktb.inputs.events.columns import (
    ALIASES,
    Found,
    by_name,
    check_count,
    column_order,
    has_polarity,
)
from ktb.inputs.limits import InputError
from ktb.inputs.options import XOptions
from ktb.inputs.readers.files import signed_format, value_table
from ktb.inputs.readers.numpy_files import StoredArray

TABLE_SUFFIXES = (".txt", ".csv", ".tsv")
_SIZE_KEYS = ("sensor_hw", "size_hw", "sensor_size", "sensor_resolution", "resolution")
MAX_LINE = 4096
"""Maximum characters of a line in a table."""
_TO_SPACES = bytes.maketrans(b",;\t|", b"    ")


def events_in_arrays(arrays: Sequence[StoredArray], name: str, options: XOptions) -> EventColumns | None:
    """The events among the arrays of a .npy or .npz file; None if there are none.

    Four arrays named x, y, t and p (or as ALIASES has it), a structured array with such fields, or a table
    (N, 4) or (4, N); "events" goes before other names.
    """
    lines = {array.key: array for array in arrays if sum(side != 1 for side in array.shape) <= 1}
    size = _size_in(arrays)
    roles = by_name(list(lines))
    if roles:
        columns = {role: _line(lines[key], role, name) for role, key in roles.items()}
        return EventColumns(columns, "NPZ events", name, named(roles.values()), sensor_hw=size)
    tables = [array for array in arrays if array.event_fields or array.is_event_table]
    if not tables:
        return None
    table = next((array for array in tables if array.key == "events"), tables[0])
    container = f"NPZ, {table.key}" if table.key else "NPY"
    text = f"{container} events, {table.title}"
    if table.event_fields:
        check_count(table.shape[0], name)
        return structured(table.read(), table.event_fields, text, name, size)
    check_count(max(table.shape) if min(table.shape) else 0, name)
    values, notes = table.read(), ()
    if table.shape[1] != 4:
        values, notes = values.T, (f"The table has the shape {table.shape}; rows were taken for columns.",)
    return from_table(values, text, name, options, size, notes)


def structured(
    table: np.ndarray, fields: dict[str, str], text: str, name: str, size_hw: tuple[int, int] | None = None
) -> EventColumns:
    """A structured array (N,) with these fields by role."""
    return EventColumns(
        {r: table[f] for r, f in fields.items()}, text, name, named(fields.values()), None, size_hw
    )


def from_table(
    table: np.ndarray,
    text: str,
    name: str,
    options: XOptions,
    size_hw: tuple[int, int] | None = None,
    notes: tuple[str, ...] = (),
) -> EventColumns:
    """A table (N, 4) of numbers, the order of its columns as said or found."""
    order = column_order(table, options.columns, name)
    if "columns" in options.assumed and has_polarity(table, order.value):
        order = Found(order.value, "as in training")
    elif "columns" in options.assumed:
        found = column_order(table, "auto", name)
        notes += (
            f"The columns of this table are not {options.columns}, as in the checkpoint's training: they "
            f"were read as {found.value} ({found.surety}). Say the order if that is wrong.",
        )
        order = found
    if len(order.value) > table.shape[1]:
        raise InputError(
            f"{name}: {table.shape[1]} columns, but {''.join(order.value)} were said; all four are needed"
        )
    columns = {role: table[:, i] for i, role in enumerate(order.value)}
    return EventColumns(columns, text, name, order, None, size_hw, notes)


def named(names: Iterable[str]) -> Found:
    """The order of columns that the file names."""
    return Found(tuple(names), "named in the file")


def _line(array: StoredArray, role: str, name: str) -> np.ndarray:
    check_count(int(np.prod(array.shape)), name)
    column = array.read().reshape(-1)
    if role in "xy" and column.dtype.kind == "i" and column.dtype.itemsize > 4:
        # narrower at once: four wide columns need not be in memory together; strays stay outside
        column = np.clip(column, -1, 2**30).astype(np.int32)
    return column


def _size_in(arrays: Sequence[StoredArray]) -> tuple[int, int] | None:
    """(height, width) if the file holds it as small arrays."""
    small = {
        array.key.lower(): array for array in arrays if np.prod(array.shape) <= 2 and array.dtype.kind in "ui"
    }
    if "width" in small and "height" in small:
        return size_of([small["height"].read(), small["width"].read()])
    return next((size_of(small[key].read()) for key in _SIZE_KEYS if key in small), None)


def size_of(values: Sequence[float] | np.ndarray) -> tuple[int, int] | None:
    """Two numbers in either order as (height, width): every event sensor is at least as wide as high."""
    sides = np.asarray(values).reshape(-1)
    if len(sides) != 2 or sides.dtype.kind not in "uif" or not (sides >= 1).all() or (sides > 2**20).any():
        return None
    return int(sides.min()), int(sides.max())


def looks_like_table(data: bytes, name: str) -> bool:
    """Whether a file begins with lines of four numbers, or is a text that is named as a table."""
    start = data[:4096].removeprefix(b"\xef\xbb\xbf")
    if start.lstrip().startswith((b"<", b"{", b"[", b"P1", b"P2", b"P3")) or any(
        byte < 9 or 13 < byte < 32 for byte in start
    ):
        return False
    if name.lower().endswith(TABLE_SUFFIXES):
        return True
    rows = [line for line in start.decode("latin-1").splitlines() if line.strip() and line[0] not in "#%"]
    return any(len(_numbers(row) or ()) == 4 for row in rows[:3])


def read_text(data: bytes, name: str, options: XOptions) -> EventColumns:
    """A text table of one event a line, columns apart by commas, semicolons, blanks or tabs.

    The first lines may hold names of the columns, remarks after #, or width and height of the sensor.

    Raises:
        InputError: no table of numbers, or too many lines.
    """
    if found := signed_format(data) or value_table(data):
        raise InputError(f"{name}: this is {found}")
    check_count(data.count(b"\n") or 1, name)
    _check_lines(data, name)
    names, size, start, columns = _heading(data, name)
    body = data[start:].translate(_TO_SPACES)
    for word, digit in ((b"True", b"1"), (b"False", b"0"), (b"true", b"1"), (b"false", b"0")):
        body = body.replace(word, digit) if word in body[:65536] else body
    try:
        table = np.loadtxt(io.BytesIO(body), dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise InputError(
            f"{name}: no table of numbers below line {data[:start].count(10)} ({error}); give one event a "
            "line: time, x, y, polarity"
        ) from error
    del body
    check_count(table.size and len(table), name)
    text = f"text table of {columns} columns"
    roles = by_name(names) if names and len(names) == columns else None
    if roles and (options.columns == "auto" or "columns" in options.assumed):
        found = {role: table[:, names.index(column)] for role, column in roles.items()}
        return EventColumns(found, text, name, named(roles.values()), None, size)
    return from_table(table, text, name, options, size)


def _check_lines(data: bytes, name: str) -> None:
    """Refuse a line that is not an event, because NumPy creates objects for all words of a line."""
    place = 0
    while len(data) - place > MAX_LINE:
        end = data.rfind(b"\n", place, place + MAX_LINE)
        if end < 0:
            raise InputError(
                f"{name}: line {data[:place].count(10) + 1} is longer than {MAX_LINE:,} letters; give one "
                "event a line: time, x, y, polarity"
            )
        place = end + 1


def _heading(data: bytes, name: str) -> tuple[list[str], tuple[int, int] | None, int, int]:
    """Names of the columns, (height, width), where the rows begin, and how many numbers are in the first."""
    names, size, position = [], None, 3 * data.startswith(b"\xef\xbb\xbf")
    for _ in range(100):
        end = data.find(b"\n", position) + 1 or len(data)
        line = data[position : min(end, position + 4096)].decode("latin-1").strip()
        numbers = _numbers(line)
        if numbers and not (len(numbers) == 2 and size is None):
            return names, size, position, len(numbers)
        if numbers:
            size = size_of(numbers)
        elif line:
            words = [word.strip("\"' ") for word in re.split(r"[\s,;|]+", line.lstrip("#% ")) if word]
            known = sum(word.lower() in aliases for word in words for aliases in ALIASES.values())
            names = words if known >= 2 else names
        if end >= len(data):
            break
        position = end
    raise InputError(f"{name}: no line of numbers at its start; give one event a line: time, x, y, polarity")


def _numbers(line: str) -> list[float] | None:
    """The numbers of a line, None if it holds anything else; words for polarities count."""
    words = re.split(r"[\s,;|]+", line.strip(" \t\r,;|"))
    try:
        return [float({"true": "1", "false": "0"}.get(word.lower(), word)) for word in words]
    except ValueError:
        return None
