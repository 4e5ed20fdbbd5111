"""Foreign files, hosts and pages: refused in every shape, by two walls, probed for before the page opens."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio.queueing import Queue
from helpers.page.loops import in_a_loop
from helpers.page.served import serving
from PIL import Image

from app.gradio_ext import probe
from app.gradio_ext.blocks import NO_ADDRESSES, Page, Unsafe
from app.gradio_ext.fair_queue import FairQueue
from app.gradio_ext.payloads import files_in, parameters_of
from app.gradio_ext.probe import Probe
from app.gradio_ext.state import IdleStates, LeanStates
from app.page import build_page, launch_options
from app.server import housekeeping
from app.server.uploads import NOT_HERE, Uploads
from app.web.hosts import NO_HOST, NO_ORIGIN, HostRule
from app.web.rate_limits import CallSizes
from app.web.route_filter import RouteFilter
from app.widgets.examples import examples
from ktb.inputs.readers.sandbox import Sandbox

API = "gradio_api"
MODEL = "ktb-lite-nyuv2-depth"
OK = httpx.codes.OK
JSON = {"Content-Type": "application/json"}
FILES = gr.Image, gr.File, gr.UploadButton, gr.DownloadButton


@pytest.fixture(scope="module")
def page(service, tmp_path_factory):
    with serving(service, tmp_path_factory.mktemp("server_uploads")) as page:
        yield page


@pytest.fixture(scope="module")
def http(page):
    with httpx.Client(base_url=page.local_url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """A picture of somebody else, on the same disk."""
    place = tmp_path_factory.mktemp("private") / "secret.png"
    Image.fromarray(np.full((48, 64, 3), 77, np.uint8)).save(place)
    return place


def upload(http, path: Path) -> str:
    with path.open("rb") as file:
        (place,) = http.post(f"{API}/upload", files={"files": (path.name, file)}).raise_for_status().json()
    return place


def called(http, endpoint: str, *values, session: str | None = None) -> tuple[str, str]:
    """Kind of an API call's answer ("complete" or "error"), and all that it says."""
    call = {"data": list(values)} | ({"session_hash": session} if session else {})
    return posted(http, endpoint, json.dumps(call).encode())


def posted(http, endpoint: str, body: bytes) -> tuple[str, str]:
    """The same of a call's body as it is, such as with NaN, which httpx would not write."""
    event = http.post(f"{API}/call/{endpoint}", content=body, headers=JSON).raise_for_status().json()
    answer = http.get(f"{API}/call/{endpoint}/{event['event_id']}").text
    kinds = [line.removeprefix("event: ") for line in answer.splitlines() if line.startswith("event: ")]
    return kinds[-1], answer


def probed(page) -> list[str]:
    return in_a_loop(Probe(page, page.app.middleware_stack.inside).failures)


# ---- the first wall: what a call names


def shapes(path: str) -> list:
    marked = {"path": path, "meta": {"_type": "gradio.FileData"}}
    return [
        marked,
        {"path": path},
        {"path": path, "meta": {}},
        {"path": path, "meta": {"_type": "gradio.Other"}},
        {"path": path, "meta": marked["meta"], "is_stream": True},
        {"path": path, "meta": marked["meta"], "url": f"/gradio_api/file={path}", "orig_name": path},
        {"path": path, "url": None, "size": None, "mime_type": "image/png"},
        {"image": marked, "caption": None},
        {"background": marked, "layers": [], "composite": {"path": path}},
        {"video": {"path": path}, "subtitles": None},
        [marked],
        [[{"path": path}]],
        [{"image": {"path": path}, "caption": ""}],
        {"files": [{"path": path}], "text": ""},
    ]


@pytest.mark.parametrize("number", range(len(shapes(""))))
def test_a_foreign_picture_is_refused_in_every_shape(http, secret, number):
    for endpoint, values in (
        ("segment", lambda shape: (shape, None, MODEL, {}, "none")),
        ("segment", lambda shape: (None, shape, MODEL, {}, "file")),
        ("segment", lambda shape: (None, None, MODEL, {"matrix": shape}, "none")),
        ("models", lambda shape: (shape,)),
    ):
        kind, said = called(http, endpoint, *values(shapes(str(secret))[number]))
        assert (kind, NOT_HERE in said) == ("error", True), (endpoint, said)


