"""Weights from elsewhere: a file of a Hugging Face repository or of a web server, kept in the cache."""

from __future__ import annotations

from pathlib import Path

from ktb.checkpoints.remote.address import HubFile, WebFile, parse_address
from ktb.checkpoints.remote.hub import download_from_hub
from ktb.checkpoints.remote.limits import Limits
from ktb.checkpoints.remote.transfer import Progress, Transfer, logged
from ktb.checkpoints.remote.web import download

__all__ = ["HubFile", "Limits", "Progress", "Transfer", "WebFile", "download", "fetch", "parse_address"]


def fetch(address: HubFile | WebFile, progress: Progress | None = None) -> Path:
    """The local file of an address, downloaded if it is not in the cache.

    Args:
        progress: called with a `Transfer` for every piece that arrives; without it the log tells.

    Raises:
        ValueError: what failed and what to do about it. No damaged or unfinished file is ever given back.
    """
    if isinstance(address, HubFile):
        return download_from_hub(address, progress or logged())
    return download(address, progress or logged())
