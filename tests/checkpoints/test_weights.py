"""Names of weights: files, the cache folder, addresses of the hub; what is no longer downloaded says so."""

from __future__ import annotations

import hashlib
import io
import os
import socket

import pytest
from helpers.models import stirred, tiny_model
from typer.testing import CliRunner

from app.service import Service
from ktb import load_model, save_model
from ktb.__main__ import app
from ktb.checkpoints import registry
from ktb.checkpoints.registry import resolve
from ktb.checkpoints.remote import HubFile, Transfer, parse_address
from ktb.cli.models import DownloadBar
from ktb.utils.cache import writable_folder

pytestmark = pytest.mark.usefixtures("one_thread")

ADDRESSES = {
    "hf://org/name": HubFile("org/name"),
    "hf://org/na.me@v1": HubFile("org/na.me", revision="v1"),
    "hf://org/name/a/b.pth@v1": HubFile("org/name", "a/b.pth", "v1"),
    "hf://org/name@v1/b.pth": HubFile("org/name", "b.pth", "v1"),
    "hf:/org/name": HubFile("org/name"),
    "model.safetensors": None,
    "folder/hf/model.pth": None,
}


def test_a_read_only_home_gives_way_to_the_temporary_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("KTB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = writable_folder("weights")
    assert folder == tmp_path / f"ktb-{os.getuid()}" / "weights"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    folder.parent.rmdir()
    (tmp_path / "theirs").mkdir()
    folder.parent.symlink_to(tmp_path / "theirs")  # as somebody else could have prepared it
    with pytest.raises(ValueError, match=r"no file can be kept in /proc/nowhere/ktb .* nor in "):
        writable_folder("weights")
    monkeypatch.setenv("KTB_CACHE", "/proc/elsewhere")
    with pytest.raises(ValueError, match="KTB_CACHE is /proc/elsewhere, where nothing can be written"):
        writable_folder("weights")


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
        ("http://a.org/x.pth", r"`curl -LO http://a\.org/x\.pth`"),
    ],
)
def test_addresses_that_cannot_be_used_are_explained(name, said):
    with pytest.raises(ValueError, match=said):
        parse_address(name)


def test_a_web_address_names_the_remedy_without_its_secrets():
    with pytest.raises(ValueError) as caught:
        load_model("https://user:password@a.org/x/y.pth?token=secret#sha256=" + "0" * 64)
    message = str(caught.value)
    assert message.startswith("https://a.org/x/y.pth: weights are not downloaded from web servers")
    assert "(`curl -LO https://a.org/x/y.pth`) and give its path" in message
    assert "hf://ORG/NAME@REVISION" in message
    assert not any(word in message for word in ("user", "password", "secret"))
    result = CliRunner().invoke(app, ["info", "https://a.org/y.pth"])
    assert result.exit_code == 2
    assert "weights are not downloaded from web servers" in result.stderr


def test_a_checksum_can_be_asked_of_any_file(tmp_path):
    tiny = tmp_path / "tiny.safetensors"
    save_model(tiny, stirred(tiny_model("swin")), {"name": "tiny"})
    assert resolve(tiny, sha256=hashlib.sha256(tiny.read_bytes()).hexdigest()) == tiny
    with pytest.raises(ValueError, match=r"has sha256 .*, expected 0000.* do not use it"):
        load_model(tiny, sha256="0" * 64)


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
    for way in (*registry.built_in_models(), "hf://ORG/NAME", "ktb zoo"):
        assert way in str(caught.value)


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
        assert stream.getvalue().startswith("m: ") or stream.getvalue().startswith("\rm: ")
        assert "10.0M/10.0M" in stream.getvalue()
