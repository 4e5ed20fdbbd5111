"""Event recordings in HDF5 files (DSEC, Prophesee, E2VID, MVSEC, tables), by the optional package h5py.

Of a large recording only the window that was asked for is read, so that the file may be larger than others.
What could make HDF5 open other files of the machine is refused (see `hdf5_guard`).
"""

import bisect
import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ktb.inputs.events.aedat4 import part_note
from ktb.inputs.events.build import EventColumns
from ktb.inputs.events.columns import (
    MICROSECONDS,
    Found,
    Sensor,
    by_name,
    check_count,
    column_order,
    time_unit,
)
from ktb.inputs.events.hdf5_guard import check_written, datasets_in, read_rows, small_attributes
from ktb.inputs.events.hdf5_index import Peek, check_start
from ktb.inputs.events.text import named, size_of
from ktb.inputs.limits import MAX_EVENTS, MIN_SIDE, InputError
from ktb.inputs.options import XOptions
from ktb.inputs.readers.files import Source

MAGIC = b"\x89HDF\r\n\x1a\n"
_DSEC = Sensor((480, 640), "as in DSEC")
_INDEXES = ("ms_to_idx", "ms_map_idx")  # of DSEC, TUM-VIE and M3ED: times in microseconds
_SIZES = ("resolution", "sensor_size", "sensor_resolution", "geometry")
_HEAD = 50_000


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where a file keeps a stream: `path` names it, `datasets` holds its four by role, or one for all.

    `fields` are the names by role within a dataset of records; without them it is a table (N, 4).
    """

    path: str
    datasets: tuple[Any, ...]
    fields: Mapping[str, str] | None

    @property
    def count(self) -> int:
        return self.datasets[0].shape[0]

    def read(self, start: int, stop: int, name: str, only: str = "xytp") -> dict[str, np.ndarray]:
        """Columns by role; "0" to "3" for those of a table."""
        if len(self.datasets) == 4:
            pairs = zip("xytp", self.datasets)
            return {role: read_rows(ds, start, stop, name) for role, ds in pairs if role in only}
        if self.fields is not None:
            fields = {role: field for role, field in self.fields.items() if role in only}
            rows = read_rows(self.datasets[0], start, stop, name, [*fields.values()])
            return {role: rows[field] for role, field in fields.items()}
        rows = read_rows(self.datasets[0], start, stop, name)
        return {str(i): rows[:, i] for i in range(4)}


def read_hdf5(source: Source, filename: str | None, options: XOptions) -> EventColumns:
    """The events of an HDF5 file, given by its path or its contents.

    Of more than MAX_EVENTS events only those within `options.window_ms` are read, else the first ones.

    Raises:
        InputError: h5py or a decompressor is missing; no events; damaged; values kept in other files.
    """
    name = filename or ("the file" if isinstance(source, bytes) else Path(source).name)
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{name}: an HDF5 file; to read it: pip install h5py") from error
    try:
        with _bytes_of(source) as peek:
            check_start(peek, name)
            with h5py.File(io.BytesIO(source) if isinstance(source, bytes) else source, "r") as file:
                return _read(file, peek, name, options)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # HDF5 raises many types for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{name}: the HDF5 file is damaged or cut off ({reason}); save or send it again"
        ) from error


@contextlib.contextmanager
def _bytes_of(source: Source) -> Iterator[Peek]:
    if isinstance(source, bytes):
        yield lambda at, count: source[at : at + count]
        return
    with open(source, "rb") as file:

        def peek(at: int, count: int) -> bytes:
            if at >= 2**63:
                return b""
            file.seek(at)
            return file.read(max(count, 0))

        yield peek


def _read(file: Any, peek: Peek, name: str, options: XOptions) -> EventColumns:
    datasets = datasets_in(file, peek, name)
    layouts = _layouts(datasets)
    if not layouts:
        found = ", ".join(f"{path} {dataset.shape}" for path, dataset in list(datasets.items())[:8])
        raise InputError(
            f"{name}: no events in this HDF5 file (it holds {found or 'nothing'}); they are looked for as "
            "arrays x, y, t and p, as records with these fields, and as a table (N, 4); save pictures as .npy"
        )
    layout = layouts[0]
    check_count(min(layout.count, 1), name)
    check_written(layout.datasets, name)
    notes: tuple[str, ...] = ()
    if len(layouts) > 1:
        others = ", ".join(other.path for other in layouts[1:5])
        notes = (f"The file holds several event streams; {layout.path} was taken, not {others}.",)

    unit, size_hw = _known(file, datasets, layout, name)
    usual = _DSEC if _index_of(datasets, layout) else None
    if layout.count <= MAX_EVENTS:
        columns, order = _ordered(layout, layout.read(0, layout.count, name), name, options)
        return EventColumns(columns, "HDF5 " + layout.path, name, order, unit, size_hw, notes, usual=usual)
    start, stop, span = _window(layout, name, options, unit)
    columns, order = _ordered(layout, layout.read(start, stop, name), name, options)
    notes += (part_note(layout.count, stop - start),)
    return EventColumns(columns, "HDF5 " + layout.path, name, order, unit, size_hw, notes, span, usual=usual)


def _layouts(datasets: Mapping[str, Any]) -> list[_Layout]:
    """All event streams of the file, those named events first."""
    groups: dict[str, dict[str, str]] = {}
    found = []
    for path, dataset in datasets.items():
        group, _, key = path.rpartition("/")
        names = dataset.dtype.names
        if dataset.ndim == 1 and names and (fields := by_name(names)):
            found.append(_Layout(path, (dataset,), fields))
        elif dataset.ndim == 1 and not names:
            groups.setdefault(group, {})[key] = path
        elif dataset.ndim == 2 and dataset.shape[1] == 4 and dataset.dtype.kind in "uif":
            found.append(_Layout(path, (dataset,), None))
    for group, keys in groups.items():
        if roles := by_name(list(keys)):
            four = tuple(datasets[keys[roles[role]]] for role in "xytp")
            if len({dataset.shape for dataset in four}) == 1:
                found.append(_Layout(group or "/", four, {role: roles[role] for role in "xytp"}))
    return sorted(found, key=lambda layout: "events" not in layout.path.lower())


def _ordered(
    layout: _Layout, columns: dict[str, np.ndarray], name: str, options: XOptions
) -> tuple[dict[str, np.ndarray], Found]:
    """Columns by role, and how their order was determined."""
    if layout.fields is not None:
        return columns, named(layout.fields.values())
    order = _table_order(columns, name, options)
    return {role: columns[str(i)] for i, role in enumerate(order.value)}, order


def _table_order(columns: dict[str, np.ndarray], name: str, options: XOptions) -> Found:
    step = max(1, len(columns["0"]) // _HEAD)
    return column_order(np.stack([columns[str(i)][::step] for i in range(4)], axis=1), options.columns, name)


def _index_of(datasets: Mapping[str, Any], layout: _Layout) -> bool:
    """Whether the events have an index by milliseconds, at the file's root or beside them."""
    places = ("", f"{layout.path.strip('/')}/")
    return len(layout.datasets) == 4 and any(place + key in datasets for place in places for key in _INDEXES)