def test_a_path_is_refused_however_it_is_written(http, secret, page):
    root = page.folder.path
    inside = root / "link.png"
    inside.symlink_to(secret)
    example = examples()[0].rgb
    written = [
        str(secret).replace("/", "//"),
        str(secret).upper(),
        f"/proc/self/root{secret}",
        f"{root}/..{secret}",
        f"{root}/../../../../../../../..{secret}",
        f"{example.parent}/../../README.md",
        f"{example}/../../../README.md",
        str(inside),
        f"{inside}/",
        f"file://{secret}",
        f"FILE:{secret}",
        f"\\\\?\\{secret}",
        f"C:\\{secret.name}",
        str(secret).replace("/", "\\"),
        str(secret).replace("/", "%2f"),
        str(secret).replace("/", "\u2215"),
        f" {secret}",
        f"{secret} ",
        f"{secret}\0.png",
        f"{secret}\n",
        f"~{secret}",
        f"$HOME{secret}",
        "secret.png",
        ".",
        "",
        "/",
        str(root),
        "\ud800",
        "x" * 100_000,
    ]
    try:
        for path in written:
            kind, said = called(http, "segment", {"path": path}, None, MODEL, {}, "none")
            assert (kind, NOT_HERE in said) == ("error", True), (path, said)
    finally:
        inside.unlink()


def test_paths_that_are_no_text_are_refused(http):
    for path in (None, 5, True, [], ["/etc/hostname"], {"path": "/etc/hostname"}, {}):
        kind, said = called(http, "segment", {"path": path}, None, MODEL, {}, "none")
        assert (kind, NOT_HERE in said) == ("error", True), path


def test_addresses_are_not_fetched_in_any_shape(http):
    for shape in shapes("http://127.0.0.1:1/a.png"):
        kind, said = called(http, "segment", shape, None, MODEL, {}, "none")
        assert (kind, NO_ADDRESSES in said) == ("error", True), shape


def test_a_url_beside_an_own_path_is_not_followed(http, secret):
    own = upload(http, secret)
    for url in (f"http://127.0.0.1:1{own}", f"file://{secret}", "/gradio_api/file=/etc/hostname"):
        kind, _ = called(http, "segment", {"path": own, "url": url}, None, MODEL, {}, "none", session="url")
        assert kind == "complete"
        own = upload(http, secret)


def test_answers_do_not_tell_whether_a_path_exists(http, secret):
    answers = set()
    for path in (secret, secret.parent, secret.with_name("missing.png"), "/etc/shadow", "/root/.ssh/id_rsa"):
        _, said = called(http, "segment", {"path": str(path)}, None, MODEL, {}, "none")
        answers.add(said.split("event: error")[-1])
    assert len(answers) == 1


def test_a_foreign_path_is_never_looked_up(tmp_path, monkeypatch):
    uploads, looked = Uploads(tmp_path), []
    real = Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda self, *a: looked.append(self) or real(self, *a))
    for ask in (lambda path: uploads.claim("a", [path]), uploads.serves, lambda path: uploads.own("a", path)):
        assert not ask("/etc/hostname")
        assert not ask("/etc/missing")
    assert looked == []


def test_a_claimed_file_is_refused_to_everybody_else(http, secret):
    own = upload(http, secret)
    takes = [{"path": own}, None, MODEL, {}, "none"]
    marked = {"path": own, "meta": {"_type": "gradio.FileData"}}
    page_event = {"fn_index": _first_event(http), "data": [marked], "session_hash": "visitorA"}
    assert http.post(f"{API}/run/predict", json=page_event).status_code == OK
    for session in ("visitorB", None, "VISITORA", "visitorA "):
        for shape in shapes(own):
            kind, said = called(http, "segment", shape, *takes[1:], session=session)
            assert (kind, NOT_HERE in said) == ("error", True), (session, shape)
        assert Path(own).exists()


def test_a_session_without_a_name_has_no_files(http, secret):
    own = upload(http, secret)
    for session in (None, ""):
        call = {"fn_index": _first_event(http), "data": [{"path": own}], "session_hash": session}
        answer = http.post(f"{API}/run/predict", json=call)
        assert NOT_HERE in answer.json()["error"]


