"""Event recordings of every format: the same events come out; what is guessed is right and said."""

from __future__ import annotations

import builtins
import io
import time
import zlib

import numpy as np
import pytest

from ktb.inputs import InputError, XOptions, read_x
from ktb.inputs.events import (
    aedat4 as event_aedat,
)
from ktb.inputs.events import (
    columns as event_columns,
)
from ktb.inputs.events import (
    hdf5 as event_hdf5,
)
from ktb.inputs.events import (
    hdf5_guard,
)
from tools.fuzz.aedat_maker import LZ4, NONE, ZSTD, aedat4, events_of

RNG = np.random.default_rng(0)
COUNT = 3000
X, Y = RNG.integers(346, size=COUNT), RNG.integers(260, size=COUNT)
X[:2], Y[:2] = (0, 345), (0, 259)
T = 359_845 + np.sort(RNG.choice(30_000, COUNT, replace=False))
P = RNG.integers(2, size=COUNT)
COLUMNS = {"x": X, "y": Y, "t": T, "p": P}


def saved(save, *arrays, **named) -> bytes:
    stream = io.BytesIO()
    save(stream, *arrays, **named)
    return stream.getvalue()


def npy(array) -> bytes:
    return saved(np.save, array)


def npz(**arrays) -> bytes:
    return saved(np.savez, **arrays)


def table(order="txyp", **changed) -> np.ndarray:
    columns = COLUMNS | changed
    return np.stack([columns[role] for role in order], axis=1)


def text(array, separator=" ", heading="", formats="%d") -> bytes:
    stream = io.StringIO()
    stream.write(heading)
    np.savetxt(stream, array, formats, separator)
    return stream.getvalue().encode()


def hdf5(fill) -> bytes:
    h5py = pytest.importorskip("h5py")
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file)
    return stream.getvalue()


def check(data, name="events.bin", options=None, t=T, unit="microseconds", polarity=P):
    """The events are those of COLUMNS, and the unit was found."""
    raw = read_x(data, name, options or XOptions())
    assert raw.kind == "events"
    stream = raw.data
    np.testing.assert_array_equal(stream.x, X)
    np.testing.assert_array_equal(stream.y, Y)
    np.testing.assert_array_equal(stream.polarity, polarity == 1)
    np.testing.assert_allclose(stream.t - stream.t[0], t - t[0], atol=0.3)
    assert raw.facts["time unit"].startswith(unit)
    assert raw.facts["events"] == "3,000"
    return raw


# Arrays


@pytest.mark.parametrize(
    "names",
    ["x y t p", "xs ys ts ps", "x y timestamp polarity", "X Y T Pol", "x y timestamps pol", "x y time p"],
)
def test_npz_with_four_arrays_of_any_usual_names(names):
    raw = check(npz(**dict(zip(names.split(), COLUMNS.values()))))
    assert raw.facts["sensor"] == "346 x 260 (guessed: DAVIS346)"
    assert raw.facts["polarity"] == "0 / 1"
    assert raw.facts["columns"].endswith("(named in the file)")
    assert not raw.notes


@pytest.mark.parametrize("dtype", [np.int64, np.uint32, np.float64])
@pytest.mark.parametrize("order", ["txyp", "xytp", "xypt", "ptxy"])
def test_tables_of_every_order(order, dtype):
    expected = " ".join(order)
    assert check(npy(table(order).astype(dtype))).facts["columns"] == f"{expected} (likely)"
    assert check(npz(events=table(order).astype(dtype))).facts["columns"] == f"{expected} (likely)"


def test_transposed_tables_and_column_major_ones():
    assert "rows were taken for columns" in check(npy(np.ascontiguousarray(table().T))).notes[0]
    assert not check(npy(np.asfortranarray(table()))).notes


def test_structured_arrays():
    records = np.rec.fromarrays([X.astype("u2"), Y.astype("u2"), P.astype("i2"), T], names="x,y,p,t")
    check(npy(records))
    check(npz(events=records))
    swapped = records.astype([("x", ">u2"), ("y", ">u2"), ("p", ">i2"), ("t", ">i8")])
    check(npy(swapped))


def test_size_in_the_file_and_size_as_said():
    assert check(npz(**COLUMNS, width=640, height=480)).facts["sensor"] == "640 x 480 (from the file)"
    assert check(npz(**COLUMNS, sensor_hw=[300, 400])).data.size_hw == (300, 400)
    said = check(npz(**COLUMNS, width=640, height=480), options=XOptions(sensor_hw=(720, 1280)))
    assert said.facts["sensor"] == "1280 x 720 (as said)"


