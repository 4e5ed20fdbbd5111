"""What stands between the network and the page: headers, shut doors, limits, request ids, the way in."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import socket
import time
from functools import partial
from pathlib import Path

import httpx
import pytest
from helpers.embedded import small_service
from helpers.page.api_calls import API, called, file_data, left, send, sent
from helpers.page.served import serving
from helpers.pairs import write_pair

from app.gradio_ext import blocks
from app.gradio_ext.blocks import NO_ADDRESSES
from app.server.logs import JsonLines
from app.server.uploads import NOT_HERE, UploadLimits
from app.web import rate_limits
from app.web.client_address import client_address
from app.web.rate_limits import MAX_CALL_BYTES, Buckets, RateLimit
from app.web.route_filter import RouteFilter
from app.web.security_headers import page_policy, script_hashes
from app.web.upload_route import NO_FORM, NO_LENGTH, NO_SPACE, TOO_LARGE
from app.widgets.examples import examples
from tools.bench_page.visitor import Refused, Visitor

MODEL = "ktb-lite-nyuv2-depth"


@pytest.fixture(scope="module")
def page(own_uploads):
    with serving(small_service(), own_uploads) as page:
        yield page


@pytest.fixture(scope="module")
def http(page):
    with httpx.Client(base_url=page.local_url, timeout=60) as client:
        yield client


@pytest.fixture
def files(tmp_path):
    return write_pair(tmp_path)


@pytest.fixture
def limited(page, monkeypatch):
    """Set limits of uploads for a test."""

    def limit(**changed) -> None:
        monkeypatch.setattr(page.uploads, "limits", UploadLimits(**changed))

    return limit


# ---- headers


def test_every_answer_has_the_headers_and_an_id_of_its_own(http):
    ids = set()
    for place in ("", "config", "assets/nothing.js", f"{API}/info", f"{API}/file=/etc/passwd", "nowhere"):
        answer = http.get(place)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", place
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "camera=(self)" in answer.headers["Permissions-Policy"]
        ids.add(answer.headers["X-Request-ID"])
    assert len(ids) == 6


def test_the_page_runs_its_own_scripts_only_and_may_be_embedded_by_spaces_only(http):
    answer = http.get("/")
    policy = answer.headers["Content-Security-Policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "'unsafe-inline'" not in scripts
    assert all(found in scripts for found in script_hashes(answer.text))
    assert len(script_hashes(answer.text)) >= 4
    frames = next(part for part in policy.split("; ") if part.startswith("frame-ancestors"))
    assert (
        frames == "frame-ancestors 'self' https://huggingface.co https://*.huggingface.co https://*.hf.space"
    )
    assert "object-src 'none'" in policy


def test_scripts_are_known_by_what_the_browser_hashes():
    page = "<script>one()</script><script src='a.js'></script><SCRIPT type=module>\n two() </SCRIPT><p>no</p>"
    assert len(script_hashes(page)) == 2
    digest = base64.b64encode(hashlib.sha256(b"alert(1)").digest()).decode()
    assert script_hashes("<script>alert(1)</script>") == [f"'sha256-{digest}'"]
    assert "script-src 'self' 'unsafe-eval' h1 h2;" in page_policy(["h1", "h2"])


def test_an_upload_shown_alone_can_do_nothing(http, tmp_path, page):
    for name, text in (
        ("page.html", "<script>1</script>"),
        ("image.svg", '<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'),
        ("image.xml", "<x/>"),
    ):
        file = tmp_path / name
        file.write_text(text)
        answer = http.get(f"{API}/file={sent(http, file)}")
        assert answer.status_code == httpx.codes.OK
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["Content-Type"] == "application/octet-stream"


# ---- doors


def test_what_waits_its_turn_cannot_be_called_past_the_queue(http, page):
    queued = [function for function in page.fns.values() if function.queue]
    assert len(queued) > 20
    for function in queued:
        call = {"data": [None] * len(function.inputs), "fn_index": function._id, "session_hash": "abc"}
        answer = http.post(f"{API}/run/predict", json=call)
        assert answer.status_code == httpx.codes.NOT_FOUND
        assert "join the queue" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "place"),
    [
        ("POST", f"{API}/run/segment"),  # past the queue
        ("POST", f"{API}/api/segment"),
        ("POST", f"{API}/process_recording"),
        ("POST", f"{API}/component_server"),
        ("POST", f"{API}/stream/1"),
        ("POST", f"{API}/vibe-code"),
        ("POST", "login"),
        ("POST", f"{API}/reset"),
        ("GET", f"{API}/deep_link?session_hash=1"),
        ("GET", f"{API}/proxy=https://example.hf.space/"),
        ("GET", f"{API}/dev/reload"),
        ("GET", f"{API}/custom_component/1/client/component/index.js"),
        ("GET", "monitoring"),
        ("GET", "monitoring/summary"),
        ("GET", f"{API}/runs"),
        ("GET", f"{API}/file=https://example.org/"),  # Gradio would fetch it
        ("GET", f"{API}/file=http://127.0.0.1/"),
        ("GET", f"{API}/file/https://example.org/"),
    ],
)
def test_what_the_page_does_not_need_is_shut(http, method, place):
    answer = http.request(method, place, json={} if method == "POST" else None)
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is nothing here.")


OPEN = {
    "/", "/config", "/config/", "/theme.css", "/robots.txt", "/favicon.ico", "/manifest.json", "/pwa_icon",
    "/pwa_icon/{size}", "/assets/{path:path}", "/static/{path:path}", "/svelte/{path:path}", "/healthz",
    "/gradio_api/info", "/gradio_api/info/", "/gradio_api/openapi.json", "/gradio_api/theme.css",
    "/gradio_api/app_id", "/gradio_api/app_id/", "/gradio_api/startup-events", "/gradio_api/queue/data",
    "/gradio_api/call/{api_name}/{event_id}", "/gradio_api/heartbeat/{session_hash}", "/gradio_api/upload",
    "/gradio_api/upload_progress", "/gradio_api/queue/join", "/gradio_api/cancel",
    "/gradio_api/call/{api_name}", "/gradio_api/call/{api_name}/", "/gradio_api/call/v2/{api_name}",
    "/gradio_api/call/v2/{api_name}/", "/gradio_api/run/{api_name}", "/gradio_api/run/{api_name}/",
    "/gradio_api/file={path_or_url:path}", "/gradio_api/file/{path:path}",
}  # fmt: skip
"""Of Gradio's routes: what the page and the clients of its API need, and no other answers."""