def test_a_refused_call_claims_nothing(http, secret):
    own = upload(http, secret)
    kind, _ = called(
        http, "segment", {"path": "/etc/hostname"}, [{"path": own}], MODEL, {}, "file", session="a"
    )
    assert kind == "error"
    assert called(http, "segment", {"path": own}, None, MODEL, {}, "none", session="b")[0] == "complete"


def test_files_are_found_at_any_depth():
    deep = {"path": "x"}
    for _ in range(100_000):
        deep = [deep]
    assert list(files_in(deep)) == [{"path": "x"}]
    nested = {"path": {"path": "inner"}, "b": [{"path": None}, {"Path": "y"}]}
    assert len(list(files_in(nested))) == 3


def _first_event(http) -> int:
    """An event of the page that takes an RGB image and nothing else."""
    found = http.get("config").json()
    kinds = {one["id"]: one["type"] for one in found["components"]}
    return next(
        one["id"]
        for one in found["dependencies"]
        if [kinds[given] for given in one["inputs"]] == ["image"] and one["backend_fn"] and not one["queue"]
    )


# ---- the second wall: what opens a file


def _sent(block, foreign: dict):
    if isinstance(block, FILES):
        return [foreign] if getattr(block, "file_count", "single") != "single" else foreign
    return getattr(block, "value", None)


@pytest.fixture(scope="module")
def opened():
    """All that Python opens, by name."""
    names: list[str] = []
    sys.addaudithook(lambda event, args: names.append(str(args[0])) if event == "open" else None)
    return names


def test_no_event_opens_a_foreign_file_when_the_first_wall_is_gone(
    page, service, secret, opened, monkeypatch
):
    monkeypatch.delattr(Page, "preprocess_data")
    pair = examples()[0]
    page.store.remember_uploads("second", [])
    page.store.keep_result("second", service.segment(str(pair.rgb), [str(pair.x)], MODEL))
    request = gr.Request(session_hash="second")
    foreign = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    monkeypatch.setattr("gradio.processing_utils._check_allowed", lambda *args: None)
    monkeypatch.setattr(gr.blocks.Block, "async_move_resource_to_block_cache", _as_it_is)

    async def ask(event):
        values = [_sent(block, foreign) for block in event.inputs]
        try:
            answer = await page.process_api(event, values, request=request, session_hash="second")
            return answer["data"]
        except gr.Error as error:
            return str(error)

    opened.clear()
    for name in ("call", "stream"):  # what another process would open
        monkeypatch.setattr(Sandbox, name, lambda self, *args, **given: opened.append(repr(args)))
    events = [e for e in page.fns.values() if callable(e.fn) and any(isinstance(b, FILES) for b in e.inputs)]
    assert len(events) > 30
    refused = 0
    for event in events:
        refused += NOT_HERE in str(in_a_loop(lambda event=event: ask(event)))
    assert refused > 25  # the others do not read their files
    assert not [name for name in opened if secret.name in name]


async def _as_it_is(self, path):
    return path


def test_the_reader_refuses_what_is_not_the_sessions_own(page, secret):
    with pytest.raises(ValueError, match="a file is not here"):
        page.service.segment(str(secret), None, MODEL, source="none")
    with pytest.raises(ValueError, match="a file is not here"):
        page.service.read_x([str(secret)], None, MODEL)
    with page.uploads.room(1) as incoming:
        upload = incoming.folder / "a.png"
        upload.write_bytes(secret.read_bytes())
        incoming.arrive([upload])
        page.store.remember_uploads("somebody", [upload])
        with pytest.raises(ValueError, match="a file is not here"):  # no event of theirs is being answered
            page.service.opened(str(upload))
        page.uploads.delete([upload])
    assert page.service.opened(str(examples()[0].rgb)) == str(examples()[0].rgb)


# ---- hosts and origins


def raw(page, text: str) -> bytes:
    with socket.create_connection(("127.0.0.1", page.server_port), timeout=30) as line:
        line.sendall(text.replace("\n", "\r\n").encode())
        return line.recv(65536)