def test_depth_goes_before_events_unless_events_were_said():
    depth = RNG.random((40, 50))
    data = npz(**COLUMNS, depth=depth)
    np.testing.assert_array_equal(read_x(data).data, depth)
    check(data, options=XOptions(modality="event"))


# Guesses


@pytest.mark.parametrize(
    ("t", "unit"),
    [
        ((T - T[0]) / 1e6, "seconds (likely)"),
        (1.7e9 + T / 1e6, "seconds (likely)"),
        (T, "microseconds (likely)"),
        (T.astype(float), "microseconds (likely)"),
        (T * 1000, "nanoseconds (likely)"),
        (1_700_000_000_000_000_000 + T * 1000 + 7, "nanoseconds (likely)"),
        (1_700_000_000_000_000 + T, "microseconds (likely)"),
        (T / 1e3, "milliseconds"),
    ],
)
def test_units_of_time(t, unit):
    check(npz(x=X, y=Y, t=t, p=P), unit=unit)
    check(npy(np.rec.fromarrays([t, X, Y, P], names="t,x,y,p")), unit=unit)


def test_unit_as_said():
    raw = check(npz(**COLUMNS), options=XOptions(time_unit="ns"), t=T / 1000, unit="nanoseconds")
    assert raw.facts["time unit"] == "nanoseconds"
    with pytest.raises(InputError, match=r"time_unit 'h': choose one of auto, s, ms, us, ns"):
        read_x(npz(**COLUMNS), options=XOptions(time_unit="h"))


@pytest.mark.parametrize(
    ("polarity", "words"),
    [(P, "0 / 1"), (2 * P - 1, "-1 / 1"), (P.astype(bool), "false / true"), (P.astype(float), "0 / 1")],
)
def test_polarity_conventions(polarity, words):
    assert check(npz(x=X, y=Y, t=T, p=polarity)).facts["polarity"] == words


def test_one_polarity_alone():
    assert check(npy(table(p=np.ones(COUNT, int))), polarity=np.ones(COUNT)).facts["polarity"] == "only 1"
    check(npy(table(p=-np.ones(COUNT, int))), polarity=np.zeros(COUNT))


def test_columns_as_said_are_not_questioned():
    mirrored = read_x(npy(table("txyp")), options=XOptions(columns="tyxp"))
    np.testing.assert_array_equal(mirrored.data.x, Y)
    assert mirrored.facts["columns"] == "t y x p"
    with pytest.raises(InputError, match="columns 'txy': name each of x, y, t and p once"):
        read_x(npy(table()), options=XOptions(columns="txy"))


def test_rows_before_columns_are_seen_by_the_sensor_s_shape():
    raw = check(npy(table("tyxp")))
    assert raw.facts["columns"] == "t y x p (a guess)"


def test_tables_that_are_no_events():
    with pytest.raises(InputError, match=r'cannot tell which .*say the order in columns, such as "txyp"'):
        read_x(npy(RNG.random((100, 4))))


@pytest.mark.parametrize(
    ("high", "sensor"),
    [
        ((127, 127), "128 x 128 (guessed: DVS128)"),
        ((239, 179), "240 x 180 (guessed: DAVIS240)"),
        ((639, 479), "640 x 480 (guessed: DVXplorer)"),
        ((1279, 719), "1280 x 720 (guessed: Prophesee Gen4)"),
        ((1919, 1079), "1920 x 1080 (guessed: what the events cover)"),
    ],
)
def test_the_smallest_sensor_that_holds_all_events(high, sensor):
    x, y = (np.linspace(0, side, COUNT).astype(int) for side in high)
    assert read_x(npz(x=x, y=y, t=T, p=P)).facts["sensor"] == sensor


# What is wrong with some events, or with all


def test_stray_events_are_left_out_and_counted():
    x, y = X.copy(), Y.copy()
    x[5], y[6], x[7] = -1, 65535, 40_000
    raw = read_x(npz(x=x, y=y, t=T, p=P))
    assert len(raw.data) == COUNT - 3
    assert raw.size_hw == (260, 346)
    assert raw.notes[0].startswith("3 of 3,000 events were left out: ")
    assert "with x outside" in raw.notes[0]


