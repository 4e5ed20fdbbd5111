"""Fixtures that tests of this room share."""

from __future__ import annotations

import pytest
from helpers.page.local_server import Hub, HubHandler, served
from huggingface_hub import constants


@pytest.fixture(scope="module")
def running():
    state = Hub()
    with served(HubHandler, state) as address:
        yield state, address


@pytest.fixture
def hub(running, tmp_path, monkeypatch):
    """An empty hub, and an empty cache of it."""
    state, address = running
    state.repos.clear()
    state.requests.clear()
    state.is_down = state.needs_token = False
    state.address = address
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("KTB_CACHE", str(tmp_path / "ktb"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # whose servers speak another language
    for name in ("KTB_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "KTB_MAX_DOWNLOAD_GB"):
        monkeypatch.delenv(name, raising=False)
    return state


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """An empty zoo whose Swin sizes are tiny ones."""
    monkeypatch.setenv("KTB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KTB_OFFLINE", raising=False)
    monkeypatch.setattr("ktb.checkpoints.importing.identify.WIDTHS", {"b": 16, "l": 24})
    monkeypatch.setattr("ktb.checkpoints.importing.identify.DEPTHS", (2, 2, 2, 2))
    return tmp_path / "cache" / "zoo"
