"""Files read in another process: the same results and messages, and limits that nothing gets past."""

from __future__ import annotations

import gc
import io
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import sandbox_tasks

from ktb.inputs import Calibration, EventStream, InputError, RawX, XOptions, read_image_rgb, read_x
from ktb.inputs.limits import MAX_DECODED_BYTES
from ktb.inputs.readers import messages, sandbox
from ktb.inputs.readers.decoded import decoded_bytes
from ktb.inputs.readers.labels import read_label_picture
from ktb.inputs.readers.sandbox import Sandbox, memory_for
from ktb.video.sandboxed import sandboxed_video, sandboxed_zip
from ktb.video.zip_source import ZipFrames

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (64, 80, 3), dtype=np.uint8)
METRES = np.linspace(0.5, 5, 64 * 80, dtype=np.float32).reshape(64, 80)
EVENTS = b"".join(b"%d %d %d %d\n" % (i, i % 60, i % 44, i % 2) for i in range(2000))
MIB = 2**20
isolated = pytest.mark.skipif(not sandbox.IS_ISOLATED, reason="no limits on this system")


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    found = Sandbox()
    yield found
    found.close()


def _png(array: np.ndarray) -> bytes:
    return cv2.imencode(".png", array)[1].tobytes()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _same(one: RawX, other: RawX) -> None:
    for name in ("format", "name", "kind", "facts", "notes", "origin", "size_hw"):
        assert getattr(one, name) == getattr(other, name), name
    if isinstance(one.data, EventStream):
        for name in ("x", "y", "t", "polarity"):
            ours, theirs = getattr(one.data, name), getattr(other.data, name)
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs)
        assert one.data.span_us == other.data.span_us
    else:
        assert one.data.dtype == other.data.dtype
        assert np.array_equal(one.data, other.data)


@pytest.mark.parametrize(
    ("data", "name", "options"),
    [
        (_png(COLOURS), "x.png", XOptions()),
        (_npy(METRES), "x.npy", XOptions(unit="m")),
        (_npy(np.dstack([METRES, METRES])), "sincos.npy", XOptions()),
        (EVENTS, "events.txt", XOptions(columns="txyp", time_unit="us", sensor_hw=(60, 80))),
    ],
)
def test_x_is_the_same_from_both_processes(box, data, name, options, tmp_path, monkeypatch):
    _same(box.read_x(data, name, options), read_x(data, name, options))
    (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)  # the other process started elsewhere
    _same(box.read_x(name, options=options), read_x(name, options=options))