def test_nan_rows_are_left_out_and_counted():
    bad = table().astype(float)
    bad[3, 1], bad[4, 0], bad[5, 3], bad[6] = np.nan, np.nan, np.nan, np.inf
    raw = read_x(npy(bad))
    assert len(raw.data) == COUNT - 4
    assert raw.notes[0].startswith("4 of 3,000 events were left out: ")
    np.testing.assert_array_equal(raw.data.x, np.delete(X, [3, 4, 5, 6]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X - 20}, r"events cannot be used \([\d,]+ with x outside .*check the order of the columns"),
        ({"y": np.where(X > 300, np.nan, Y)}, "with y NaN or infinite"),
        ({"t": np.where(X > 300, np.inf, T)}, "with time NaN or infinite"),
        ({"p": P * 3}, r"event polarities such as 0, 3; give booleans, 0 and 1, or -1 and 1"),
        ({"p": P[:-1]}, r"event arrays of shapes x \(3000,\).*p \(2999,\); save four arrays of one length"),
        ({"x": X + 1j}, "event x has dtype complex128; save numbers"),
        ({"t": T.astype("datetime64[us]")}, "event t has dtype datetime64"),
        ({"t": T.astype("U")}, "event t has dtype <U"),
        ({"t": T.astype(float) * 1e300}, "event times run from"),
        ({"x": X * 16, "y": Y * 16}, "more than any event camera has"),
        ({role: column[:0] for role, column in COLUMNS.items()}, "holds no events"),
    ],
)
def test_what_cannot_be_used_is_named(change, message):
    with pytest.raises(InputError, match=message):
        read_x(npz(**(COLUMNS | change)), "e.npz")


def test_outside_the_sensor_that_was_said():
    with pytest.raises(InputError, match=r"with x outside 0..239.*sensor_hw"):
        read_x(npz(**COLUMNS), options=XOptions(sensor_hw=(180, 240)))


def test_pickled_events_are_refused():
    with pytest.raises(InputError, match="holds Python objects"):
        read_x(npz(x=X.astype(object), y=Y, t=T, p=P))


def test_unsorted_times_and_fractions_are_told():
    order = RNG.permutation(COUNT)
    raw = read_x(npz(**{role: column[order] for role, column in COLUMNS.items()}))
    assert "not in the order of their times" in raw.notes[0]
    np.testing.assert_array_equal(raw.data.t, T[order])
    rectified = read_x(npz(x=X + 0.2, y=Y + 0.4, t=T, p=P))
    np.testing.assert_array_equal(rectified.data.x, X)
    assert sum("rounded to whole pixels" in note for note in rectified.notes) == 2


def test_more_events_than_the_limit(monkeypatch):
    monkeypatch.setattr(event_columns, "MAX_EVENTS", 1000)
    for data in (npz(**COLUMNS), npy(table()), text(table())):
        with pytest.raises(InputError, match=r"3,000 events; at most 1,000 are taken: .*HDF5"):
            read_x(data, "e.txt" if data[:1] not in b"P\x93" else "e")


# Text


@pytest.mark.parametrize("name", ["events.txt", "events.csv", "the file"])
@pytest.mark.parametrize("separator", [" ", ",", ";", "\t", ", "])
def test_text_tables(separator, name):
    raw = check(text(table(), separator), name)
    assert raw.facts["columns"] == "t x y p (likely)"


def test_text_in_seconds_with_the_size_before_it():
    seconds = table(t=(T - T[0]) / 1e6)
    rpg = text(seconds, heading="346 260\n", formats=["%.6f", "%d", "%d", "%d"])
    raw = check(rpg, "events.txt", unit="seconds (likely)")
    assert raw.facts["sensor"] == "346 x 260 (from the file)"


def test_text_with_names_remarks_and_words_for_polarity():
    check(text(table("xypt"), ",", "x,y,polarity,timestamp\n"), "e.csv")
    check(text(table("pytx"), " ", "# made by hand\n# p y t x\n"), "e.txt")
    check(text(table("txyp"), ",", "\ufefft,x,y,p\n").replace(b"\n", b"\r\n"), "e.csv")
    index = np.column_stack([np.arange(COUNT), table("txyp")])
    check(text(index, ",", '"",t,x,y,p\n'.replace('""', "index")), "e.csv")
    words = text(table("txyp"), ",", "t,x,y,p\n").replace(b",1\n", b",True\n").replace(b",0\n", b",False\n")
    check(words, "e.csv")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b,c,d\nq,w,e,r\n", "no line of numbers at its start"),
        (b"1 2 3 1\n" * 50 + b"4 5 oops 1\n", "no table of numbers below line 0 .*oops"),
        (b"1 2 3\n4 5 6\n", "3 columns; an event table has four"),
        (b"1 2 3 1\n4 5 6\n", "no table of numbers"),
        (b"x,y,t,p\n", "no line of numbers at its start"),
        (b"<html><body>404</body></html>", "web page"),
    ],
)
def test_bad_tables_are_named(data, message):
    with pytest.raises(InputError, match=message):
        read_x(data, "e.csv")


