"""What may go wrong on a server, done to one: each time a message, a page that lives on, and nothing lost."""

from __future__ import annotations

import html
import io
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import torch
from helpers.embedded import small_predictor
from helpers.page.api_calls import API, called, file_data, left, sent
from helpers.page.loops import in_a_loop
from helpers.page.served import serving
from helpers.pairs import synthetic_pair, write_pair
from helpers.videos import frames_of, zipped
from PIL import Image

from app.gradio_ext import state
from app.gradio_ext.blocks import NO_DISK
from app.gradio_ext.state import IdleStates
from app.server import housekeeping
from app.server.folder import ServerFolder
from app.server.uploads import UploadLimits
from app.web.rate_limits import RateLimit
from app.web.upload_route import NO_SPACE
from ktb import Predictor
from ktb.inference.oom import OutOfMemory, is_out_of_memory, with_enough_memory
from ktb.inference.runtimes import graph_cache
from ktb.inference.runtimes.export import DESCRIPTION
from ktb.inference.runtimes.graph_cache import GraphCache
from ktb.utils.lock import FileLock
from tools.bench_page.visitor import Refused, Visitor

ROOT = Path(__file__).resolve().parents[3]
MODEL = "ktb-lite-nyuv2-depth"
YEAR = 365 * 24 * 3600.0
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def page(service, own_uploads):
    with serving(service, own_uploads, RateLimit(0)) as page:
        yield page


@pytest.fixture
def visitor(page):
    with Visitor(page.local_url) as visitor:
        yield visitor


def lives(visitor: Visitor) -> bool:
    """Whether the page still runs an example."""
    visitor.choose_example(0)
    return "ktb-footer" in visitor.shown("ktb-foot")


# ---- memory

SHORT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: 9"
    ),
    MemoryError(),
    RuntimeError("Exception from src/core: bad allocation"),
    RuntimeError("could not create a primitive"),
)


def test_a_run_without_enough_memory_is_told_and_the_next_one_works(visitor, service, monkeypatch):
    predictor = service.predictor(MODEL)
    said = r"not enough memory on cpu for an image of 192 x 128 pixels .*Make the RGB image smaller"
    for error in SHORT_OF_MEMORY:

        def fails(*_, error=error, **__):
            raise error

        with monkeypatch.context() as short:
            short.setattr(predictor, "runtime", fails)
            with pytest.raises(Refused, match=said):
                visitor.choose_example(0)
    assert lives(visitor)


def test_what_a_run_had_taken_is_free_when_it_is_told():
    held = []

    def compute():
        part = torch.ones(1000)
        held.append(weakref.ref(part))
        raise MemoryError

    with pytest.raises(
        OutOfMemory, match=r"on cpu for an image of 64 x 32 pixels in the network\. Do this\."
    ) as told:
        with_enough_memory(compute, (32, 64), CPU, "Do this.")
    assert held[0]() is None
    assert told.value.__context__ is None
    assert with_enough_memory(lambda: 1, (32, 64), CPU, "") == 1


def test_other_errors_stay_what_they_are():
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not is_out_of_memory(RuntimeError("could not create a primitive descriptor for a convolution"))
    assert not is_out_of_memory(ValueError("out of memory"))

    def compute():
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        with_enough_memory(compute, (32, 64), CPU, "")


def test_the_remedy_fits_the_predictor(monkeypatch):
    model, pair = small_predictor(MODEL).model, synthetic_pair()

    def fails(*_, **__):
        raise MemoryError

    for tile, remedy in (
        ("auto", "tiles .tile=256"),
        (None, "command line can run it in tiles"),
        (256, "smaller.$"),
    ):
        predictor = Predictor(model, tile=tile)
        monkeypatch.setattr(predictor, "_run", fails)
        with pytest.raises(OutOfMemory, match=remedy):
            predictor(*pair)
        with pytest.raises(OutOfMemory, match=remedy):
            predictor.run([predictor.prepare(*pair)])


