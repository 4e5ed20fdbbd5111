"""Reading of uploads stays within its memory, and a file is decoded once for all who ask for it."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from helpers.pairs import write_pair

from app.server import decoding
from app.server.decoding import Decoded, Room, room_for
from app.server.sessions import SessionStore
from app.service import Service
from app.web.client_address import asking
from ktb.inputs import InputError, XOptions
from ktb.inputs.limits import MAX_DECODED_BYTES

MODEL = "ktb-lite-nyuv2-depth"


@pytest.fixture
def files(tmp_path):
    return [str(path) for path in write_pair(tmp_path)]


@pytest.fixture
def decodings(monkeypatch):
    """The files that were decoded, each time; it takes long enough for others to come."""
    told = []
    for name in ("read_rgb", "read_x"):
        whole = getattr(decoding.Sandbox, name)

        def slow(sandbox, given, *, whole=whole, **options):
            told.append(given)
            time.sleep(0.1)
            return whole(sandbox, given, **options)

        monkeypatch.setattr(decoding.Sandbox, name, slow)
    return told


def in_threads(*jobs) -> list:
    """What the jobs gave or raised, all at once."""
    found: list = [None] * len(jobs)

    def do(number, job):
        try:
            found[number] = job()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=do, args=one) for one in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


class Load:
    """How much was held at once, and in which order."""

    def __init__(self, room: Room):
        self.room, self.most, self.held, self.order = room, 0, 0, []
        self.lock = threading.Lock()

    def hold(self, count: int, name: str = "", address: str = "", until: threading.Event | None = None):
        asking.set(address)
        with self.room.take(count):
            with self.lock:
                self.held += count
                self.most = max(self.most, self.held)
                self.order.append(name)
            if until is None:
                time.sleep(0.01)
            else:
                until.wait(10)
            with self.lock:
                self.held -= count


def test_all_together_hold_no_more_than_there_is():
    load = Load(Room(100))
    in_threads(*[lambda: load.hold(30)] * 12)
    assert load.most == 90
    assert len(load.order) == 12


def test_what_needs_more_than_there_is_comes_alone():
    load = Load(Room(100))
    in_threads(*[lambda: load.hold(30)] * 3, lambda: load.hold(500), *[lambda: load.hold(30)] * 3)
    assert load.most == 500


def test_who_reads_little_goes_before_an_address_that_reads_much():
    load, done = Load(Room(100)), threading.Event()
    jobs = [threading.Thread(target=load.hold, args=(60, "a0", "a", done))]
    jobs += [threading.Thread(target=load.hold, args=(60, f"a{number}", "a")) for number in (1, 2, 3)]
    jobs += [threading.Thread(target=load.hold, args=(60, "b", "b"))]
    for number, job in enumerate(jobs):
        job.start()
        while not (load.order if not number else len(load.room._waiting) == number):
            time.sleep(0.001)
    done.set()
    for job in jobs:
        job.join(10)
    assert load.order[:2] == ["a0", "b"]


def test_room_is_given_back_when_reading_fails():
    room = Room(100)
    with pytest.raises(ValueError, match="broken"), room.take(80):
        raise ValueError("broken")
    with room.take(80):
        assert room._taken == 80
    assert not room._taken


def test_a_file_takes_what_it_may_unpack_to(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x" * 100)
    large.write_bytes(b"x" * 10**6)
    assert 0 < room_for(str(small)) < room_for(str(large)) == 6 * MAX_DECODED_BYTES
    assert room_for(None, str(tmp_path / "nothing"), "\0") == 0


def test_forty_who_ask_for_one_file_wait_for_one_decoding(files, decodings):
    decoded = Decoded()
    found = in_threads(*[lambda: decoded.rgb(files[0])] * 40)
    assert decodings == [files[0]]
    assert all(one is found[0] for one in found)
    with pytest.raises(ValueError, match="read-only"):
        found[0][0, 0] = 1  # it is everybody's
    assert decoded.rgb(files[0]) is found[0]


def test_events_of_a_page_share_the_decoding_of_its_uploads(files, decodings):
    service = Service()
    read = [
        lambda unit=unit: service.read_x([files[1]], files[0], MODEL, XOptions(unit=unit))
        for unit in ("mm", "m")
    ]
    found = in_threads(*read * 10, *[lambda: service.read_rgb(files[0])] * 10)
    assert not [one for one in found if isinstance(one, Exception)]
    assert len(decodings) == 2


def test_a_file_that_cannot_be_read_is_refused_for_all_who_wait(tmp_path, decodings):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    decoded = Decoded()
    found = in_threads(*[lambda: decoded.rgb(str(broken))] * 5)
    assert len(decodings) == 1
    assert {type(one) for one in found} == {InputError}
    with pytest.raises(InputError, match="no such file"):
        decoded.rgb(str(tmp_path / "nothing.png"))


def test_a_file_that_was_written_again_is_decoded_again(files, decodings, tmp_path):
    decoded = Decoded()
    before = decoded.rgb(files[0])
    time.sleep(0.02)
    write_pair(tmp_path)
    assert decoded.rgb(files[0]) is not before
    assert len(decodings) == 2


def test_what_was_decoded_goes_with_its_file(files, tmp_path):
    store, decoded = SessionStore(tmp_path), Decoded()
    store.uploads.on_delete(decoded.forget)
    store.remember_uploads("a", files)
    decoded.rgb(files[0])
    decoded.x([files[1]])
    assert len(decoded._kept) == 2
    store.close("a")
    assert not decoded._kept
    assert not decoded._by_path
    assert decoded._bytes == 0


def test_so_much_is_kept_and_no_more(tmp_path):
    paths = []
    for number in range(4):
        paths.append(tmp_path / str(number))
        paths[-1].mkdir()
        write_pair(paths[-1])
    photos = [str(write_pair(path)[0]) for path in paths]
    size = Decoded().rgb(photos[0]).nbytes
    decoded = Decoded(int(2.5 * size))
    arrays = [decoded.rgb(photo) for photo in photos]
    assert decoded._bytes == 2 * size
    assert decoded.rgb(photos[3]) is arrays[3]
    assert decoded.rgb(photos[0]) is not arrays[0]
    assert np.array_equal(decoded.rgb(photos[0]), arrays[0])
    assert not Decoded(10)._kept