def test_rgb_images_labels_and_several_files_are_the_same(box):
    assert np.array_equal(box.read_image_rgb(_png(COLOURS)), read_image_rgb(_png(COLOURS)))
    labels = _png(COLOURS[..., 0] % 3)
    ours, theirs = box.read_label_picture(labels, "l.png"), read_label_picture(labels, "l.png")
    assert ours[1] == theirs[1] == "l.png"
    assert np.array_equal(ours[0], theirs[0])
    angles, names = (
        [_png(COLOURS[..., 0] // 2 + i) for i in range(4)],
        [f"a_{i}.png" for i in (0, 45, 90, 135)],
    )
    _same(box.read_x(angles, names), read_x(angles, names))


@pytest.mark.parametrize("source", [b"", b"\x89PNG\r\n\x1a\nbroken", b"hello there", "/nothing/here.png", ""])
def test_messages_are_the_same(box, source):
    for ours, theirs in ((box.read_x, read_x), (box.read_image_rgb, read_image_rgb)):
        with pytest.raises(InputError) as here:
            theirs(source)
        with pytest.raises(InputError) as there:
            ours(source)
        assert str(there.value) == str(here.value)


# What a decoder may do there


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Iterator[Sandbox]:
    """One second for a reading; its process finds the functions of the helpers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.path.dirname(os.path.dirname(sandbox_tasks.__file__)))
        found = Sandbox(seconds=1)
        assert found.call(sandbox_tasks.threads, name="threads", memory=256 * MIB) == 1
        yield found
        found.close()


@isolated
@pytest.mark.parametrize(
    "function", [sandbox_tasks.greedy, sandbox_tasks.endless, sandbox_tasks.asleep, sandbox_tasks.crashing]
)
def test_memory_time_and_crashes_are_told_as_input_errors(short, function):
    with pytest.raises(InputError, match=r"^odd\.h5: reading it was stopped, .* 256 MiB of memory"):
        short.call(function, name="odd.h5", memory=256 * MIB)
    assert short.call(sandbox_tasks.threads, name="x", memory=256 * MIB) == 1  # the next one is read


@isolated
def test_mistakes_are_no_input_errors_and_quote_nothing(short):
    with pytest.raises(RuntimeError, match=r"raised KeyError in sandbox_tasks\.py:\d+$"):
        short.call(sandbox_tasks.mistaken, name="x", memory=256 * MIB)
    with pytest.raises(ValueError, match="no such numbering"):
        short.call(sandbox_tasks.refusing, name="x", memory=256 * MIB)


@isolated
def test_the_process_has_one_thread_and_knows_no_network(short):
    assert short.call(sandbox_tasks.threads, name="x", memory=256 * MIB) == 1
    assert short.call(sandbox_tasks.modules, name="x", memory=256 * MIB) == []


@isolated
def test_a_stream_comes_value_by_value_and_ends_when_it_is_closed(short):
    assert [
        int(value[0]) for value in short.stream(sandbox_tasks.counting, 5, name="x", memory=256 * MIB)
    ] == [*range(5)]
    opened = short.stream(sandbox_tasks.counting, 10**9, name="x", memory=256 * MIB)
    next(opened)
    children = _children(short._process.pid)
    assert children
    opened.close()
    deadline = time.monotonic() + 20
    while set(children) & set(_children(short._process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _children(pid: int) -> list[str]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


@isolated
def test_a_process_that_was_killed_is_started_again(box):
    box.read_image_rgb(_png(COLOURS))
    box._process.kill()
    box._process.wait()
    assert np.array_equal(box.read_image_rgb(_png(COLOURS)), read_image_rgb(_png(COLOURS)))


@isolated
def test_the_process_ends_with_its_sandbox():
    found = Sandbox()
    found.read_image_rgb(_png(COLOURS))
    process = found._process
    found._process = None
    del found
    gc.collect()
    assert process.wait(20) == 0


_OWNER = """
import threading, time
from helpers import sandbox_tasks
from ktb.inputs.readers.sandbox import Sandbox
box = Sandbox()
run = lambda: box.call(sandbox_tasks.endless, name="x", memory=2**28)
threading.Thread(target=run, daemon=True).start()
while not box._is_ready:
    time.sleep(0.01)
print(box._process.pid, flush=True)
time.sleep(60)
"""


@isolated
def test_readings_end_when_their_owner_is_killed():
    """As kill -9 ends it, in the midst of a reading that takes long."""
    paths = os.pathsep.join(map(str, (Path(__file__).parents[2], Path(sandbox.__file__).parents[3])))
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}
    )
    with owner:
        worker = int(owner.stdout.readline())
        end = time.monotonic() + 30
        while not (running := _children(worker)) and time.monotonic() < end:
            time.sleep(0.01)
        owner.kill()
    assert len(running) == 1
    while any(map(_runs, (worker, *running))) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(map(_runs, (worker, *running)))


def _runs(pid: int | str) -> bool:
    """Whether a process runs; one that ended and was not taken away does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_many_threads_read_at_once(box):
    found = []
    readers = [
        threading.Thread(target=lambda i=i: found.append((i, box.read_x(_npy(METRES + i), "x.npy").data)))
        for i in range(8)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(found) == 8
    for number, data in found:
        assert np.array_equal(data, METRES + number)


def test_without_limits_the_functions_run_here(monkeypatch):
    monkeypatch.setattr(sandbox, "IS_ISOLATED", False)
    found = Sandbox()
    found.start()
    assert np.array_equal(found.read_image_rgb(_png(COLOURS)), COLOURS[..., ::-1])
    assert found._process is None
    found.close()


# Messages


def test_messages_carry_what_readers_give_and_nothing_else():
    ours, theirs = socket.socketpair()
    said = XOptions(sensor_hw=(44, 60), matrix=((1, 0, 5), (0, 1, 2)))
    values = [
        None,
        True,
        3,
        2.5,
        float("inf"),
        "text",
        b"bytes",
        (1, (2,)),
        {"a": [1]},
        {1: 2},
        said,
        np.int64(4),
    ]
    values.append(RawX(METRES, "NPY", "x.npy", facts={"a": "b"}, notes=("c",)))
    for value in values:
        messages.send(ours, value)
        found = messages.receive(theirs)
        if isinstance(value, RawX):
            _same(found, value)
        else:
            assert found == value
            assert type(found) is type(value) or isinstance(value, np.generic)
    for wrong in (object(), Calibration, EOFError("x")):
        with pytest.raises(AssertionError):
            messages.send(ours, wrong)
    for text in (b'[{"array":[0,"|O",[1]]},[8]]', b'[{"array":[0,"<f4",[9]]},[8]]', b'[{"run":1},[]]'):
        ours.sendall(len(text).to_bytes(4, "big") + text + bytes(8 if b"array" in text else 0))
        with pytest.raises(ValueError, match=r"an array|a value of kind"):
            messages.receive(theirs)
    ours.sendall((2**31).to_bytes(4, "big"))
    with pytest.raises(ValueError, match="absurd"):
        messages.receive(theirs)
    ours.close()
    with pytest.raises(messages.Ended):
        messages.receive(theirs)


# How much a file takes


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (_png(COLOURS), 64 * 80 * 3),
        (_png(COLOURS[..., 0].astype(np.uint16)), 64 * 80 * 2),
        (cv2.imencode(".jpg", COLOURS)[1].tobytes(), 64 * 80 * 3),
        (cv2.imencode(".tiff", METRES)[1].tobytes(), 64 * 80 * 4),
        (cv2.imencode(".webp", COLOURS)[1].tobytes(), 64 * 80 * 4),
        (cv2.imencode(".bmp", COLOURS)[1].tobytes(), 64 * 80 * 4),
        (cv2.imencode(".pgm", COLOURS[..., 0])[1].tobytes(), 64 * 80 * 2),
        (_npy(METRES), METRES.nbytes),
        (EVENTS, 4 * len(EVENTS)),
        (b"GIF89a", 64 * MIB),
        (b"\x89PNG\r\n\x1a\n", 64 * MIB),
        (b"", 0),
    ],
)
def test_decoded_bytes_are_told_by_the_header(data, expected, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    assert decoded_bytes(data) == decoded_bytes(path) == expected
    assert memory_for(path) == 256 * MIB + 2 * len(data) + 4 * expected


def test_decoded_bytes_have_a_bound_and_nothing_is_raised(tmp_path):
    huge = bytearray(_png(COLOURS))
    huge[16:24] = b"\x7f\xff\xff\xff" * 2
    assert decoded_bytes(bytes(huge)) == 64 * MIB  # reading it refuses more
    path = tmp_path / "many.h5"
    with path.open("wb") as file:
        file.truncate(100 * MIB)
    assert decoded_bytes(path) == MAX_DECODED_BYTES
    for nothing in (tmp_path, tmp_path / "gone", "", "a\0b", "/dev/zero"):
        assert decoded_bytes(nothing) == 0


# Videos and archives


def test_an_archive_of_frames_is_the_same_from_both_processes(box, tmp_path):
    path = tmp_path / "frames.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3):
            archive.writestr(f"rgb/{number}.png", _png(COLOURS + number))
            archive.writestr(f"x/{number}.npy", _npy(METRES + number) if number else b"broken")
        archive.writestr("rgb/alone.png", _png(COLOURS))
    ours, theirs = sandboxed_zip(box, path), ZipFrames(path)
    assert (ours.length, ours.fps, ours.has_x, ours.notes) == (3, None, True, theirs.notes)
    frames = [*ours]
    assert len(frames) == 3
    for one, other in zip(frames, theirs):
        assert (one.name, one.error) == (other.name, other.error)
        assert np.array_equal(one.rgb, other.rgb)
        if one.x is not None:
            _same(one.x, other.x)
    assert len([*ours]) == 3  # it can be gone through again
    (tmp_path / "text.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"text\.zip: no zip archive"):
        sandboxed_zip(box, tmp_path / "text.zip")


def test_a_video_is_the_same_from_both_processes(box, tmp_path):
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (80, 64))
    for number in range(4):
        writer.write(np.roll(COLOURS, number))
    writer.release()
    frames = [*sandboxed_video(box, path)]
    assert [frame.name for frame in frames] == [f"frame {i}" for i in range(4)]
    assert frames[0].rgb.shape == (64, 80, 3)
    with pytest.raises(InputError, match=r"gone\.mp4: cannot be read"):
        sandboxed_video(box, tmp_path / "gone.mp4")


def write_video(path, frames):
    code = cv2.VideoWriter.fourcc(*{".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80"}[path.suffix])
    video = cv2.VideoWriter(str(path), code, 10.0, frames[0].shape[1::-1])
    for frame in frames:
        video.write(frame)
    video.release()
    return path


@isolated
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".webm"])
def test_containers_that_are_read_are_opened(short, tmp_path, suffix):
    path = write_video(tmp_path / f"v{suffix}", [COLOURS] * 3)
    assert short.call(sandbox_tasks.opens, str(path), name="v", memory=400 * MIB)


@isolated
def test_a_playlist_opens_no_other_file(short, tmp_path):
    """Whatever a file begins with: FFmpeg follows this one where nobody forbids it."""
    write_video(tmp_path / "private.mp4", [COLOURS] * 3)
    playlist = tmp_path / "list.mp4"
    playlist.write_text("ffconcat version 1.0\nfile private.mp4\n")
    assert sandbox_tasks.opens(str(playlist))
    assert not short.call(sandbox_tasks.opens, str(playlist), name="v", memory=400 * MIB)