def test_every_address_that_gradio_has_is_open_by_decision(page):
    place = str(examples()[0].rgb)
    given = {"{api_name}": "predict", "{path_or_url:path}": place, "{path:path}": place, "{size}": "1"}
    doors = RouteFilter(None, serves=lambda scope, path: True)
    found = set()
    for route in routes_of(page.app):
        path = route.path
        for name, value in given.items():
            path = path.replace(name, value)
        if any(doors._is_open({"type": "http", "method": method, "path": path}) for method in route.methods):
            found.add(route.path)
    assert found == OPEN


def routes_of(app) -> list:
    """All routes with a path and methods, those of routers within routers, too."""
    waiting, found = list(app.routes), []
    while waiting:
        route = waiting.pop()
        waiting.extend(getattr(getattr(route, "original_router", route), "routes", None) or [])
        if getattr(route, "methods", None) and getattr(route, "path", None):
            found.append(route)
    return found


def test_only_files_of_this_server_and_its_examples_are_served(http, files, own_uploads, page):
    own = sent(http, files[0])
    assert http.get(f"{API}/file={own}").content == files[0].read_bytes()
    example = examples()[0].rgb
    assert http.get(f"{API}/file={example}").content == example.read_bytes()
    (own_uploads / "other_app").mkdir(exist_ok=True)  # of another program that keeps its uploads here
    other = own_uploads / "other_app" / "secret.png"
    other.write_bytes(files[0].read_bytes())
    root = page.folder.path
    for path in (
        "/etc/passwd",
        "/proc/self/environ",
        str(other),
        f"{root}/../other_app/secret.png",
        f"{own}/../../../../other_app/secret.png",
        str(Path(__file__).resolve()),
        f"{example.parent}/../checkpoints/{MODEL}.safetensors",
        f"{root}.lock",
        "a" * 5000,
        "a\0b",
    ):
        for sign in ("=", "/"):
            answer = http.get(f"{API}/file{sign}{path.replace(chr(0), '%00')}")
            assert answer.status_code in (403, 404), path
            assert b"PNG" not in answer.content
    link = root / "link.png"
    link.symlink_to(other)
    assert http.get(f"{API}/file={link}").status_code in (403, 404)
    link.unlink()
    other.unlink()


