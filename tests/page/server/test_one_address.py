"""One address, whatever it sends, leaves the others their uploads, their turns and the server's memory."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from helpers.embedded import small_service
from helpers.page.loops import in_a_loop
from helpers.page.served import serving

from app.gradio_ext import unread
from app.gradio_ext.payloads import files_in
from app.gradio_ext.unread import UnreadAnswers
from app.server.fair_turns import FairTurns
from app.server.housekeeping import IdleStates, tidy
from app.server.sessions import SessionStore
from app.server.uploads import UploadLimits
from app.web.at_once import AtOnce, There, Work
from app.web.own_routes import EXAMPLE
from app.web.rate_limits import RateLimit, RateLimits
from app.web.slow_readers import SlowReaders
from app.widgets.examples import examples
from ktb.outputs.embed import viewer_files
from tools.bench_page.visitor import Visitor

MODEL = "ktb-lite-nyuv2-depth"
API = "gradio_api"
MIB = 2**20
START = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Believes one proxy, so that a header says who asks."""
    with serving(small_service(), tmp_path_factory.mktemp("server_uploads"), RateLimit(0, proxies=1)) as page:
        yield page


@pytest.fixture
def one(page):
    with client(page, "10.0.0.1") as found:
        yield found


@pytest.fixture
def other(page):
    with client(page, "10.0.0.2") as found:
        yield found


def client(page, address: str) -> httpx.Client:
    return httpx.Client(base_url=page.local_url, timeout=60, headers={"X-Forwarded-For": address})


@pytest.fixture
def limited(page, monkeypatch):
    """Set limits of uploads for a test."""

    def limit(**changed) -> None:
        monkeypatch.setattr(page.uploads, "limits", UploadLimits(**changed))

    return limit


@pytest.fixture
def busy(page, monkeypatch):
    """Runs of the network that end when the event is set."""
    done = threading.Event()

    def wait(*_):
        assert done.wait(60)
        raise ValueError("the run was held")

    monkeypatch.setattr(page.service, "segment", wait)
    yield done
    done.set()
    until(lambda: not page._queue.event_ids_to_events)


