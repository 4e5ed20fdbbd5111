"""Where the page runs: with a home folder that cannot be written, in a Space, on a card that is lent.

It imports nothing of weight, because `prepare` comes before all that looks at the environment on its import.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ktb.utils.cache import make_temporary_folder


def prepare(environment: MutableMapping[str, str] = os.environ) -> Path | None:
    """Make ready what Gradio, the hub's client, matplotlib and torch look for when they are imported.

    Where the user's cache folder cannot be written, caches move to a temporary folder of this user. In a
    ZeroGPU Space the package `spaces` is imported, which has to come before torch, in the thread that puts
    the models on the card. matplotlib is told to draw without windows: Gradio asks it at every event what it
    draws with, and to find out it would import what opens windows: a second of the first visitor's time.

    Returns:
        The temporary folder, or None if none was needed.
    """
    environment.setdefault("MPLBACKEND", "agg")
    folder = _move_caches(environment)
    if is_lent():
        import spaces

        spaces.disable_gradio_auto_wrap()  # else every handler might run in another process, without sessions
    return folder


@contextmanager
def collector_paused() -> Iterator[None]:
    """Make what stays until the process ends: Python's garbage collector does not look through it, ever.

    What the page's imports make takes the collector a sixth of the start. See `gc.freeze`.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def in_space() -> bool:
    """Whether this is a Space of the Hugging Face hub."""
    return os.environ.get("SYSTEM") == "spaces"


def own_hosts(bound: str | None, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Names by which this server is asked for: the address that it listens on, and in a Space the Space's."""
    names = [
        bound or environment.get("GRADIO_SERVER_NAME", ""),
        *environment.get("SPACE_HOST", "").split(","),
    ]
    return [name.strip() for name in names if name.strip()]


def is_lent() -> bool:
    """Whether this is a ZeroGPU Space: a card is there only within calls that are made through `spaces`."""
    said = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")
    return said and find_spec("spaces") is not None


def default_device() -> str:
    """The card of a Space that has one of its own; else the processor."""
    if not in_space() or is_lent():
        return "cpu"
    import torch  # takes more than a second

    return "cuda" if torch.cuda.is_available() else "cpu"


def _move_caches(environment: MutableMapping[str, str]) -> Path | None:
    home = Path(os.path.expanduser("~"))
    caches = {
        "XDG_CACHE_HOME": Path(environment.get("XDG_CACHE_HOME") or home / ".cache"),
        "MPLCONFIGDIR": Path(
            environment.get("MPLCONFIGDIR") or environment.get("XDG_CONFIG_HOME") or home / ".config"
        ),
    }
    lost = [name for name, folder in caches.items() if not _is_writable(folder)]
    if not lost:
        return None
    folder = make_temporary_folder() or Path(tempfile.mkdtemp(prefix="ktb-"))  # found again, or a new one
    for name in lost:
        environment[name] = str(folder)
    return folder


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