def test_folders_are_not_listed(http, files, own_uploads, page):
    path = Path(sent(http, files[0]))
    for place in (own_uploads, page.folder.path, path.parent):
        assert http.get(f"{API}/file={place}").status_code in (403, 404)


# ---- limits


def test_a_call_of_a_gigabyte_is_refused_before_it_is_read(page):
    host, port = "127.0.0.1", page.server_port
    for place in ("queue/join", "call/segment", "cancel"):
        with socket.create_connection((host, port), timeout=30) as line:
            line.sendall(
                f"POST /{API}/{place} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {2**30}\r\n\r\n{{".encode()
            )
            assert line.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_call_that_does_not_say_its_length_is_cut_off(page):
    taken = 0
    with socket.create_connection(("127.0.0.1", page.server_port), timeout=30) as line:
        line.sendall(
            f"POST /{API}/queue/join HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        line.settimeout(0.01)
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        answer = b""
        while not answer and taken < 100 * MAX_CALL_BYTES:
            try:
                line.settimeout(5)
                line.sendall(piece)
                taken += 0x10000
                line.settimeout(0.001)
                answer = line.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
    assert taken < 100 * MAX_CALL_BYTES
    assert not answer or answer.startswith(b"HTTP/1.1 413")


def test_calls_of_the_usual_length_pass(http):
    pad = {"padding": "x" * (MAX_CALL_BYTES // 2)}
    kind, said = called(http, "segment", None, None, MODEL, pad, "none")
    assert kind == "error"
    assert "RGB image is missing" in said or "unknown keys" in said


def test_a_bucket_empties_and_fills():
    now = [0.0]
    buckets = Buckets(per_second=2, burst=4, clock=lambda: now[0])
    assert [buckets.wait("a") for _ in range(4)] == [0] * 4
    assert buckets.wait("a") == pytest.approx(0.5)
    assert buckets.wait("b") == 0  # somebody else
    now[0] = 0.5
    assert buckets.wait("a") == 0
    assert buckets.wait("a") > 0
    now[0] = 1000.0
    assert [buckets.wait("a") for _ in range(5)] == [0, 0, 0, 0, pytest.approx(0.5)]


def test_addresses_that_are_long_gone_take_no_memory(monkeypatch):
    monkeypatch.setattr(rate_limits, "MAX_ADDRESSES", 10)
    buckets = Buckets(1, 1)
    for number in range(100):
        buckets.wait(str(number))
    assert len(buckets._left) == 10


def test_proxies_are_believed_only_as_far_as_they_are_ours():
    def scope(*told: str) -> dict:
        headers = [(b"x-forwarded-for", line.encode()) for line in told]
        return {"type": "http", "client": ("10.0.0.9", 1234), "headers": headers}

    invented = scope("6.6.6.6, 1.2.3.4", "10.0.0.1")
    assert client_address(invented) == "10.0.0.9"
    assert client_address(invented, proxies=1) == "10.0.0.1"
    assert client_address(invented, proxies=2) == "1.2.3.4"
    assert client_address(invented, proxies=9) == "10.0.0.9"
    assert client_address(scope(), proxies=1) == "10.0.0.9"


def test_an_address_that_asks_too_often_is_told_to_wait(page, http, files):
    limit, folder = RateLimit(events_per_minute=20, proxies=1), page.folder.path.parent
    with serving(small_service(), folder, limit) as strict, httpx.Client(base_url=strict.local_url) as client:
        ask = partial(client.post, f"{API}/call/models", json={"data": []})
        answers = [ask() for _ in range(20)]
        assert [answer.status_code for answer in answers[:5]] == [200] * 5
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused  # 5 at once, then one every 3 s
        assert "Too many requests from your address. Wait" in refused[0].json()["detail"]
        assert int(refused[0].headers["Retry-After"]) >= 1
        somebody_else = {"X-Forwarded-For": "6.6.6.6, 1.2.3.4"}
        assert ask(headers=somebody_else).status_code == httpx.codes.OK
        answers = [send(client, files[0]) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert answers[-1].text.startswith("Too many requests from your address. Wait")
        visitor = Visitor(strict.local_url)
        while ask().status_code == httpx.codes.OK:
            continue
        with pytest.raises(Refused, match="Too many requests"):
            visitor.fire("ktb-share")
        visitor.leave()


def test_a_rate_limit_below_zero_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        RateLimit(-1)


# ---- the way in


def test_each_upload_has_a_folder_of_its_own_and_a_clean_name(http, files, page):
    again = [Path(sent(http, files[0])) for _ in range(2)]
    assert again[0] != again[1]  # nobody gets the file of somebody who sent the same
    for path in again:
        assert page.folder.path in path.parents
        assert len(path.relative_to(page.folder.path).parts[0]) == 32
    odd = Path(send(http, files[0], "../../e<v>i>l.png").json()[0])
    assert page.folder.path in odd.parents
    assert odd.name == "evil.png"


def test_a_file_belongs_to_who_named_it_first(page, http, files):
    mine, thief = Visitor(page.local_url), Visitor(page.local_url)
    rgb, x = (mine.upload(path) for path in files)
    mine.values[mine.part("ktb-rgb")] = rgb
    mine.set("ktb-x", [x], "upload")
    thief.values[thief.part("ktb-rgb")] = rgb
    with pytest.raises(Refused, match="a file is not here"):
        thief.set("ktb-x", [x], "upload")
    kind, said = called(http, "segment", file_data(rgb["path"]), [file_data(x["path"])], MODEL, {}, "file")
    assert (kind, NOT_HERE in said) == ("error", True)
    mine.fire("ktb-unit", "select")
    assert "<img" in mine.shown("ktb-x-read")
    assert Path(rgb["path"]).exists()
    for visitor in (thief, mine):
        visitor.leave()
    end = time.monotonic() + 30
    while Path(rgb["path"]).exists() or Path(x["path"]).exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_results_of_one_page_cannot_be_named_by_another(page, http):
    mine = Visitor(page.local_url)
    mine.values[mine.part("ktb-export-kind")] = "json"
    mine.fire("ktb-export-make")
    export = mine.shown("ktb-export-file")
    assert httpx.get(export["url"]).json()["model"] == "auto"  # a link that only this page knows
    kind, said = called(http, "segment", file_data(export["path"]), None, MODEL, {}, "none")
    assert (kind, NOT_HERE in said) == ("error", True)
    mine.leave()


def test_addresses_and_other_paths_are_no_files(http):
    for path, said in (
        ("https://example.org/a.png", NO_ADDRESSES),
        ("/etc/passwd", NOT_HERE),
        ("\0", NOT_HERE),
    ):
        kind, answer = called(http, "segment", file_data(path), None, MODEL, {}, "none")
        assert (kind, said in answer) == ("error", True), path


def test_uploads_that_nobody_names_go_after_minutes(page, http, files, monkeypatch):
    now = time.monotonic()
    unused, waiting = sent(http, files[0]), sent(http, files[1])
    monkeypatch.setattr(page.uploads, "_clock", lambda: now + 200)
    page.uploads.keep_waiting("a page", [waiting])  # an event that is in the queue names it
    page.store.forget_stale()
    assert Path(unused).exists()
    monkeypatch.setattr(page.uploads, "_clock", lambda: now + 400)
    page.store.forget_stale()
    assert not Path(unused).exists()
    assert not Path(unused).parents[1].exists()
    assert Path(waiting).exists()
    monkeypatch.setattr(page.uploads, "_clock", lambda: now + 800)
    page.store.forget_stale()
    assert not Path(waiting).exists()


def test_a_page_holds_so_many_files_and_no_more(page, files, limited):
    limited(session_files=3)
    visitor = Visitor(page.local_url)
    sent_files = []
    for _ in range(5):
        sent_files.append(visitor.upload(files[0]))
        visitor.set("ktb-rgb", sent_files[-1])
    assert [Path(file["path"]).exists() for file in sent_files] == [False, False, True, True, True]
    limited(session_bytes=files[0].stat().st_size * 2)
    visitor.set("ktb-rgb", sent_files[-1])
    assert [Path(file["path"]).exists() for file in sent_files[2:]] == [False, True, True]
    visitor.leave()


def test_uploads_are_refused_when_there_is_no_room(page, http, files, limited):
    size = files[0].stat().st_size
    limited(total_bytes=page.uploads.total_bytes + size)
    answer = send(http, files[0])
    assert answer.status_code == 507
    assert "no room for this file now" in answer.text
    limited(min_free_bytes=2**60)
    assert send(http, files[0]).status_code == 507
    limited(session_bytes=size)
    answer = send(http, files[0])
    assert (answer.status_code, answer.text) == (413, "At most 0 MiB may be sent at once.")


def test_bad_uploads_get_words_and_leave_nothing(page, http, files, own_uploads, limited, monkeypatch):
    before = left(own_uploads)
    limited(session_files=2)
    monkeypatch.setattr("app.web.upload_route.MAX_FILE_BYTES", 1000)
    small = b"x" * 100
    for options, status, said in (
        ({"content": small}, 400, NO_FORM),
        ({"json": {}}, 400, NO_FORM),
        ({"data": {"files": "text"}, "files": {"other": small}}, 400, NO_FORM),
        ({"content": small, "headers": {"Content-Type": "multipart/form-data"}}, 400, NO_FORM),
        ({"content": small, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400, NO_FORM),
        ({"files": {"files": b"x" * 2000}}, 413, TOO_LARGE),
        ({"files": [("files", small)] * 3}, 413, "too many files"),
        ({"content": iter([small])}, 411, NO_LENGTH),
    ):
        answer = http.post(f"{API}/upload", **options)
        assert answer.status_code == status, options
        assert said in answer.text
    assert http.post(f"{API}/upload", files={"other": small}).json() == []
    assert set(left(own_uploads)) <= set(before)  # files of other tests may go meanwhile
    assert page.uploads._coming == 0


def test_an_upload_that_is_cut_off_leaves_nothing(page, own_uploads):
    before, root = left(own_uploads), page.folder.path
    folders = set(root.iterdir())
    with socket.create_connection(("127.0.0.1", page.server_port)) as line:
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        line.sendall(
            f"POST /{API}/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode()
            + head
            + b"x" * 500_000
        )
        end = time.monotonic() + 30
        while set(root.iterdir()) == folders:
            assert time.monotonic() < end
            time.sleep(0.02)
    while set(root.iterdir()) != folders:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert left(own_uploads) == before
    assert page.uploads._coming == 0


def test_no_endpoint_takes_a_model_file(http, tmp_path):
    """Checkpoints are what whoever starts the server offers; `model` is a name, and files are pictures."""
    info = http.get(f"{API}/info").json()["named_endpoints"]
    taking = {
        (name, parameter["parameter_name"])
        for name, endpoint in info.items()
        for parameter in endpoint["parameters"]
        if parameter["component"] in ("Image", "File")
    }
    files = {"rgb", "x", "other_x", "label_picture", "calibration", "recording", "x_video"}
    assert {parameter for _, parameter in taking} == files
    weights = tmp_path / "evil.safetensors"
    weights.write_bytes(b"\x10\0\0\0\0\0\0\0" + b"{}".ljust(16))
    path = sent(http, weights)
    photo = file_data(sent(http, examples()[0].rgb))
    for model in (path, f"../{path}", "evil", "/etc/passwd", "hf://org/name", "https://example.org/m.pth"):
        kind, said = called(http, "segment", photo, None, model, {}, "none")
        assert kind == "error"
        assert f"there is no model {model!r}" in json.loads(said.split("data: ", 1)[1])["error"]
        photo = file_data(sent(http, examples()[0].rgb))


# ---- what goes wrong


def test_an_unexpected_error_is_told_by_its_request_and_logged_under_it(page, monkeypatch):
    visitor = Visitor(page.local_url)

    def breaks(*_):
        raise RuntimeError("secret.png broke it")

    monkeypatch.setattr(page.store, "result", breaks)
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(JsonLines())
    logging.getLogger("app").addHandler(handler)
    with pytest.raises(Refused, match=r"went wrong on the server \(request [0-9a-f]{12}\)") as caught:
        visitor.fire("ktb-export-make")
    logging.getLogger("app").removeHandler(handler)
    name = str(caught.value).split("(request ")[1][:12]
    assert "secret" not in str(caught.value)
    (told,) = [line for line in map(json.loads, lines.getvalue().splitlines()) if "traceback" in line]
    assert (told["request"], told["level"]) == (name, "error")
    assert "in breaks" in told["traceback"]
    assert told["traceback"].endswith("builtins.RuntimeError\n")
    monkeypatch.undo()
    with pytest.raises(Refused, match="there is no result yet"):
        visitor.fire("ktb-export-make")
    visitor.leave()


def test_a_full_disk_and_short_memory_are_told_as_such():
    wrapped = ValueError("could not process")
    wrapped.__cause__ = OSError(28, "No space left on device", "/srv/secret.png")
    assert blocks.words_for(wrapped, "abc") == blocks.NO_DISK.format("abc")
    assert blocks.words_for(MemoryError(), "abc") == blocks.NO_MEMORY.format("abc")
    assert "request abc" in blocks.words_for(KeyError("x"), "abc")
    assert NO_SPACE
