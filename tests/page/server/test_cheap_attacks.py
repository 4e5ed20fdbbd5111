"""What is cheap to send is cheap to answer: sessions, names, many files in a call, parts of a form."""

from __future__ import annotations

import time
from types import SimpleNamespace

import httpx
import pytest
from helpers.embedded import small_service
from helpers.page.served import serving

from app.gradio_ext import uploading
from app.gradio_ext.state import LeanState
from app.gradio_ext.unread import UnreadAnswers
from app.server.sessions import SessionStore, current_address
from app.web.calls import MAX_FILES, MAX_NAME, BadCall, check_call
from app.web.client_address import client_address
from app.web.rate_limits import RateLimit

API = "gradio_api"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with serving(small_service(), tmp_path_factory.mktemp("server_uploads"), RateLimit(0, proxies=1)) as page:
        yield page


@pytest.fixture
def http(page):
    with httpx.Client(base_url=page.local_url, timeout=60) as client:
        yield client


def event(page, http, session: str, value=None) -> httpx.Response:
    call = {"fn_index": page.probe_event, "data": [value], "session_hash": session}
    return http.post(f"{API}/run/predict", json=call)


def form(*parts: tuple[str, bytes]) -> dict:
    """Body and headers of a form with these headers of parts, and what they hold."""
    lines = [b"--b\r\nContent-Disposition: form-data; " + kind.encode() + b"\r\n\r\n" for kind, _ in parts]
    body = b"".join(line + held + b"\r\n" for line, (_, held) in zip(lines, parts)) + b"--b--\r\n"
    return {"content": body, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}


def test_a_new_session_takes_little(page, http):
    assert event(page, http, "lean").status_code == httpx.codes.OK
    state = page.state_holder.session_data["lean"]
    assert isinstance(state, LeanState)
    assert not state.config_values
    begun = time.process_time()
    for _ in range(20):
        LeanState(page)
    assert time.process_time() - begun < 0.1  # Gradio's own take 0.4 s


def test_what_an_event_changed_is_the_sessions_own_without_a_copy_of_the_page(page):
    state, place = LeanState(page), next(iter(page.blocks))
    changed = page.blocks[place]
    state[place] = changed
    assert state[place] is changed
    assert not state.config_values


@pytest.mark.parametrize("key", ["session_hash", "event_id"])
def test_a_long_name_is_not_kept(page, http, key):
    call = {"data": [], key: "x" * (MAX_NAME + 1)}
    answer = http.post(f"{API}/call/models", json=call)
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert answer.json()["error"] == f'"{key}" is longer than {MAX_NAME} letters.'


@pytest.mark.parametrize("path", ["queue/data?session_hash=", "upload_progress?upload_id="])
def test_a_long_name_is_not_asked_for(http, path):
    assert http.get(f"{API}/{path}{'x' * 5000}").status_code == httpx.codes.NOT_FOUND


def test_a_call_names_so_many_files_and_no_more(page, http):
    for value in ([{"path": "x"}] * (MAX_FILES + 1), {"path": "x", "a": [[{"path": "y"}] * MAX_FILES]}):
        begun = time.monotonic()
        answer = event(page, http, "many", value)
        assert (answer.status_code, answer.json()["error"][:27]) == (413, "the call names over 64 file")
        assert time.monotonic() - begun < 1
    body = b'{"data":[' + b",".join([b'{"path":""}'] * 70_000) + b"]}"
    for path in ("/gradio_api/call/models", "/gradio_api/call/v2/models"):
        with pytest.raises(BadCall, match="over 64 files"):
            check_call(path, body, [], ["models"], lambda name: {"data": True})


def test_files_of_a_form_beyond_the_bound_are_not_written(http, page):
    answer = http.post(f"{API}/upload", **form(*[('name="files"; filename="a.png"', b"x")] * 900))
    assert (answer.status_code, answer.text[:32]) == (413, "There are too many files in one ")
    assert not list(page.folder.path.rglob("a.png"))


@pytest.mark.parametrize(
    "parts", [[('name="a"', b"x" * 20_000)], [('name="a"', b"x" * 2000)] * 10, [('name="a"', b"")] * 20]
)
def test_fields_of_a_form_take_little_memory(http, parts):
    assert http.post(f"{API}/upload", **form(*parts)).status_code == httpx.codes.BAD_REQUEST


def test_a_field_before_the_file_is_left_alone(http):
    parts = form(('name="note"', b"x" * 100), ('name="files"; filename="a.png"', b"x"))
    (path,) = http.post(f"{API}/upload", params={"upload_id": "mixed"}, **parts).raise_for_status().json()
    assert path.endswith("/a.png")