# HDF5


def test_dsec():
    def fill(file):
        for role, kind in (("x", "u2"), ("y", "u2"), ("t", "u4"), ("p", "u1")):
            file.create_dataset(f"events/{role}", data=COLUMNS[role].astype(kind), compression="gzip")
        file["t_offset"] = 12345
        file["ms_to_idx"] = np.searchsorted(T, np.arange(400) * 1000)

    raw = check(hdf5(fill), "events.h5")
    assert raw.facts["time unit"] == "microseconds"
    assert raw.facts["sensor"] == "346 x 260 (guessed: DAVIS346)"  # what the events fill


@pytest.mark.parametrize("chunks", [None, (128,)])
def test_other_layouts_of_hdf5(chunks):
    records = np.rec.fromarrays([X.astype("u2"), Y.astype("u2"), P.astype("i2"), T], names="x,y,p,t")

    def prophesee(file):
        file.create_dataset("CD/events", data=records, chunks=chunks)
        file["CD"].attrs["width"], file["CD"].attrs["height"] = 1280, 720
        file["EXT_TRIGGER/events"] = np.zeros(3, [("p", "i2"), ("t", "i8"), ("id", "i2")])

    def e2vid(file):
        for role in "xytp":
            file.create_dataset(f"events/{role}s", data=COLUMNS[role] / (1e6 if role == "t" else 1))
        file.attrs["sensor_resolution"] = (260, 346)

    def root(file):
        for role in "xytp":
            file.create_dataset(role, data=COLUMNS[role], chunks=chunks)

    def v2e(file):
        file.create_dataset("events", data=table().astype("u4"), chunks=chunks and (*chunks, 4))

    def mvsec(file):
        file["davis/left/events"] = table("xytp", p=2 * P - 1, t=T / 1e6).astype(float)
        file["davis/right/events"] = np.zeros((5, 4))

    assert check(hdf5(prophesee)).facts["sensor"] == "1280 x 720 (from the file)"
    assert check(hdf5(e2vid), unit="seconds").facts["sensor"] == "346 x 260 (from the file)"
    check(hdf5(root))
    check(hdf5(v2e))
    raw = check(hdf5(mvsec), unit="seconds")
    assert "davis/left/events was taken, not davis/right/events" in raw.notes[0]


@pytest.mark.parametrize("layout", ["four", "table", "records"])
def test_of_a_large_recording_only_the_window_is_read(tmp_path, monkeypatch, layout):
    for module in (event_columns, event_hdf5):
        monkeypatch.setattr(module, "MAX_EVENTS", 1000)

    def fill(file):
        if layout == "table":
            file.create_dataset("events", data=table(), chunks=(64, 4), compression="gzip")
        elif layout == "records":
            file["events"] = np.rec.fromarrays(list(COLUMNS.values()), names="x,y,t,p")
        else:
            for role in "xytp":
                file.create_dataset(role, data=COLUMNS[role], chunks=(64,), compression="gzip")

    path = tmp_path / "large.h5"
    path.write_bytes(hdf5(fill))
    monkeypatch.setattr("ktb.inputs.readers.files.MAX_FILE_BYTES", 1000)
    window = read_x(path, options=XOptions(window_ms=(20, 23)))
    inside = (T[0] + 20_000 <= T) & (T[0] + 23_000 >= T)
    np.testing.assert_array_equal(window.data.t, T[inside])
    np.testing.assert_array_equal(window.data.x, X[inside])
    assert window.data.recording_us == (T[0], T[-1])
    assert f"holds 3,000 events; {inside.sum()} of them were read" in window.notes[0]
    start = read_x(path)
    np.testing.assert_array_equal(start.data.t, T[:1000])
    assert start.facts["time span"] == f"{(T[-1] - T[0]) / 1e3:,.1f} ms"
    with pytest.raises(InputError, match=r"no events in the window \(90\.0, 91\.0\) ms; they span 0\.0"):
        read_x(path, options=XOptions(window_ms=(90, 91)))


