"""AEDAT4 recordings of iniVation's cameras, decoded by the optional package aedat (MIT)."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ktb.modalities.event_build import Recording
from ktb.modalities.event_files import structured
from ktb.modalities.files import Source, load
from ktb.modalities.limits import MAX_EVENTS, InputError
from ktb.modalities.options import XOptions

MAGIC = b"#!AER-DAT4"
FIELDS = {"t": "t", "x": "x", "y": "y", "p": "on"}


def read_aedat4(source: Source, filename: str | None, options: XOptions) -> Recording:
    """The first event stream of a recording; times are in microseconds, the file knows its sensor.

    Of more than MAX_EVENTS events only the window that was asked for is kept, or else the start.

    Raises:
        InputError: the package is missing, or the file is damaged, larger than the limit or without events.
    """
    data, name = load(source, filename)
    try:
        import aedat
    except ImportError as error:
        raise InputError(f"{name}: an AEDAT4 recording; to read it: pip install aedat") from error
    with tempfile.TemporaryDirectory() as folder:  # the decoder opens files only; the name is of no harm
        path = Path(folder) / "recording.aedat4"
        path.write_bytes(data)
        del data
        try:
            return _decode(aedat.Decoder, path, name, options)
        except (InputError, KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # a panic of the Rust decoder is no Exception
            raise InputError(
                f"{name}: the recording is damaged ({error}); record or export it again"
            ) from error


def _decode(decoder, path: Path, name: str, options: XOptions) -> Recording:
    streams = decoder(path).id_to_stream()
    number = next((key for key in sorted(streams) if streams[key]["type"] == "events"), None)
    if number is None:
        kinds = sorted({stream["type"] for stream in streams.values()})
        raise InputError(f"{name}: no event stream in the recording, only {', '.join(kinds) or 'nothing'}")
    total, first, last, parts, kept = 0, None, None, [], 0
    for events in _packets(decoder(path), number):
        first = int(events["t"][0]) if first is None else first
        last = int(events["t"][-1])
        if kept < MAX_EVENTS:
            parts.append(events[: MAX_EVENTS - kept])
            kept += len(parts[-1])
        total += len(events)
    if not parts:
        raise InputError(f"{name}: holds no events; record or choose a longer part")
    notes, span = (), None
    if total > MAX_EVENTS:
        span = first, last
        if options.window_ms is not None:
            parts = _within(_packets(decoder(path), number), first, options.window_ms)
        notes = (part_note(total, sum(map(len, parts))),)
    width, height = streams[number].get("width", 0), streams[number].get("height", 0)
    size = (int(height), int(width)) if height and width else None
    found = structured(np.concatenate(parts), FIELDS, "AEDAT4", name, size)
    return Recording(found.columns, "AEDAT4", name, found.order, "us", size, notes, span)


def _packets(decoder: Iterator[dict], number: int) -> Iterator[np.ndarray]:
    for packet in decoder:
        if packet["stream_id"] == number and len(packet.get("events", ())):
            yield packet["events"]


def _within(packets: Iterator[np.ndarray], first: int, window_ms: tuple[float, float]) -> list[np.ndarray]:
    """Events of the window, at most MAX_EVENTS."""
    start, end = (first + 1000 * edge for edge in window_ms)
    parts, kept = [], 0
    for events in packets:
        events = events[(events["t"] >= start) & (events["t"] <= end)][: MAX_EVENTS - kept]
        parts.append(events)
        kept += len(events)
    return parts


def part_note(total: int, read: int) -> str:
    """What to tell the user of a recording of which a part was read."""
    return f"The recording holds {total:,} events; {read:,} of them were read: choose a window for the rest."
