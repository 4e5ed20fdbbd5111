"""Runtime environment: read-only home directories, Hugging Face Spaces, ZeroGPU.

The module imports no heavy package, because `prepare` must run before imports that read the environment.
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
    """Set the environment that Gradio, huggingface_hub, matplotlib and torch read on import.

    If the user's cache folder is read-only, caches move to a temporary folder of this user. In a ZeroGPU
    Space, the package `spaces` is imported, which must precede torch, in the thread that moves the models to
    the GPU. matplotlib is set to a backend without windows: Gradio queries the backend at every event, which
    would otherwise import a window toolkit and cost the first visitor a second.

    Returns:
        The temporary folder, or None if none was needed.
    """
    environment.setdefault("MPLBACKEND", "agg")
    folder = _move_caches(environment)
    if is_lent():
        import spaces

        spaces.disable_gradio_auto_wrap()  # otherwise handlers may run in another process, without sessions
    return folder


@contextmanager
def collector_paused() -> Iterator[None]:
    """Exclude objects that live until the process ends from garbage collection; see `gc.freeze`.

    Collecting the objects of the page's imports would take a sixth of the start.
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
    """This server's host names: the address that it listens on, and in a Space the Space's host."""
    names = [
        bound or environment.get("GRADIO_SERVER_NAME", ""),
        *environment.get("SPACE_HOST", "").split(","),
    ]
    return [name.strip() for name in names if name.strip()]


def is_lent() -> bool:
    """Whether this is a ZeroGPU Space: a GPU exists only within calls made through `spaces`."""
    flag = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")
    return flag and find_spec("spaces") is not None


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
    folder = make_temporary_folder() or Path(tempfile.mkdtemp(prefix="ktb-"))  # an earlier or new one
    for name in lost:
        environment[name] = str(folder)
    return folder


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