def test_hdf5_that_reads_other_files_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret.bin").write_bytes(bytes(8 * COUNT))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = X

    def linked(file):
        file["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")

    def external(file):
        file.create_dataset("x", (COUNT,), "i8", external=[(str(tmp_path / "secret.bin"), 0, 8 * COUNT)])

    def virtual(file):
        layout = h5py.VirtualLayout((COUNT,), "i8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (COUNT,))
        file.create_virtual_dataset("x", layout)

    for fill, message in (
        (linked, "link to another file"),
        (external, "other files"),
        (virtual, "other files"),
    ):

        def whole(file, fill=fill):
            fill(file)
            for role in "ytp":
                file[role] = COLUMNS[role]

        with pytest.raises(InputError, match=message):
            read_x(hdf5(whole), "e.h5")


def test_hdf5_loops_and_crowds_end():
    h5py = pytest.importorskip("h5py")

    def loop(file):
        file["a"] = h5py.SoftLink("/b")
        file["b"] = h5py.SoftLink("/a")
        file.create_group("c")["self"] = file["/"]

    started = time.process_time()
    with pytest.raises(InputError, match="no events in this HDF5 file"):
        read_x(hdf5(loop), "e.h5")
    with pytest.raises(InputError, match="more than 256 entries"):
        read_x(hdf5(lambda file: [file.create_group(str(i)) for i in range(300)]), "e.h5")
    assert time.process_time() - started < 2


def test_hdf5_promises_that_do_not_hold(monkeypatch):
    monkeypatch.setattr(hdf5_guard, "SURE_BYTES", 1000)

    def absurd(file):
        for role in "xytp":
            file.create_dataset(role, (10**12,), "i8", chunks=(2**24,), compression="gzip")

    def bomb(file):
        for role in "xytp":
            file.create_dataset(role, data=COLUMNS[role], chunks=(COUNT,), compression="gzip")
        file["x"].id.write_direct_chunk((0,), zlib.compress(bytes(2**22), 9))

    with pytest.raises(InputError, match="x was not written to its end"):
        read_x(hdf5(absurd), "e.h5")
    with pytest.raises(InputError, match="unpacks to more than it should"):
        read_x(hdf5(bomb), "e.h5")
    packed = {"chunks": (COUNT,), "compression": "gzip"}
    good = hdf5(lambda file: [file.create_dataset(role, data=COLUMNS[role], **packed) for role in "xytp"])
    with monkeypatch.context() as patch:
        patch.setattr(hdf5_guard, "MAX_CHUNK_BYTES", 100)
        with pytest.raises(InputError, match="stored in pieces of 0 MiB"):
            read_x(good, "e.h5")
    with pytest.raises(InputError, match="the HDF5 file is damaged or cut off"):
        read_x(good[: len(good) // 2], "e.h5")


def test_hdf5_without_events_lists_what_it_holds():
    with pytest.raises(InputError, match=r"holds depth \(40, 50\)\)"):
        read_x(hdf5(lambda file: file.create_dataset("depth", data=np.zeros((40, 50)))), "e.h5")


def test_blosc_as_dsec_has_it():
    plugin = pytest.importorskip("hdf5plugin")

    def fill(file):
        for role in "xytp":
            file.create_dataset(role, data=COLUMNS[role], chunks=(512,), **plugin.Blosc(cname="zstd"))

    check(hdf5(fill), "e.h5")


# AEDAT4


def packer(compression):
    if compression == LZ4:
        return pytest.importorskip("lz4.frame").compress
    if compression == ZSTD:
        return pytest.importorskip("zstandard").ZstdCompressor().compress
    return bytes


@pytest.mark.parametrize("compression", [NONE, LZ4, ZSTD])
def test_aedat4(compression, tmp_path):
    data = aedat4(events_of(X, Y, T, P), (260, 346), compression, packer(compression))
    raw = check(data, "e.aedat4")
    assert raw.format == "AEDAT4"
    assert raw.facts["sensor"] == "346 x 260 (from the file)"
    (tmp_path / "e.aedat4").write_bytes(data)
    check_path = read_x(tmp_path / "e.aedat4")
    np.testing.assert_array_equal(check_path.data.t, T)


def test_aedat4_maker_agrees_with_the_makers_of_the_format(tmp_path):
    aedat = pytest.importorskip("aedat")
    path = tmp_path / "e.aedat4"
    path.write_bytes(aedat4(events_of(X, Y, T, P), (260, 346), LZ4, packer(LZ4)))
    decoder = aedat.Decoder(path)
    assert decoder.id_to_stream()[1] == {"type": "events", "width": 346, "height": 260}
    found = np.concatenate([packet["events"] for packet in decoder if "events" in packet])
    for field, column in (("x", X), ("y", Y), ("t", T), ("on", P == 1)):
        np.testing.assert_array_equal(found[field], column)


def test_aedat4_cut_off_keeps_what_is_whole_and_bad_ones_are_named():
    data = aedat4(events_of(X, Y, T, P))
    part = read_x(data[:-100], "e.aedat4")
    np.testing.assert_array_equal(part.data.t, T[:2500])
    with pytest.raises(InputError, match="no events in this AEDAT4 recording"):
        read_x(aedat4(events_of([], [], [], [])), "e.aedat4")
    with pytest.raises(InputError, match=r"AEDAT4 file is damaged|no events"):
        read_x(data[:40], "e.aedat4")
    with pytest.raises(InputError, match="unknown way"):
        read_x(aedat4(events_of(X, Y, T, P), compression=9), "e.aedat4")


@pytest.mark.parametrize("compression", [LZ4, ZSTD])
def test_aedat4_packets_unpack_to_a_limit(compression, monkeypatch):
    monkeypatch.setattr(event_aedat, "MAX_CHUNK_BYTES", 2**16)
    pack = packer(compression)
    bomb = aedat4(events_of(X, Y, T, P), compression=compression, pack=lambda part: pack(part + bytes(2**24)))
    with pytest.raises(InputError, match="a packet unpacks to over"):
        read_x(bomb, "e.aedat4")


def test_of_a_large_aedat4_only_the_window_is_kept(monkeypatch):
    for module in (event_columns, event_aedat):
        monkeypatch.setattr(module, "MAX_EVENTS", 1000)
    data = aedat4(events_of(X, Y, T, P))
    window = read_x(data, "e.aedat4", XOptions(window_ms=(20, 23)))
    np.testing.assert_array_equal(window.data.t, T[(T[0] + 20_000 <= T) & (T[0] + 23_000 >= T)])
    np.testing.assert_array_equal(read_x(data, "e.aedat4").data.t, T[:1000])


# Packages that are missing, speed, real data


@pytest.mark.parametrize(
    ("missing", "data", "message"),
    [
        ("h5py", b"\x89HDF\r\n\x1a\n" + bytes(100), "pip install h5py"),
        ("lz4", aedat4(events_of(X, Y, T, P), compression=LZ4), "pip install lz4"),
        ("zstandard", aedat4(events_of(X, Y, T, P), compression=ZSTD), "pip install zstandard"),
    ],
)
def test_missing_packages_are_named(monkeypatch, missing, data, message):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.split(".")[0] == missing:
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=message):
        read_x(data, "e.bin")


@pytest.mark.parametrize("kind", ["npz", "npy", "h5"])
def test_ten_million_events_are_read_in_seconds(tmp_path, kind):
    count = 10_000_000
    x, y = RNG.integers(640, size=count, dtype=np.int16), RNG.integers(480, size=count, dtype=np.int16)
    t, p = np.arange(count) // 10, RNG.integers(2, size=count, dtype=np.int8)
    path = tmp_path / f"large.{kind}"
    if kind == "npz":
        np.savez(path, x=x, y=y, t=t, p=p)
    elif kind == "npy":
        np.save(path, np.stack([t / 1e6, x, y, p], axis=1))
    else:
        with pytest.importorskip("h5py").File(path, "w") as file:
            for role, column in (("x", x), ("y", y), ("t", t), ("p", p)):
                file.create_dataset(f"events/{role}", data=column, chunks=(2**16,))
    started = time.process_time()
    stream = read_x(path).data
    assert time.process_time() - started < 10  # measured: 0.2 to 0.7 s
    np.testing.assert_array_equal(stream.x, x)


def test_real_recording(shared):
    path = shared / "data" / "qualitative" / "event" / "keyboard_events.npz"
    if not path.is_file():
        pytest.skip(f"{path.name} is absent")
    raw = read_x(path)
    assert raw.size_hw == (260, 346)
    assert raw.facts["time span"] == "6.0 ms"
    assert raw.facts["events"] == "24,988"
    assert raw.facts["time unit"] == "microseconds (likely)"