def _known(
    file: Any, datasets: Mapping[str, Any], layout: _Layout, name: str
) -> tuple[str | None, tuple[int, int] | None]:
    """Unit of time and (height, width), if the layout, the attributes or other datasets determine them."""
    group = layout.datasets[0].parent
    unit = "us" if layout.path.startswith("CD/") or _index_of(datasets, layout) else None
    for attributes in map(small_attributes, (layout.datasets[0], group, file)):
        if "width" in attributes and "height" in attributes:
            return unit, size_of([attributes["height"], attributes["width"]])
        for key in _SIZES:
            value = attributes.get(key)
            if isinstance(value, bytes | str):
                text = value.decode("latin-1") if isinstance(value, bytes) else value
                value = [int(side) for side in re.findall(r"\d{1,6}", text)]
            if value is not None and (size := size_of(value)):
                return unit, size
    return unit, _size_beside(datasets, layout, name)


def _size_beside(datasets: Mapping[str, Any], layout: _Layout, name: str) -> tuple[int, int] | None:
    """(height, width) from a dataset of two numbers, or from frames (N, H, W), beside the events."""
    parts = layout.path.strip("/").split("/")
    place = "/".join(parts[: len(parts) - (len(layout.datasets) == 1)])
    for path, dataset in datasets.items():
        if not path.startswith(place):
            continue
        if path.rpartition("/")[2].lower() in _SIZES and dataset.shape == (2,):
            check_written((dataset,), name)
            if size := size_of(read_rows(dataset, 0, 2, name)):
                return size
    frames = (ds.shape for path, ds in datasets.items() if "image" in path.lower() and ds.ndim in (3, 4))
    return next(((shape[1], shape[2]) for shape in frames if min(shape[1:3]) >= MIN_SIDE), None)


def _window(
    layout: _Layout, name: str, options: XOptions, unit: str | None
) -> tuple[int, int, tuple[float, float]]:
    """First and last row to be read, and the recording's first and last time in its own unit."""
    head = layout.read(0, min(_HEAD, layout.count), name)
    role = "t"
    if layout.fields is None:
        role = str(_table_order(head, name, options).value.index("t"))
    times = _Times(layout, role, name)
    first, last = times[0], times[layout.count - 1]
    span = first, last
    if options.window_ms is None:
        return 0, MAX_EVENTS, span
    if not first < last:
        raise InputError(
            f"{name}: the events are not in the order of their times; sort them, or cut a part out"
        )
    unit = time_unit(head[role], options.time_unit, unit).value
    low, high = (first + edge * 1e3 / MICROSECONDS[unit] for edge in options.window_ms)
    start, stop = bisect.bisect_left(times, low), bisect.bisect_right(times, high)
    if start >= stop:
        seconds = (last - first) * MICROSECONDS[unit] / 1e6
        raise InputError(f"{name}: no events in the window {options.window_ms} ms; they span {seconds:g} s")
    return start, min(stop, start + MAX_EVENTS), span


class _Times(Sequence):
    """The times of a recording one by one, to search them without reading them all."""

    def __init__(self, layout: _Layout, role: str, name: str) -> None:
        self._layout, self._role, self._name = layout, role, name

    def __len__(self) -> int:
        return self._layout.count

    def __getitem__(self, row: int) -> float:
        return self._layout.read(row, row + 1, self._name, self._role)[self._role][0].item()
