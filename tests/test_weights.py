"""Weights from web servers: resumed, checked, cached; every fault ends as a message or as the right file."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import random
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import torch
from local_server import FaultHandler, Faults, served
from test_model import stirred, tiny_model
from test_official import Code
from typer.testing import CliRunner

from app.service import Service
from ktb import load_model, save_model
from ktb.__main__ import app
from ktb.checkpoints import registry
from ktb.checkpoints.registry import resolve, short_name
from ktb.checkpoints.remote import HubFile, Limits, Transfer, WebFile, download, parse_address
from ktb.checkpoints.remote.address import require_safe
from ktb.checkpoints.remote.limits import max_bytes
from ktb.cli.models import DownloadBar
from ktb.utils.cache import writable_folder

pytestmark = pytest.mark.usefixtures("one_thread")

CONTENT = random.Random(0).randbytes(300_000)
QUICK = Limits(failures=2, first_wait=0, timeout=5)
PATH = "/models/tiny.safetensors"
ELSEWHERE = "/models/other.safetensors"


@pytest.fixture(scope="module")
def faulty():
    """A state and the address of a server that follows it."""
    state = Faults()
    with served(FaultHandler, state) as address:
        yield state, address


@pytest.fixture
def server(faulty, tmp_path, monkeypatch):
    """The server with CONTENT at PATH and no faults yet, and an empty cache."""
    state, address = faulty
    state.files, state.tags, state.requests[:] = {PATH: CONTENT}, {PATH: '"one"'}, []
    state.faults.clear()
    state.address = address
    monkeypatch.setenv("KTB_CACHE", str(tmp_path / "cache"))
    for name in ("KTB_OFFLINE", "HF_HUB_OFFLINE", "KTB_MAX_DOWNLOAD_GB"):
        monkeypatch.delenv(name, raising=False)
    return state


def web_file(server, path=PATH, content=CONTENT) -> WebFile:
    return WebFile(server.address + path, hashlib.sha256(content).hexdigest())


def got(server, file=None, limits=QUICK):
    """What a download gives, and the transfers that it told."""
    told: list[Transfer] = []
    path = download(file or web_file(server), told.append, limits)
    return path, told


def kept(file: WebFile) -> list[str]:
    folder = Path(os.environ["KTB_CACHE"]) / "weights" / file.sha256
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def ranges(server) -> list[tuple[str | None, str | None]]:
    return [(headers.get("Range"), headers.get("If-Range")) for _, _, headers in server.requests]


def test_a_file_is_downloaded_once_and_its_progress_told(server):
    path, told = got(server)
    assert path.read_bytes() == CONTENT
    assert path.name == "tiny.safetensors"
    assert [t.done for t in told] == sorted(t.done for t in told)
    assert told[0] == Transfer("tiny.safetensors", 0, len(CONTENT))
    assert told[-1] == Transfer("tiny.safetensors", len(CONTENT), len(CONTENT), is_finished=True)
    assert sum(t.is_finished for t in told) == 1
    again, told = got(server)
    assert (again, told, len(server.requests)) == (path, [], 1)
    assert kept(web_file(server)) == ["tiny.safetensors"]


def test_cut_connections_are_resumed_where_they_ended(server):
    server.faults[PATH] = [("cut", 100_000), ("cut", 50_000), None]
    path, told = got(server)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [(None, None), ("bytes=100000-", '"one"'), ("bytes=150000-", '"one"')]
    assert told[-1].done == len(CONTENT)


def test_what_a_failed_download_left_is_used_by_the_next_one(server):
    server.faults[PATH] = [("cut", 100_000)] + [("cut", 0)] * 3
    with pytest.raises(
        ValueError, match=r"could not be downloaded: the connection broke .* which goes on after "
    ):
        got(server)
    assert kept(web_file(server)) == [".tiny.safetensors.part", ".tiny.safetensors.version"]
    path, told = got(server)
    assert path.read_bytes() == CONTENT
    assert told[0].done == 100_000
    assert kept(web_file(server)) == ["tiny.safetensors"]


def test_a_server_that_always_cuts_is_given_up(server):
    server.faults[PATH] = [("cut", 1)] * 20
    with pytest.raises(ValueError, match=r"after the 7 bytes that are here"):
        got(server, limits=Limits(connections=7, first_wait=0))
    assert len(server.requests) == 7


@pytest.mark.parametrize("tag", ['"one"', 'W/"weak"', None])
def test_a_file_that_changed_between_two_tries_begins_again(server, tag):
    new = CONTENT[::-1]
    server.tags = {PATH: tag} if tag else {}
    server.faults[PATH] = [("cut", 100_000)] + [("cut", 0)] * 3
    wanted = web_file(server, content=new)
    with pytest.raises(ValueError, match="could not be downloaded"):
        got(server, wanted)
    server.files, server.tags = {PATH: new}, {PATH: '"two"'}
    path, _ = got(server, wanted)
    assert path.read_bytes() == new


def test_servers_that_cannot_resume_send_everything_again(server):
    server.faults[PATH] = [("cut", 100_000), ("no range",)]
    assert got(server)[0].read_bytes() == CONTENT


def test_a_range_from_elsewhere_is_not_appended(server):
    server.faults[PATH] = [("cut", 100_000), ("from", 90_000), None]
    assert got(server)[0].read_bytes() == CONTENT
    assert ranges(server)[-1] == (None, None)


def test_a_complete_file_that_was_never_named_is_taken(server):
    file = web_file(server)
    folder = writable_folder("weights") / file.sha256
    folder.mkdir()
    (folder / ".tiny.safetensors.part").write_bytes(CONTENT)
    assert got(server)[0].read_bytes() == CONTENT
    assert ranges(server) == [(f"bytes={len(CONTENT)}-", None)]


def test_a_slow_server_is_asked_again_and_given_up(server):
    server.faults[PATH] = [("wait",)]
    assert got(server, limits=Limits(failures=1, first_wait=0, timeout=0.1))[0].read_bytes() == CONTENT
    server.faults[ELSEWHERE] = [("wait",), ("wait",)]
    server.files[ELSEWHERE] = CONTENT
    with pytest.raises(
        ValueError, match=r"other\.safetensors could not be downloaded: the server stopped sending"
    ):
        got(server, web_file(server, ELSEWHERE), Limits(failures=1, first_wait=0, timeout=0.1))


def test_wrong_lengths(server):
    server.faults[PATH] = [("says", len(CONTENT) + 10)]
    assert got(server)[0].read_bytes() == CONTENT  # the rest does not exist, and the checksum is right
    server.files[ELSEWHERE] = CONTENT
    server.faults[ELSEWHERE] = [("says", 200_000)]
    with pytest.raises(ValueError, match=r"is not the file that was meant: its 200,000 bytes have sha256"):
        got(server, web_file(server, ELSEWHERE, CONTENT + b"more"))
    server.faults[PATH] = [("no length",)]
    other = web_file(server, PATH, CONTENT)
    shutil.rmtree(os.environ["KTB_CACHE"])
    path, told = got(server, other)
    assert path.read_bytes() == CONTENT
    assert told[0].total is None


def test_a_wrong_checksum_leaves_nothing_behind(server):
    wrong = web_file(server, content=b"another file")
    found = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(
        ValueError, match=rf"have sha256 {found}, expected {wrong.sha256}. It was removed, unread"
    ):
        got(server, wrong)
    assert kept(wrong) == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "404 Not Found; there is no such file; check the address"),
        (403, "403 Forbidden; it may want a login; download the file with a browser"),
        (410, "410 Gone; the file was removed"),
        (418, "check the address, or download the file with a browser"),
    ],
)
def test_refusals_are_told_at_once(server, status, said):
    server.faults[PATH] = [("status", status, {})]
    with pytest.raises(ValueError, match=said):
        got(server)
    assert len(server.requests) == 1


def test_busy_servers_are_asked_again(server):
    server.faults[PATH] = [("status", 503, {"Retry-After": "0"}), ("status", 429, {}), None]
    assert got(server, limits=Limits(first_wait=0))[0].read_bytes() == CONTENT
    server.files[ELSEWHERE] = CONTENT
    server.faults[ELSEWHERE] = [("status", 500, {})] * 5
    with pytest.raises(ValueError, match=r"the server answers 500 Internal Server Error\. Try again later"):
        got(server, web_file(server, ELSEWHERE))


def test_nobody_listens(server):
    with pytest.raises(ValueError, match="the server cannot be reached"):
        got(server, WebFile("http://127.0.0.1:9/tiny.safetensors", "0" * 64), Limits(first_wait=0))


def test_compressed_answers_are_refused(server):
    server.faults[PATH] = [("gzip",)]
    with pytest.raises(ValueError, match="the server compresses the file although asked not to"):
        got(server)


def test_redirects_are_followed_while_they_are_safe(server):
    server.faults["/here.pth"] = [("status", 302, {"Location": PATH})]
    assert got(server, web_file(server, "/here.pth"))[0].read_bytes() == CONTENT
    server.faults["/there.pth"] = [("status", 302, {"Location": "http://example.org/there.pth"})]
    with pytest.raises(ValueError, match=r"leads on to http://example.org/there.pth, which is not encrypted"):
        got(server, web_file(server, "/there.pth"))
    server.faults["/round.pth"] = [("status", 302, {"Location": "/round.pth"})] * 6
    with pytest.raises(ValueError, match="leads on more than 5 times"):
        got(server, web_file(server, "/round.pth"))


def test_https_never_leads_to_http():
    require_safe("https://b.org/x.pth", coming_from="https://a.org/x.pth")
    require_safe("http://localhost:1/x.pth", coming_from="http://127.0.0.1/x.pth")
    for target in ("http://b.org/x.pth", "http://localhost/x.pth", "ftp://b.org/x.pth"):
        with pytest.raises(ValueError, match="not encrypted; nothing was taken from there"):
            require_safe(target, coming_from="https://a.org/x.pth")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_https_wants_a_certificate_that_is_trusted(server, tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=here"
    named = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*make.split(), *named], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    own = Faults()
    own.files = {PATH: CONTENT}
    with served(FaultHandler, own, context) as address:
        digest = web_file(server).sha256
        with pytest.raises(ValueError, match="the server's certificate cannot be trusted"):
            got(server, WebFile(address + PATH, digest))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert got(server, WebFile(address + PATH, digest))[0].read_bytes() == CONTENT
        own.faults["/away.pth"] = [("status", 302, {"Location": server.address + PATH})]
        with pytest.raises(ValueError, match="which is not encrypted; nothing was taken from there"):
            got(server, WebFile(f"{address}/away.pth", digest))
    assert server.requests == []


def test_too_large_files_are_refused_before_and_while_they_come(server, monkeypatch):
    monkeypatch.setenv("KTB_MAX_DOWNLOAD_GB", "0.0001")
    assert max_bytes() == 100_000
    with pytest.raises(ValueError, match="has 300,000 bytes or more; at most 100,000 are downloaded"):
        got(server)
    server.faults[PATH] = [("no length",)]
    with pytest.raises(ValueError, match="set KTB_MAX_DOWNLOAD_GB to a larger number"):
        got(server)
    assert kept(web_file(server)) == [".tiny.safetensors.version"]
    monkeypatch.setenv("KTB_MAX_DOWNLOAD_GB", "much")
    with pytest.raises(ValueError, match="KTB_MAX_DOWNLOAD_GB is 'much'; give a number of gigabytes"):
        got(server)


def test_no_space_is_seen_before_the_download(server, monkeypatch):
    monkeypatch.setattr(
        "ktb.checkpoints.remote.limits.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1_000)
    )
    with pytest.raises(ValueError, match=r"needs 0\.3 MB more, but only 0\.0 MB are free in .*KTB_CACHE"):
        got(server)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_meanwhile_is_told(server):
    file = web_file(server)
    folder = writable_folder("weights") / file.sha256
    folder.mkdir()
    (folder / ".tiny.safetensors.part").symlink_to("/dev/full")
    with pytest.raises(ValueError, match=r"there is no space left in .*; what was here of it was removed"):
        got(server)
    assert Path("/dev/full").exists()
    assert ".tiny.safetensors.part" not in kept(file)


def test_a_damaged_copy_is_downloaded_anew(server, caplog):
    path, _ = got(server)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert got(server)[0].read_bytes() == CONTENT
    assert "is damaged; it is downloaded anew" in caplog.text
    assert len(server.requests) == 2


def test_two_processes_share_one_download(server):
    server.faults[PATH] = [("cut", 200_000)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_downloads, args=(web_file(server),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert ranges(server) == [(None, None), ("bytes=200000-", '"one"')]


def _downloads(file: WebFile) -> None:
    path = download(file, lambda transfer: None, QUICK)
    os._exit(int(path.read_bytes() != CONTENT))


@pytest.mark.parametrize("name", ["KTB_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_takes_the_cache_or_says_so(server, monkeypatch, name):
    path, _ = got(server)
    monkeypatch.setenv(name, "1")
    assert got(server)[0] == path
    with pytest.raises(
        ValueError, match=r"other\.safetensors is not on this machine, and KTB_OFFLINE or HF_HUB"
    ):
        got(server, web_file(server, ELSEWHERE))
    assert len(server.requests) == 1


def test_a_read_only_home_gives_way_to_the_temporary_folder(server, monkeypatch, tmp_path):
    monkeypatch.delenv("KTB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path, _ = got(server)
    assert path.is_relative_to(tmp_path / f"ktb-{os.getuid()}")
    assert path.parents[2].stat().st_mode & 0o777 == 0o700
    assert got(server)[0] == path
    assert len(server.requests) == 1
    (tmp_path / "theirs").mkdir()
    shutil.rmtree(path.parents[2])
    path.parents[2].symlink_to(tmp_path / "theirs")  # as somebody else could have prepared it
    with pytest.raises(ValueError, match=r"no file can be kept in /proc/nowhere/ktb .* nor in "):
        got(server)
    monkeypatch.setenv("KTB_CACHE", "/proc/elsewhere")
    with pytest.raises(ValueError, match="KTB_CACHE is /proc/elsewhere, where nothing can be written"):
        got(server)


ADDRESSES = {
    "hf://org/name": HubFile("org/name"),
    "hf://org/na.me@v1": HubFile("org/na.me", revision="v1"),
    "hf://org/name/a/b.pth@v1": HubFile("org/name", "a/b.pth", "v1"),
    "hf://org/name@v1/b.pth": HubFile("org/name", "b.pth", "v1"),
    "hf:/org/name": HubFile("org/name"),
    "https://a.org/x/y.pth?z=1#sha256=" + "A" * 64: WebFile("https://a.org/x/y.pth?z=1", "a" * 64),
    "https:/a.org/y.safetensors#sha256=" + "0" * 64: WebFile("https://a.org/y.safetensors", "0" * 64),
    "model.safetensors": None,
    "folder/hf/model.pth": None,
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_addresses_are_understood(name):
    assert parse_address(name) == ADDRESSES[name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf://name", "names no file of a repository; write hf://ORG/NAME@REVISION"),
        (
            "hf://org/name/x.txt",
            r"the file is 'x\.txt'; its name must end in \.safetensors, \.pth, \.pt or \.bin",
        ),
        ("hf://org/name/../../x.pth", "its name must end in"),
        ("hf://org/name@a/x.pth@b", "names no file of a repository"),
        ("https://a.org/x.pth", "say which file you mean by its checksum"),
        ("https://a.org/x.pth#sha256=123", "sha256 is '123'; give 64 hexadecimal digits"),
        ("https://a.org/download#sha256=" + "0" * 64, "the path must end in the file's name"),
        ("https://a.org:port/x.pth#sha256=" + "0" * 64, "is no address of a file"),
        ("http://a.org/x.pth#sha256=" + "0" * 64, r"http://a\.org/x\.pth is not encrypted; give an https"),
    ],
)
def test_addresses_that_cannot_be_used_are_explained(name, said):
    with pytest.raises(ValueError, match=said):
        parse_address(name)


def test_messages_keep_secrets_of_addresses():
    with pytest.raises(ValueError) as caught:
        parse_address("https://user:password@a.org/x.pth?token=secret")
    assert "a.org/x.pth" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("user", "password", "secret"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_model(path, stirred(tiny_model("swin")), {"name": "tiny"})
    return path


def test_load_model_takes_an_address(server, tiny):
    server.files[PATH] = tiny.read_bytes()
    digest = hashlib.sha256(tiny.read_bytes()).hexdigest()
    address = f"{server.address}{PATH}"
    told: list[Transfer] = []
    loaded = load_model(address, sha256=digest, progress=told.append)
    assert told[-1].is_finished
    for name, tensor in load_model(tiny).state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    named = f"{address}#sha256={digest}"
    assert short_name(named, resolve(named)) == "tiny"
    with pytest.raises(ValueError, match=r"the address says sha256 .*, the argument 000"):
        load_model(named, sha256="0" * 64)


def test_a_checksum_can_be_asked_of_any_file(tiny):
    assert resolve(tiny, sha256=hashlib.sha256(tiny.read_bytes()).hexdigest()) == tiny
    with pytest.raises(ValueError, match=r"has sha256 .*, expected 0000.* do not use it"):
        load_model(tiny, sha256="0" * 64)


def test_code_in_a_downloaded_pickle_is_not_run(server, tmp_path):
    torch.save({"weight": Code(tmp_path / "marker")}, tmp_path / "evil.pth")
    content = (tmp_path / "evil.pth").read_bytes()
    server.files["/evil.pth"] = content
    with pytest.raises(ValueError, match="was refused, because loading it could run code"):
        load_model(server.address + "/evil.pth", sha256=hashlib.sha256(content).hexdigest())
    assert not (tmp_path / "marker").exists()


def test_nobody_is_asked_for_what_is_embedded(monkeypatch):
    def asked(*_):
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    monkeypatch.setattr(socket.socket, "connect", asked)
    service = Service()
    assert service.models == list(registry.built_in_models())
    assert service.predictor(service.models[0]).model.config.name == service.models[0]


def test_unknown_names_list_every_way():
    with pytest.raises(ValueError) as caught:
        load_model("no such model")
    for way in (*registry.built_in_models(), "hf://ORG/NAME", "https://ADDRESS#sha256=", "ktb zoo"):
        assert way in str(caught.value)


def test_commands_show_a_download_and_its_failure(server, tiny):
    server.files[PATH] = tiny.read_bytes()
    name = f"{server.address}{PATH}#sha256={hashlib.sha256(tiny.read_bytes()).hexdigest()}"
    result = CliRunner().invoke(app, ["info", name])
    assert result.exit_code == 0, result.output
    assert "tiny.safetensors: " in result.stderr
    assert f"of {tiny.stat().st_size / 1e6:,.1f} MB [{'#' * 24}]" in result.stderr
    assert "tiny.safetensors: " not in result.stdout
    assert "MB" not in CliRunner().invoke(app, ["info", name]).stderr
    result = CliRunner().invoke(app, ["info", f"{server.address}/gone.pth#sha256={'0' * 64}"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert "404 Not Found; there is no such file" in result.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_drawn_over_on_terminals_and_rare_elsewhere():
    steps = [Transfer("m", done, 10_000_000, done == 10_000_000) for done in range(0, 10_000_001, 1_000_000)]
    for stream, lines in ((Terminal(), 1), (io.StringIO(), 2)):
        bar = DownloadBar(stream)
        for step in steps:
            bar(step)
        assert stream.getvalue().count("\n") == lines
        assert f"m: 10.0 of 10.0 MB [{'#' * 24}]" in stream.getvalue()
    bar = DownloadBar(Terminal())
    bar(steps[0])
    assert bar.text(steps[5], 2.0) == f"m: 5.0 of 10.0 MB [{'#' * 12}{' ' * 12}] 2.5 MB/s, 0:02 left"
    assert bar.text(Transfer("m", 5_000_000, None), 2.0) == "m: 5.0 MB 2.5 MB/s"