def test_a_boundary_that_is_too_long_is_no_form(http):
    kind = {"Content-Type": f"multipart/form-data; boundary={'b' * 5000}"}
    assert http.post(f"{API}/upload", content=b"x", headers=kind).status_code == httpx.codes.BAD_REQUEST


def test_how_far_an_upload_is_gets_forgotten(http):
    known = uploading.file_upload_statuses
    http.post(f"{API}/upload", params={"upload_id": "done"}, files={"files": b"x"}).raise_for_status()
    http.post(f"{API}/upload", params={"upload_id": "bad"}, **form(('name="a"', b"x" * 20_000)))
    known._signals["asked for"]
    known.track("comes in")
    uploading.forget_progress()
    assert not {"done", "bad", "asked for"} & (known._statuses.keys() | known._signals.keys())
    assert "comes in" in known._statuses
    known.set_done("comes in")
    uploading.forget_progress()


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=" + "0-1," * 999, "bytes=a-b", "items=0-1"])
def test_a_range_that_is_not_served_is_left_out(http, asked):
    (path,) = http.post(f"{API}/upload", files={"files": ("a.png", b"0123456789")}).json()
    answer = http.get(f"{API}/file={path}", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (httpx.codes.OK, b"0123456789")
    answer = http.get(f"{API}/file={path}", headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (httpx.codes.PARTIAL_CONTENT, b"234")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"session_hash":"a","fn_index":1e400,"event_id":"x"}', "there is no event of this number"),
        (b'{"session_hash":5,"fn_index":0,"event_id":"x"}', '"session_hash" is no text'),
        (b"[" * 100_000, "the call is nested too deeply"),
    ],
)
def test_a_malformed_cancel_is_told_what_is_wrong(http, body, said):
    answer = http.post(f"{API}/cancel", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"].startswith(said)


def test_a_cancel_of_an_event_is_taken(page, http):
    call = {"session_hash": "a", "fn_index": page.probe_event, "event_id": "x"}
    assert http.post(f"{API}/cancel", json=call).json() == {"success": True}


# ---- sessions of one address


def test_small_answers_to_one_address_do_not_push_out_others(tmp_path):
    """Gradio keeps 2,000 sessions with answers, whoever has them."""
    unread = UnreadAnswers(tmp_path)
    unread.keep("honest", "10.0.0.1", b"x")
    for number in range(1999):
        unread.keep(str(number), "10.0.0.2", b"x")
        if unread.is_full:
            for session in unread.surplus():
                unread.drop(session)
    assert "honest" in unread.sessions
    assert len(unread.sessions) <= 257


def opened(store: SessionStore, address: str, *sessions: str, bytes_each: int = 0, monkeypatch=None) -> None:
    place = current_address.set(address)
    for session in sessions:
        store.remember_uploads(session, [])
        if bytes_each:
            monkeypatch.setattr("app.server.sessions.held_bytes", lambda result: bytes_each)
            store.keep_result(session, SimpleNamespace())
    current_address.reset(place)


def test_one_address_pushes_out_its_own_pages_only(tmp_path):
    store = SessionStore(tmp_path, max_sessions=4)
    opened(store, "10.0.0.1", "honest")
    opened(store, "10.0.0.2", *map(str, range(20)))
    assert store.open_sessions == {"honest", "17", "18", "19"}


def test_one_address_pushes_out_its_own_results_only(tmp_path, monkeypatch):
    store = SessionStore(tmp_path, max_mib=4)
    opened(store, "10.0.0.1", "honest", bytes_each=2**20, monkeypatch=monkeypatch)
    opened(store, "10.0.0.2", *map(str, range(20)), bytes_each=2**20, monkeypatch=monkeypatch)
    assert store.result("honest") is not None
    assert [key for key in map(str, range(20)) if store.result(key) is not None] == ["17", "18", "19"]


def test_a_page_is_opened_with_the_address_that_asked(page):
    path = {"path": str(page.folder.path)}
    with httpx.Client(base_url=page.local_url, headers={"X-Forwarded-For": "10.0.0.9"}) as http:
        (path,) = http.post(f"{API}/upload", files={"files": ("a.png", b"x")}).json()
        photo = next(number for number, one in page.fns.items() if one.name == "show_rgb")
        call = {"fn_index": photo, "data": [{"path": path}], "session_hash": "mine"}
        http.post(f"{API}/run/predict", json=call)
    assert page.store._sessions["mine"].address == "10.0.0.9"


@pytest.mark.parametrize(
    ("peer", "told"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("unknown", "unknown"),
    ],
)
def test_an_address_of_version_6_is_its_network(peer, told):
    assert client_address({"client": (peer, 1), "headers": []}) == told
    header = [(b"x-forwarded-for", peer.encode())]
    assert client_address({"client": ("10.9.9.9", 1), "headers": header}, proxies=1) == told