def until(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def send(http, content: bytes = b"x" * 100) -> httpx.Response:
    return http.post(f"{API}/upload", files={"files": ("a.png", content)})


def file_data(path: str) -> dict:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def call(http, endpoint: str, *values) -> httpx.Response:
    return http.post(f"{API}/call/{endpoint}", json={"data": list(values)})


def run(http, path: str | None = None) -> httpx.Response:
    return call(http, "segment", file_data(path or str(examples()[0].rgb)), None, MODEL, {}, "none")


@contextmanager
def upload_line(page, length: int, sent: bytes = START, address: str = "10.0.0.1"):
    """A connection that announces an upload and sends its beginning."""
    with socket.create_connection(("127.0.0.1", page.server_port), timeout=30) as line:
        line.sendall(
            f"POST /{API}/upload HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n".encode()
            + sent
        )
        yield line


# ---- uploads


def test_what_is_announced_takes_no_room(page, other):
    before = page.uploads.total_bytes
    with ExitStack() as lines:
        for number in range(12):
            lines.enter_context(upload_line(page, 3 * 2**29, address=f"10.0.1.{number}"))
        until(lambda: len(list(page.folder.path.iterdir())) >= 12)
        assert page.uploads.total_bytes < before + MIB
        assert send(other, b"x" * MIB).status_code == httpx.codes.OK
    until(lambda: page.uploads._coming == 0)


def test_an_upload_that_stalls_or_drips_is_cut_off(page, limited):
    limited(idle_seconds=0.3)
    with upload_line(page, 1000) as line:
        assert line.recv(4096).startswith(b"HTTP/1.1 408")
    limited(start_seconds=0.0, bytes_per_second=1000.0)
    with upload_line(page, 10_000) as line:
        time.sleep(0.2)
        line.sendall(b"x")
        assert line.recv(4096).startswith(b"HTTP/1.1 408")
    until(lambda: page.uploads._coming == 0)


def test_an_upload_is_cut_off_where_the_room_ends(page, other, limited):
    held = page.uploads.total_bytes
    with upload_line(page, 4 * MIB) as line:
        until(lambda: page.uploads._coming)
        limited(total_bytes=held + MIB)
        line.sendall(b"x" * 2 * MIB)
        assert line.recv(4096).startswith(b"HTTP/1.1 507")
    assert page.uploads.total_bytes == held
    assert send(other).status_code == httpx.codes.OK


def test_uploads_of_an_address_have_a_bound_of_their_own(one, other, limited):
    assert send(one, b"x" * 2 * MIB).status_code == httpx.codes.OK
    limited(address_bytes=3 * MIB)
    refused = send(one, b"x" * MIB)
    assert (refused.status_code, "from your address" in refused.text) == (507, True)
    assert send(other, b"x" * MIB).status_code == httpx.codes.OK


def test_an_address_sends_so_many_uploads_at_once(page, one, other):
    with ExitStack() as lines:
        folders = len(list(page.folder.path.iterdir()))
        for _ in range(64):
            lines.enter_context(upload_line(page, 1000))
        until(lambda: len(list(page.folder.path.iterdir())) == folders + 64)
        refused = send(one)
        assert (refused.status_code, "Too much at once" in refused.text) == (429, True)
        assert send(other).status_code == httpx.codes.OK
    until(lambda: send(one).status_code == httpx.codes.OK)


def test_only_an_accepted_event_of_its_owner_keeps_an_upload(page, one, other, busy, monkeypatch):
    run(one)  # the network is busy from here on
    named, mine, cancelled, joined, called = (send(one).json()[0] for _ in range(5))
    assert run(one, named).status_code == httpx.codes.OK  # waits
    page.uploads.claim("somebody else", [mine])
    assert run(other, mine).status_code == httpx.codes.OK
    folder = Path(cancelled).relative_to(page.folder.path).parts[0]
    one.post(f"{API}/cancel", json={"session_hash": "x", "fn_index": 0, "event_id": folder})
    one.post(f"{API}/queue/join", content=f"not json {joined}".encode())
    call(one, "nothing", file_data(called))
    now = time.monotonic()
    monkeypatch.setattr(page.uploads, "_clock", lambda: now + 200)
    in_a_loop(lambda: tidy(page, IdleStates()))
    monkeypatch.setattr(page.uploads, "_clock", lambda: now + 400)
    page.store.forget_stale()
    left = [Path(path).exists() for path in (named, mine, cancelled, joined, called)]
    assert left == [True, False, False, False, False]


def test_paths_are_found_however_deep_they_lie():
    deep: dict = {"path": "end"}
    for _ in range(100_000):
        deep = {"x": [deep]}
    found = files_in([{"path": "a", "more": [{"path": "b"}]}, deep, {"path": 1}])
    assert sorted(str(file["path"]) for file in found) == ["1", "a", "b", "end"]


# ---- turns


def order(turns: FairTurns, seconds: dict[str, float]) -> list[str]:
    """The events in the order in which they are run, and then cost these seconds by the first letter."""
    waiting, done = sorted(turns._tags), []
    while waiting:
        first = min(waiting, key=turns.tag)
        turns.begin(first)
        turns.end(first, seconds[first[0]])
        waiting.remove(first)
        done.append(first)
    return done


def test_who_comes_later_from_another_address_does_not_wait_for_all_of_the_first():
    turns = FairTurns()
    for number in range(10):
        turns.add(f"a{number}", "a", 1.0)
    turns.begin("a0")
    turns.add("b0", "b", 1.0)
    turns.end("a0", 1.0)
    turns.add("b1", "b", 1.0)
    assert order(turns, {"a": 1.0, "b": 1.0})[:4] == ["b0", "a1", "b1", "a2"]


def test_an_address_is_given_time_and_not_runs():
    turns = FairTurns()
    for number in range(9):
        turns.add(f"a{number}", "a", 1.0)
        turns.add(f"b{number}", "b", 1.0)
    done = order(turns, {"a": 8.0, "b": 1.0})
    assert "".join(event[0] for event in done[:11]).count("a") <= 2


def test_a_pause_saves_no_turns_and_what_was_cancelled_costs_none():
    turns = FairTurns()
    for number in range(50):
        turns.add(f"a{number}", "a", 1.0)
        turns.begin(f"a{number}")
        turns.end(f"a{number}", 1.0)
    turns.add("b0", "b", 1.0)  # was away all the time, and has no right to 50 runs in a row
    turns.add("b1", "b", 1.0)
    turns.add("a50", "a", 1.0)
    assert order(turns, {"a": 1.0, "b": 1.0})[:2] in (["b0", "a50"], ["a50", "b0"])
    for number in range(20):
        turns.add(f"c{number}", "c", 1.0)
    turns.keep(set())
    turns.add("c20", "c", 1.0)
    turns.add("d0", "d", 1.0)
    assert turns.tag("c20") == turns.tag("d0")
    turns.add("c21", "c", 1.0)
    turns.keep({"c20", "d0"})  # cancelling what is behind moves nothing forward
    assert turns.tag("c20") == turns.tag("d0")


def test_an_address_fills_its_part_of_the_queue_and_others_go_before_the_rest(page, one, other, busy):
    until(lambda: run(one).status_code == httpx.codes.OK)
    until(lambda: not page._queue.waiting)
    answers = [run(one) for _ in range(40)]
    assert [answer.status_code for answer in answers] == [200] * 32 + [503] * 8
    assert answers[-1].json()["detail"].startswith("32 runs of your address are already waiting")
    event = run(other).raise_for_status().json()["event_id"]
    assert page._queue.waiting[0]._id == event  # not behind 32


def test_what_only_draws_is_done_for_an_address_so_often_at_once():
    async def play() -> list[int]:
        running, statuses, go_on = 0, [], asyncio.Event()

        async def app(scope, receive, send):
            nonlocal running
            running += 1
            await go_on.wait()
            running -= 1
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def send(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        def ask(address: str):
            scope = {"type": "http", "method": "POST", "path": "/gradio_api/run/predict", "headers": []}
            return asyncio.create_task(limited(scope | {"state": {"address": address}}, None, send))

        limited = AtOnce(app)
        many = [ask("a") for _ in range(2 + 128)]
        await asyncio.sleep(0.01)
        assert running == 2
        await ask("a")
        few = [ask("b") for _ in range(2)]
        await asyncio.sleep(0.01)
        assert running == 2 + 2
        go_on.set()
        await asyncio.gather(*many, *few)
        assert not any(lanes._lanes for _, lanes in limited._kinds)
        return statuses

    statuses = in_a_loop(play)
    assert sorted(statuses) == [200] * (2 + 128 + 2) + [429]


def test_an_address_that_lets_draw_without_end_gets_its_share_while_others_are_there():
    now = [0.0]
    work, there = Work(share=0.25, clock=lambda: now[0]), There(clock=lambda: now[0])
    assert work.wait("a") == 0
    work.spend("a", 6.0)  # a second more than it had
    assert work.wait("a") == pytest.approx(4.0)
    assert work.wait("b") == 0
    now[0] = 5.0
    assert work.wait("a") == 0
    there.note("a")
    assert not there.besides("a")  # alone it may have all
    assert there.besides("b")
    there.note("b")
    there.note("a")
    assert there.besides("a")
    now[0] = 16.0
    assert not there.besides("a")


def test_pages_and_answers_are_fetched_at_a_rate(page, tmp_path):
    with (
        serving(small_service(), tmp_path, RateLimit(60, proxies=1)) as strict,
        client(strict, "1.1.1.1") as http,
    ):
        answers = [http.get("/config") for _ in range(120)]
        assert [answer.status_code for answer in answers[:80]] == [200] * 80
        assert answers[-1].status_code == 429
        assert "Too many requests from your address" in answers[-1].json()["detail"]
        assert all(http.get("/theme.css").status_code == 200 for _ in range(60))
        assert http.get("/config", headers={"X-Forwarded-For": "2.2.2.2"}).status_code == 200


def test_a_class_behind_one_address_opens_the_page_with_its_viewer():
    parts = [f"/viewer/{name}" for kind in (".js", ".css") for name in viewer_files(kind)]
    assert len(parts) > 10
    asked = ["/", *(["/assets/Index.js"] * 100), *parts, f"/viewer/{EXAMPLE}"] * 50
    passed: Counter[str] = Counter()

    async def server(scope, receive, send):
        passed[scope["path"]] += 1

    async def ask():
        limits = RateLimits(server, RateLimit())
        for path in asked:
            scope = {"type": "http", "method": "GET", "path": path, "headers": [], "client": ("1.1.1.1", 1)}
            await limits(scope, nothing, nothing)

    async def nothing(*_):
        """What the server's side of a request would be."""

    in_a_loop(ask)
    assert passed == Counter(asked)  # nothing was refused


# ---- what nobody reads


def answer_files(page) -> list[Path]:
    return list(page.folder.path.glob("response-*"))


def test_a_large_answer_waits_in_a_file_that_goes_when_it_is_read(page, one, monkeypatch):
    monkeypatch.setattr(unread, "LARGE_BYTES", 100)
    event = call(one, "models").json()["event_id"]
    until(lambda: not page._queue.event_ids_to_events)
    assert len(answer_files(page)) == 1
    said = one.get(f"{API}/call/models/{event}").text
    assert said.startswith("event: complete")
    assert MODEL in said
    assert not answer_files(page)


def test_a_large_answer_arrives_though_its_file_cannot_be_written(page, one, monkeypatch, tmp_path):
    monkeypatch.setattr(unread, "LARGE_BYTES", 100)
    monkeypatch.setattr(page._queue.unread, "_folder", tmp_path / "absent")
    event = call(one, "models").json()["event_id"]
    said = one.get(f"{API}/call/models/{event}", timeout=20).text
    assert said.startswith("event: complete")
    assert MODEL in said


def test_an_answer_that_nobody_reads_is_forgotten(page, one, monkeypatch):
    monkeypatch.setattr(unread, "LARGE_BYTES", 100)
    event = call(one, "models").json()["event_id"]
    until(lambda: not page._queue.event_ids_to_events)
    page._queue.forget_unread()
    assert len(answer_files(page)) == 1
    now = time.monotonic()
    monkeypatch.setattr(page._queue.unread, "_clock", lambda: now + 301)
    page._queue.forget_unread()
    assert not answer_files(page)
    with one.stream("GET", f"{API}/call/models/{event}") as line:
        assert next(line.iter_lines()) == "event: error"
    assert event not in page._queue.pending_messages_per_session


def test_an_unread_answer_goes_with_its_page(page, monkeypatch):
    monkeypatch.setattr(unread, "LARGE_BYTES", 100)
    visitor = Visitor(page.local_url)
    models = next(one for one in visitor.config["dependencies"] if one["api_name"] == "models")
    body = {"data": [], "fn_index": models["id"], "session_hash": visitor.session}
    httpx.post(f"{page.local_url}{API}/queue/join", json=body).raise_for_status()
    until(lambda: answer_files(page))
    visitor.leave()
    until(lambda: not answer_files(page))


def test_unread_answers_take_so_much_and_the_oldest_of_who_has_most_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(unread, "ADDRESS_BYTES", 3 * (MIB + unread.SESSION_BYTES))
    answers = UnreadAnswers(tmp_path)
    answers.keep("honest", "b", b"x" * MIB)
    for number in range(5):
        answers.keep(str(number), "a", b"x" * MIB)
        for session in answers.surplus():
            answers.drop(session)
    assert answers.sessions == ["honest", "2", "3", "4"]
    assert len(list(tmp_path.iterdir())) == 4
    for session in answers.sessions:
        answers.drop(session)
    assert not list(tmp_path.iterdir())
    assert not answers._by_address


def test_one_answer_larger_than_the_limit_waits_for_its_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(unread, "ADDRESS_BYTES", MIB)
    answers = UnreadAnswers(tmp_path)
    answers.keep("other", "b", b"x")
    answers.keep("earlier", "a", b"x" * MIB)
    answers.keep("large", "a", b"x" * (2 * MIB))
    for session in answers.surplus():
        answers.drop(session)
    assert answers.sessions == ["other", "large"]


def test_the_total_drops_all_but_the_answer_that_was_only_just_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(unread, "TOTAL_BYTES", 2 * MIB)
    answers = UnreadAnswers(tmp_path)
    for number in range(4):
        answers.keep(str(number), str(number), b"x" * MIB)
    for session in answers.surplus(spared="0"):
        answers.drop(session)
    assert answers.sessions == ["0"]


def test_who_takes_no_byte_of_an_answer_is_cut_off():
    async def play(takes: int) -> list[int]:
        sizes = []

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x" * (MIB + 1), "more_body": True})
            await send({"type": "http.response.body", "body": b"x"})

        async def send(message):
            if len(sizes) >= takes:
                await asyncio.sleep(60)
            if "body" in message:
                sizes.append(len(message["body"]))

        await SlowReaders(app, seconds=0.05)({"type": "http"}, None, send)
        return sizes

    assert in_a_loop(lambda: play(takes=2)) == [2**18, 2**18]
    assert in_a_loop(lambda: play(takes=9)) == [2**18] * 4 + [1, 1]


# ---- pages that are closed


def test_the_end_of_a_heartbeat_costs_nothing_but_its_own_session(page, one):
    states, told = len(page.state_holder.session_data), []
    page.store.on_close(told.append)
    with one.stream("GET", f"{API}/heartbeat/nobody") as line:
        next(line.iter_text())
    page.store.remember_uploads("somebody", [])
    with one.stream("GET", f"{API}/heartbeat/somebody") as line:
        next(line.iter_text())
    until(lambda: told == ["somebody"])
    assert len(page.state_holder.session_data) == states  # Gradio copied nothing for them
    assert not any("unload" in target for function in page.fns.values() for target in function.targets)


def test_closing_a_session_looks_at_no_other(tmp_path):
    class Untouched(dict):
        def __iter__(self):
            raise AssertionError("another session's uploads were looked through")

        items = keys = values = __iter__

    store = SessionStore(tmp_path)
    mine = tmp_path / "mine.png"
    mine.touch()
    store.remember_uploads("a", [mine])
    store.remember_uploads("b", [])
    store._sessions["b"].uploads = Untouched()
    store.close("a")
    assert not mine.exists()
