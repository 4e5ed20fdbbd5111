"""The built Space in a process of its own: started as Spaces starts it, beside nothing of this checkout."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START = 180.0  # seconds; a busy machine is slow
NO_HOME = "/proc/nowhere"
"""A home folder that cannot be made or written, not even by root."""
OF_THE_MACHINE = ("PATH", "LANG", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "OPENBLAS_")


@dataclass(frozen=True)
class Server:
    """A running Space: its address, what it has printed so far, its temporary folder, its process."""

    address: str
    log: Path
    temporary: Path
    process: subprocess.Popen


@contextmanager
def running(tree: Path, place: Path, python: str, **more: str) -> Iterator[Server]:
    """Start `app.py` of a built tree; it answers when this is entered.

    Args:
        place: an empty folder for what it writes and prints.
        python: the interpreter.
        more: variables of the environment beside those of a Space.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}", place / "log.txt", place / "temporary", None)
    server.temporary.mkdir()
    environment = {**space_variables(server.temporary, port), **more}
    with server.log.open("w") as log:
        process = subprocess.Popen(
            [python, "app.py"], cwd=tree, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait(process, server)
        yield Server(server.address, server.log, server.temporary, process)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def space_variables(temporary: Path, port: int) -> dict[str, str]:
    """What a process sees in a Space, and next to nothing of this machine's."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(OF_THE_MACHINE)}
    return kept | {
        "HOME": NO_HOME,
        "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SYSTEM": "spaces",
        "SPACE_ID": "my-lab/ktb",
        "SPACE_HOST": "my-lab-ktb.hf.space",
        "SPACE_AUTHOR_NAME": "my-lab",
        "SPACE_REPO_NAME": "ktb",
        "SPACE_TITLE": "KTB",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ALLOW_FLAGGING": "never",
    }


def _wait(process: subprocess.Popen, server: Server) -> None:
    end = time.monotonic() + START
    while True:
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the Space did not start:\n{server.log.read_text()}")
        try:
            if httpx.get(f"{server.address}/healthz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