@pytest.mark.parametrize(
    "host",
    ["evil.com", "127.0.0.1.evil.com", "localhost.evil.com", "127.0.0.2", "10.0.0.1:80", "[::2]", "",
     "0x7f000001", "2130706433", "evil.com:7860", "localhost@evil.com", "localhost, evil.com", "localhost:x"],
)  # fmt: skip
def test_an_unknown_host_is_refused(page, host):
    answer = raw(page, f"GET /config HTTP/1.1\nHost: {host}\nConnection: close\n\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"components" not in answer


def test_two_hosts_are_refused(page):
    answer = raw(page, "GET /config HTTP/1.1\nHost: localhost\nHost: evil.com\nConnection: close\n\n")
    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:7860", "localhost."])
def test_this_machine_is_known_to_itself(http, host):
    assert http.get("config", headers={"Host": host}).status_code == OK


def test_hosts_that_are_named_are_known(service, tmp_path):
    with pytest.raises(ValueError, match="is not a host name"):
        launch_options(hosts=["https://seg.example.org/"])
    rule = HostRule.of(["Seg.Example.org", "10.0.0.7"])

    def refusal(proxies=0, server="10.1.1.1", **headers):
        given = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
        scope = {"type": "http", "server": (server, 80), "headers": given}
        return HostRule(rule.names, proxies).refusal(scope)

    assert refusal(host="seg.example.org:8443") == refusal(host="10.0.0.7") == ""
    assert refusal(host="10.1.1.1") == ""  # where the request came in
    assert refusal(host="other.example.org") == NO_HOST
    assert refusal(host="other", x_forwarded_host="seg.example.org") == NO_HOST  # nobody's proxy
    assert refusal(1, host="other", x_forwarded_host="seg.example.org") == ""
    assert refusal(1, host="seg.example.org", x_forwarded_host="evil.com") == NO_HOST
    assert refusal(host="127.0.0.1:7860", origin="https://seg.example.org") == ""  # a proxy that renames
    assert refusal(host="seg.example.org", origin="https://evil.com") == NO_ORIGIN
    assert refusal(host="seg.example.org", origin="null") == NO_ORIGIN
    assert refusal(host="localhost:7860", origin="http://localhost:3000") == NO_ORIGIN
    assert refusal(host="localhost:7860", origin="http://localhost:7860") == ""


@pytest.mark.parametrize(
    "origin", ["http://evil.com", "null", "http://localhost:1", "https://127.0.0.1.evil.com"]
)
def test_a_foreign_page_gets_no_answer(http, origin):
    for method, path in (("GET", "config"), ("POST", f"{API}/call/models"), ("OPTIONS", f"{API}/upload")):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Content-Type": "text/plain"}
        answer = http.request(method, path, headers=headers, content=b'{"data": []}')
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_no_origin_is_echoed_and_no_forwarded_host_believed(http, page):
    own = page.local_url.rstrip("/")
    answer = http.get("config", headers={"Origin": own})
    assert answer.status_code == OK
    assert not [name for name in answer.headers if name.startswith("access-control")]
    for header in ("X-Forwarded-Host", "X-Gradio-Server"):
        answer = http.get("config", headers={header: "http://evil.example"})
        assert "evil.example" not in answer.text


# ---- the probe at the start


def test_the_page_withstands_its_own_attacks(page):
    assert page.failures == []
    assert probed(page) == []


def test_a_check_that_gradio_does_not_call_any_more_is_noticed(page, monkeypatch):
    with monkeypatch.context() as renamed:
        renamed.delattr(Page, "preprocess_data")
        assert "a call with a foreign path" in probed(page)
    with monkeypatch.context() as renamed:
        renamed.delattr(Page, "process_api")
        assert "nothing: not even a session's own file is taken" in probed(page)
    with monkeypatch.context() as open_to_all:
        open_to_all.setattr(page.service, "_find", Path)
        found = probed(page)
        assert "a reading of a foreign path" in found
        assert "a reading of another session's file" in found
    with monkeypatch.context() as shared:
        shared.setattr(Uploads, "claim", lambda self, session, named: [Path(path) for path in named])
        found = probed(page)
        assert "a call with another session's file" in found
    assert probed(page) == []


@pytest.mark.parametrize("name", ["push", "process_events", "send_message"])
def test_a_bound_of_the_queue_that_vanished_is_noticed(page, monkeypatch, name):
    renamed = getattr(Queue, name)
    monkeypatch.setattr(Queue, f"{name}_of_gradio_6_32", renamed, raising=False)
    monkeypatch.delattr(Queue, name)
    monkeypatch.setattr(FairQueue, name, renamed)  # what Gradio calls then is not ours
    assert f"a queue whose {name} Gradio does not call" in probed(page)


def test_a_queue_or_a_session_that_is_gradios_own_is_noticed(page, monkeypatch):
    with monkeypatch.context() as renamed:
        renamed.delattr(FairQueue, "push")
        assert "an event past the bounds of the queue" in probed(page)
    with monkeypatch.context() as renamed:
        renamed.delattr(LeanStates, "__getitem__")
        assert "a session that takes megabytes" in probed(page)
    monkeypatch.setattr(page, "_queue", gr.Blocks().queue()._queue)
    assert "a queue without bounds" in probed(page)


def test_a_way_in_that_is_open_is_noticed(page, monkeypatch):
    with monkeypatch.context() as no_doors:
        no_doors.setattr(RouteFilter, "_is_open", lambda self, scope: True)
        found = probed(page)
        assert "the shut route GET /gradio_api/deep_link" in found
        assert len(found) == len(probe.SHUT)
    with monkeypatch.context() as no_limit:
        no_limit.setattr(CallSizes, "__call__", lambda self, *given: self.app(*given))
        assert "an oversized body" in probed(page)
    inside = page.app.middleware_stack.inside.app  # without the check of hosts
    found = in_a_loop(Probe(page, inside).failures)
    assert "a request by an unknown host" in found
    assert "a request of a foreign page" in found
    assert "a request whose Origin was echoed" in found


def test_a_page_that_fails_its_probe_does_not_open(service, tmp_path, monkeypatch):
    renamed = Page.preprocess_data
    monkeypatch.delattr(Page, "preprocess_data")
    monkeypatch.setattr(Page, "preprocess_data_of_gradio_6_32", renamed, raising=False)
    ports = []
    monkeypatch.setattr(
        Page, "close", lambda self, **given: ports.append(self.server_port) or gr.Blocks.close(self)
    )
    with pytest.raises(Unsafe, match="this was not refused: a call with a foreign path"):  # noqa: SIM117
        with serving(service, tmp_path):
            pytest.fail("it opened")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", ports[0]), timeout=1)


def test_a_page_without_room_on_its_disk_names_the_disk(service, tmp_path, monkeypatch):
    monkeypatch.setattr("app.server.uploads.shutil.disk_usage", lambda path: SimpleNamespace(free=5 << 20))
    with pytest.raises(ValueError, match=r"has 5 MiB free, and the page keeps 256 MiB free: free some"):  # noqa: SIM117
        with serving(service, tmp_path):
            pytest.fail("it opened")


def test_a_page_without_a_probe_does_not_open(service, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = build_page(service)
    options = launch_options()
    del options["app_kwargs"]["lifespan"]
    with pytest.raises(Unsafe, match="the start-up probe, which did not run"):
        page.queue().launch(prevent_thread_lock=True, quiet=True, **options)


# ---- housekeeping


def test_housekeeping_that_fails_says_so_and_goes_on(page, monkeypatch, caplog):
    done = []
    monkeypatch.setattr(housekeeping, "pending_events", lambda page: page.renamed)
    monkeypatch.setattr(housekeeping, "forget_temporary_files", lambda page: page.renamed)
    monkeypatch.setattr(housekeeping, "give_back", lambda: done.append(True))
    in_a_loop(lambda: housekeeping.tidy(page, IdleStates()))
    assert done == [True]
    assert "Housekeeping could not keep what waits, and goes on." in caplog.text
    assert "Housekeeping could not empty Gradio's lists of files, and goes on." in caplog.text


# ---- calls that are malformed


@pytest.mark.parametrize(
    ("endpoint", "values", "said"),
    [
        (
            "segment",
            [],
            "this call takes 7 values (rgb, x, model, options, x_source, files, ply), and 0 were",
        ),
        ("segment", ["a", None, MODEL, {}, "none"], "rgb: give null or a file, as"),
        ("segment", [[], None, MODEL, {}, "none"], "rgb: give null or a file, as"),
        ("segment", [None, 5, MODEL, {}, "none"], "x: give null or a list of files, each"),
        ("segment", [None, None, {}, {}, "none"], "model: give a text, not an object."),
        ("segment", [None, None, MODEL, {}, True], "x_source: give a text, not true or false."),
        ("maps", [None, None, MODEL, "x", {}, "none"], "level: give a number or null, not a text."),
        ("maps", [None, None, MODEL, [], {}, "none"], "level: give a number or null, not a list."),
        ("sequence", [None, MODEL, "map", 0, {}, None], "views: give a list of some of"),
        ("sequence", [None, MODEL, [{}], 0, {}, None], "views: give a list of some of"),
        ("sequence", [None, MODEL, [], float("nan"), {}, None], "fps: give a number or null, not NaN"),
        ("sequence", [None, MODEL, [], 10**30, {}, None], "fps: give a number or null, not a number beyond"),
    ],
)
def test_a_malformed_call_is_told_which_value_is_wrong(http, endpoint, values, said):
    _, answer = posted(http, endpoint, json.dumps({"data": values}).encode())
    assert json.dumps(said)[1:-1] in answer


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("call/nothing", b'{"data": []}', 404, "there is no endpoint of this name"),
        ("call/v2/nothing", b"{}", 404, "there is no endpoint of this name"),
        (
            "call/v2/segment",
            b'{"rgb": null, "nonsense": 1}',
            400,
            "no parameter nonsense; there are rgb",
        ),
        ("call/v2/segment", b"{}", 400, "rgb, x: no value is given"),
        ("call/v2/truth", b'{"rgb": null, "x": null}', 400, "label_picture: no value is given"),
        ("call/models", b"[" * 100_000, 400, "the call is"),
        ("call/models", b"{", 400, "the call is no JSON"),
        ("call/models", b'{"data":[' + b"9" * 10_000 + b"]}", 400, "the call is no JSON"),
        ("call/models", b"\xff\xfe\xfa", 400, "the call is no JSON"),
        ("call/models", b"[]", 400, "the call is no JSON object"),
        ("call/models", b"{}", 400, "the call has no list of values"),
        ("run/predict", b'{"data": []}', 404, "there is no event of this number"),
        ("run/predict", b'{"data": [], "fn_index": 99999}', 404, "there is no event of this number"),
        ("queue/join", b'{"data": [], "fn_index": true}', 404, "there is no event of this number"),
        ("queue/join", b'{"data": [], "fn_index": 1, "session_hash": 5}', 400, '"session_hash" is no text.'),
        ("run/predict", b'{"data": [], "fn_index": 1, "trigger_id": "x"}', 400, '"trigger_id" is no whole'),
    ],
)
def test_a_call_that_no_event_can_answer_is_told_why(http, path, body, status, said):
    answer = http.post(f"{API}/{path}", content=body, headers=JSON)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_parameters_are_those_that_gradio_tells(http, page):
    told = http.get(f"{API}/info").json()["named_endpoints"]
    events = {event.api_name: event for event in page.fns.values() if f"/{event.api_name}" in told}
    for name, endpoint in told.items():
        needed = {one["parameter_name"]: not one["parameter_has_default"] for one in endpoint["parameters"]}
        assert parameters_of(events[name[1:]]) == needed


def test_an_event_of_a_choice_is_told_what_it_lacks(http, page):
    (choose,) = [one for one in page.fns.values() if "choose_example" in str(one.api_name)]
    for told in (
        None,
        [],
        "x",
        {},
        {"index": "0", "value": 0},
        {"index": [0], "value": 0},
        {"index": 99, "value": 0},
    ):
        session = "choice"
        call = {"fn_index": choose._id, "data": [MODEL], "session_hash": session, "event_data": told}
        http.post(f"{API}/queue/join", json=call).raise_for_status()
        with http.stream("GET", f"{API}/queue/data?session_hash={session}") as lines:
            answer = next(line for line in lines.iter_lines() if "process_completed" in line)
        assert "went wrong" not in answer
        assert "this event needs event_data" in answer or "there is no example 99" in answer