def test_a_card_may_be_full_before_the_network_runs(monkeypatch):
    predictor = Predictor(small_predictor(MODEL).model)

    def fails(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 72.00 MiB.")

    monkeypatch.setattr(predictor.model, "normalize_x", fails)
    with pytest.raises(OutOfMemory, match="Make the RGB image smaller"):
        predictor(*synthetic_pair())


REALLY_SHORT = """
import resource
import numpy as np
from ktb import Predictor, load_model
from ktb.inference.oom import OutOfMemory

predictor = Predictor(load_model("ktb-lite-nyuv2-depth"), short_side=1024, runtime="eager", tile=None)
small = Predictor(predictor.model, short_side=96, runtime="eager")
photo = np.zeros((1024, 1024, 3), np.uint8)
small(photo, None)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (100 << 20), resource.RLIM_INFINITY))
try:
    predictor(photo, None)
except OutOfMemory as error:
    print("told:", error)
print("then:", small(photo, None).labels["fused"].shape)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
def test_a_process_whose_memory_really_ends():
    ended = subprocess.run(
        [sys.executable, "-c", REALLY_SHORT],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.stdout.splitlines() == [
        "told: there is not enough memory on cpu for an image of 1024 x 1024 pixels in the network. Make the "
        "RGB image smaller; the command line can run it in tiles (--tile).",
        "then: (1024, 1024)",
    ], ended.stderr


# ---- bad files


def bad_contents(number: int) -> bytes:
    """One of many ways to be no picture."""
    rng = np.random.default_rng(number)
    buffer = io.BytesIO()
    Image.fromarray(synthetic_pair(64, 64)[0]).save(buffer, format="png")
    whole = buffer.getvalue()
    kinds = (
        b"",
        rng.bytes(2000),
        whole[: 50 + number],
        b"\x89PNG\r\n\x1a\n" + rng.bytes(500),
        b"<!DOCTYPE html><html></html>",
        b"II*\0" + rng.bytes(300),
        b"\xff\xd8\xff\xe0" + rng.bytes(300),
        b"PK\x03\x04" + rng.bytes(300),
        b"\x93NUMPY\x01\0" + rng.bytes(300),
        whole.replace(b"IDAT", b"IDAX"),
    )
    return kinds[number % len(kinds)]


def test_a_hundred_bad_uploads_in_a_row(page, visitor, own_uploads, tmp_path):
    before = left(own_uploads)
    with httpx.Client(base_url=page.local_url, timeout=60) as http:
        for number in range(100):
            file = tmp_path / f"bad_{number}.png"
            file.write_bytes(bad_contents(number))
            kind, said = called(http, "segment", file_data(sent(http, file)), None, MODEL, {}, "none")
            assert kind == "error", number
            assert file.name in said or "RGB image" in said, said
            assert "went wrong" not in said, said
    assert left(own_uploads) == before
    assert page.uploads.total_bytes == 0
    assert lives(visitor)


# ---- the disk


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 24 MiB; skips where none can be made."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "ktb", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as opened, suppress(OSError):
        while True:
            opened.write(bytes(1 << 12))


def test_a_disk_that_is_really_full(small_disk, service, tmp_path, monkeypatch):
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(30 << 20))
    recording = zipped(tmp_path / "two.zip", frames_of(2))
    has_room = SimpleNamespace(free=2**50)  # as when another program fills the disk meanwhile
    monkeypatch.setattr("app.server.uploads.shutil.disk_usage", lambda _: has_room)
    with serving(service, small_disk) as page, Visitor(page.local_url) as visitor:
        page.uploads.limits = UploadLimits(min_free_bytes=0)
        with httpx.Client(base_url=page.local_url) as http, large.open("rb") as file:
            answer = http.post(f"{API}/upload", files={"files": ("large.bin", file)})
        assert (answer.status_code, answer.text) == (507, NO_SPACE)
        assert not left(small_disk)
        visitor.values[visitor.part("ktb-recording")] = visitor.upload(recording)
        visitor.fire("ktb-recording", "upload")
        visitor.choose_example(0)
        filler = small_disk / "filler"
        fill(filler)
        with pytest.raises(Refused, match="the server&#x27;s disk is full"):
            visitor.fire("ktb-export-make")
        visitor.fire("ktb-run-frames")
        assert "ktb-wrong" in visitor.shown("ktb-sequence")
        assert "disk is full" in visitor.shown("ktb-sequence")
        assert str(small_disk) not in visitor.shown("ktb-sequence")
        with pytest.raises(Refused, match="the server&#x27;s disk is full"):
            visitor.fire("ktb-run")  # the viewer's bundle is a file
        filler.unlink()
        assert lives(visitor)
        visitor.fire("ktb-export-make")
        assert Path(visitor.shown("ktb-export-file")["path"]).stat().st_size > 1000
        visitor.fire("ktb-run-frames")
        assert "<video" in visitor.shown("ktb-sequence")


def test_a_disk_that_fills_up_while_an_upload_comes_in(page, visitor, own_uploads, monkeypatch, tmp_path):
    before = left(own_uploads)

    async def fails(*_, **__):
        raise OSError(28, "No space left on device", "/somewhere/secret.png")

    with monkeypatch.context() as full, httpx.Client(base_url=page.local_url) as http:
        full.setattr("app.web.upload_route.save_files", fails)
        answer = http.post(f"{API}/upload", files={"files": b"x"})
        assert (answer.status_code, answer.text) == (507, NO_SPACE)
    assert left(own_uploads) == before
    visitor.choose_example(0)
    with monkeypatch.context() as full:
        full.setattr(
            "app.server.private_files.write_atomically", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
        )
        with pytest.raises(Refused, match=html.escape(NO_DISK[:60])):
            visitor.fire("ktb-export-make")
    visitor.fire("ktb-export-make")
    assert lives(visitor)


# ---- clocks


def test_a_wall_clock_that_jumps_closes_nothing(page, visitor, monkeypatch, tmp_path):
    rgb, _ = write_pair(tmp_path)
    upload = visitor.upload(rgb)
    visitor.set("ktb-rgb", upload)
    now = time.time
    for jump in (YEAR, -YEAR):
        with monkeypatch.context() as clock:
            clock.setattr(time, "time", lambda jump=jump: now() + jump)
            page.store.forget_stale()
            assert visitor.session in page.store.open_sessions
            assert Path(upload["path"]).exists()
            visitor.fire("ktb-share")
            assert visitor.shown("ktb-link").startswith("?settings=")


@pytest.mark.parametrize("jump", [timedelta(days=365), timedelta(days=-365)])
def test_gradios_copies_go_by_what_happens_not_by_the_clock(page, monkeypatch, jump):
    seconds, idle = [0.0], IdleStates(clock=lambda: seconds[0])
    monkeypatch.setattr(state, "IDLE", timedelta(seconds=60))
    states = page.state_holder
    states.session_data["jumped"] = object()
    states.time_last_used["jumped"] = datetime.now() - jump
    idle.forget(page, {"other"})
    assert "jumped" in states.session_data  # seen for the first time
    seconds[0] = 50.0
    states.time_last_used["jumped"] += timedelta(seconds=1)  # it was used again
    idle.forget(page, ())
    seconds[0] = 100.0
    idle.forget(page, ())
    assert "jumped" in states.session_data
    seconds[0] = 111.0
    idle.forget(page, ())
    assert "jumped" not in states.session_data
    assert not idle._seen.get("jumped")


def test_a_session_that_waits_in_the_queue_stays_open(page, visitor, service, monkeypatch):
    page.store.remember_uploads("idle", [])
    now = time.monotonic()
    with service.scheduler.single():
        waits = threading.Thread(target=visitor.choose_example, args=(0,))
        waits.start()
        while not service.scheduler.waiting:
            time.sleep(0.01)
        with monkeypatch.context() as later:
            later.setattr(page.store, "_clock", lambda: now + 3700)
            in_a_loop(lambda: housekeeping.tidy(page, IdleStates()), seconds=60)
            assert page.store.open_sessions == {visitor.session}
    waits.join(60)
    assert "ktb-footer" in visitor.shown("ktb-foot")


# ---- several servers


def test_two_servers_on_one_folder_leave_each_other_alone(page, visitor, service, own_uploads, tmp_path):
    files = write_pair(tmp_path)
    mine = visitor.upload(files[0])
    visitor.set("ktb-rgb", mine)
    with serving(service, own_uploads) as second, Visitor(second.local_url) as other:
        assert second.folder.path.parent == page.folder.path.parent
        theirs = other.upload(files[0])
        other.set("ktb-rgb", theirs)
        other.values[other.part("ktb-rgb")] = mine
        with pytest.raises(Refused, match="a file is not here"):
            other.fire("ktb-rgb", "input")
        for address, path in ((second.local_url, mine["path"]), (page.local_url, theirs["path"])):
            assert httpx.get(f"{address}{API}/file={path}").status_code == 404
        assert lives(other)
    assert not second.folder.path.exists()
    assert Path(mine["path"]).exists()
    assert lives(visitor)


def test_only_folders_of_dead_servers_are_removed_at_a_start(tmp_path):
    alive = ServerFolder(tmp_path)
    (alive.path / "upload.png").write_bytes(b"x")
    dead = tmp_path / "ktb-server-dead"
    dead.mkdir()
    (dead / "upload.png").write_bytes(b"x")
    Path(f"{dead}.lock").touch()
    (tmp_path / "another_program").mkdir()
    new = ServerFolder(tmp_path)
    assert not dead.exists()
    assert not Path(f"{dead}.lock").exists()
    assert (alive.path / "upload.png").exists()
    assert (tmp_path / "another_program").exists()
    for folder in (alive, new):
        folder.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["another_program"]


def write_graph(folder: Path) -> None:
    (folder / "model.xml").write_text("graph")
    made = {"bytes": 5, "crc32": graph_cache.checksum(folder / "model.xml")}
    (folder / DESCRIPTION).write_text(json.dumps({"files": {"model.xml": made}}))


def test_two_servers_make_one_graph_at_the_same_time(tmp_path):
    together, places = threading.Barrier(2, timeout=30), []

    def make() -> None:
        def write(folder: Path) -> None:
            together.wait()
            write_graph(folder)
            together.wait()

        places.append(GraphCache(tmp_path).add("key", write))

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert places == [tmp_path / "graphs" / "key"] * 2
    assert GraphCache(tmp_path).find("key")
    assert [path.name for path in (tmp_path / "graphs").iterdir()] == ["key"]


def test_a_graph_that_another_server_makes_survives_a_clock_that_jumps(tmp_path, monkeypatch):
    graphs = GraphCache(tmp_path)
    graphs.folder.mkdir(parents=True)
    dead = graphs.folder / ".making-dead"
    dead.mkdir()
    now = time.time

    def slow(folder: Path) -> None:
        with monkeypatch.context() as clock:
            clock.setattr(graph_cache.time, "time", lambda: now() + YEAR)
            GraphCache(tmp_path).add("other", write_graph)  # tidies up
        assert folder.is_dir()
        write_graph(folder)

    graphs.add("key", slow)
    assert graphs.find("key")
    assert graphs.find("other")
    assert not dead.exists()
    assert sorted(path.name for path in graphs.folder.iterdir()) == ["key", "other"]


HOLDER = """
import sys, time
from pathlib import Path
from ktb.utils.lock import FileLock
lock = FileLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_is_free_again_when_its_process_ends(tmp_path):
    place = tmp_path / "a.lock"
    command = [sys.executable, "-c", HOLDER, str(place)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert holder.stdout.readline() == "held\n"
    lock = FileLock(place)
    assert not lock.acquire(wait=False)
    holder.kill()
    holder.wait(30)
    assert lock.acquire(wait=False)
    lock.remove()
    assert not place.exists()
