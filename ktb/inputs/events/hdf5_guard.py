"""Safe reading of HDF5 files: numeric datasets in the file itself, with chunks of bounded size."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ktb.inputs.events.hdf5_filters import DEFLATE, FILTERS, FLETCHER32, SHUFFLE, unpacks_within
from ktb.inputs.events.hdf5_index import Peek, check_index
from ktb.inputs.limits import (
    FREE_EXPANSION,
    MAX_ALL_CHUNKS,
    MAX_CHUNK_BYTES,
    MAX_CHUNKS,
    MAX_ENTRIES,
    MAX_EVENT_EXPANSION,
    InputError,
    check_bytes,
)

SURE_BYTES = 256 * 2**10
"""Stored bytes of a chunk from which deflate can make 256 MiB at most: larger ones are unpacked in trial."""
_DEPTH = 4
_SMALL = 1024


def datasets_in(file: Any, peek: Peek, name: str) -> dict[str, Any]:
    """Path -> dataset of plain numbers or records of them, of an open h5py.File; `peek` reads its bytes.

    Links by name within the file are not followed; depth and number of entries are limited, so loops end.

    Raises:
        InputError: links to other files, external storage, virtual datasets, more than MAX_ENTRIES entries;
            indexes without end (see `hdf5_index`).
    """
    found: dict[str, Any] = {}
    pending, seen = [("", file, 0)], 0
    while pending:
        path, group, depth = pending.pop(0)
        for key in group:
            seen += 1
            if seen > MAX_ENTRIES:
                raise InputError(f"{name}: more than {MAX_ENTRIES} entries; save the events alone in a file")
            kind = _kind(group, key, peek, name)
            if kind == "dataset":
                dataset = group[key]
                _refuse_foreign(dataset, path + key, name)
                if _plain(dataset.dtype):
                    found[path + key] = dataset
            elif kind == "group" and depth < _DEPTH:
                pending.append((f"{path}{key}/", group[key], depth + 1))
    return found


def _kind(group: Any, key: str, peek: Peek, name: str) -> str:
    import h5py

    link = group.get(key, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise InputError(f"{name}: {key!r} is a link to another file; save the events themselves in the file")
    if not isinstance(link, h5py.HardLink):
        return "link"
    check_index(peek, group.id.links.get_info(key.encode()).u, name)  # before HDF5 opens it
    kind = group.get(key, getclass=True)
    return "dataset" if kind is h5py.Dataset else "group" if kind is h5py.Group else "other"


def _refuse_foreign(dataset: Any, path: str, name: str) -> None:
    import h5py

    layout = dataset.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
        raise InputError(
            f"{name}: {path} takes its values from other files; save the values in the file itself"
        )


def _plain(dtype: np.dtype) -> bool:
    if dtype.names is not None:
        return all(dtype[field].kind in "uifb" for field in dtype.names) and dtype.itemsize <= _SMALL
    return dtype.kind in "uifb"


def read_rows(
    dataset: Any, start: int, stop: int, name: str, fields: Sequence[str] | None = None
) -> np.ndarray:
    """Rows start..stop - 1 of a dataset from `datasets_in`; of records only these fields.

    Raises:
        InputError: pieces that are too large, too many or unpack to more than they should, far more rows than
            the file holds, or a compression that is not installed.
    """
    record = sum(dataset.dtype[field].itemsize for field in fields) if fields else dataset.dtype.itemsize
    check_bytes((stop - start) * math.prod(dataset.shape[1:]) * record, name)
    if dataset.chunks is not None:
        _check_chunks(dataset, start, stop, name)
    return dataset[start:stop] if fields is None else dataset.fields(list(fields))[start:stop]


def check_written(datasets: Sequence[Any], name: str) -> None:
    """Raise an InputError for datasets larger than their stored data: HDF5 fills in unwritten chunks."""
    promised = stored = 0
    for dataset in datasets:
        whole, held = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
        promised, stored = promised + whole, stored + held
        if dataset.chunks is None:
            is_whole = held >= whole
        else:
            pieces = math.prod(math.ceil(side / step) for side, step in zip(dataset.shape, dataset.chunks))
            is_whole = pieces <= MAX_ALL_CHUNKS and dataset.id.get_num_chunks() >= pieces
        if not is_whole:
            raise InputError(
                f"{name}: {dataset.name} was not written to its end, or has over {MAX_ALL_CHUNKS:,} pieces; "
                "save the recording again"
            )
    if promised > max(FREE_EXPANSION, MAX_EVENT_EXPANSION * stored):
        raise InputError(
            f"{name}: {promised >> 20:,} MiB of events in {stored:,} bytes, more than compression makes of a "
            "recording; it is damaged, save it again"
        )


def _check_chunks(dataset: Any, start: int, stop: int, name: str) -> None:
    chunk = dataset.chunks
    size = math.prod(chunk) * dataset.dtype.itemsize
    if size > MAX_CHUNK_BYTES:
        raise InputError(
            f"{name}: stored in pieces of {size >> 20} MiB, at most {MAX_CHUNK_BYTES >> 20} are taken; "
            "repack it with smaller chunks (h5repack)"
        )
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
    across = [range(0, side, step) for side, step in zip(dataset.shape[1:], chunk[1:])]
    firsts = range(start // chunk[0] * chunk[0], stop, chunk[0])
    pieces = len(firsts) * math.prod(map(len, across))
    if pieces > MAX_CHUNKS:
        raise InputError(f"{name}: stored in more than {MAX_CHUNKS:,} pieces; repack it with larger chunks")
    rows = (stop - start) * math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    if pieces * size > 2 * rows + 4 * MAX_CHUNK_BYTES:
        raise InputError(
            f"{name}: {pieces * size >> 20:,} MiB of pieces for {rows >> 20:,} MiB of events; repack it with "
            "smaller chunks (h5repack)"
        )
    if not filters:
        return
    _check_filters([code for code, *_ in filters], name)
    columns = across[0] if across else (None,)
    wanted = [(first,) if column is None else (first, column) for first in firsts for column in columns]
    for at, info in _pieces(dataset, wanted, name).items():
        if not _is_sound(dataset, at, info, size, filters):
            raise InputError(f"{name}: a piece of it unpacks to more than it should hold; it is damaged")


def _pieces(dataset: Any, wanted: list[tuple[int, ...]], name: str) -> dict[tuple[int, ...], Any]:
    """Place -> where a piece lies and how it is packed; HDF5 goes through all pieces for a look-up."""
    if len(wanted) <= 2:
        return {at: dataset.id.get_chunk_info_by_coord(at) for at in wanted}
    found = dict.fromkeys(wanted)

    def note(info: Any) -> None:
        if info.chunk_offset in found:
            found[info.chunk_offset] = info

    dataset.id.chunk_iter(note)
    if None in found.values():
        raise InputError(f"{name}: pieces of {dataset.name} are missing; it is damaged, save it again")
    return found


def _check_filters(codes: list[int], name: str) -> None:
    """Refuse unknown or repeated compression filters, and name the package of a missing one."""
    import h5py

    packing = [code for code in codes if code in FILTERS]
    behind = codes[codes.index(packing[0]) + 1 :] if packing else []
    if len(set(codes)) < len(codes) or len(packing) > 1 or any(code != FLETCHER32 for code in behind):
        raise InputError(f"{name}: compressed several times over; repack it (h5repack)")
    unknown = [code for code in codes if code not in FILTERS and code not in (SHUFFLE, FLETCHER32)]
    missing = [code for code in codes if not h5py.h5z.filter_avail(code)]
    if missing and not unknown:
        try:
            import hdf5plugin  # noqa: F401  (importing it adds the filters)
        except ImportError as error:
            raise InputError(
                f"{name}: compressed with HDF5 filter {missing[0]} (DSEC uses Blosc); to read it: pip "
                "install hdf5plugin"
            ) from error
        missing = [code for code in codes if not h5py.h5z.filter_avail(code)]
    if unknown or missing:
        raise InputError(
            f"{name}: compressed with HDF5 filter {(unknown or missing)[0]}, which is not read here; repack "
            "it with gzip (h5repack -f GZIP=4), or export the events as .npz"
        )


def _is_sound(dataset: Any, at: tuple[int, ...], info: Any, size: int, filters: Sequence[tuple]) -> bool:
    """Whether a chunk decompresses to at most its size; an unwritten chunk does."""
    if not info.byte_offset:
        return True
    if info.size > 2 * size + 2**16:
        return False
    number, packer = next(((i, f) for i, f in enumerate(filters) if f[0] in FILTERS), (0, None))
    if packer is None or info.filter_mask >> number & 1:  # the chunk is as it is
        return info.size <= size + 2**10
    if packer[0] == DEFLATE and info.size <= SURE_BYTES:
        return True
    return unpacks_within(packer[0], packer[2], dataset.id.read_direct_chunk(at)[1], size)


def small_attributes(thing: Any) -> dict[str, Any]:
    """Attributes that are short texts or a few numbers, by their names in small letters."""
    found = {}
    for key in list(thing.attrs)[:MAX_ENTRIES]:
        attribute = thing.attrs.get_id(key)
        few = math.prod(attribute.shape) * attribute.dtype.itemsize <= _SMALL
        if few and (
            attribute.dtype.kind in "uifSU" or (attribute.dtype.kind == "O" and attribute.shape == ())
        ):
            found[key.lower()] = thing.attrs[key]
    return found
