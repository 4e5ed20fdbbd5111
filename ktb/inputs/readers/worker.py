"""The process behind `Sandbox`: it loads the readers once, and forks itself for each reading.

It has one thread, so a fork is sound, and no torch, so it starts in a fraction of a second. A child reads one
file under limits of memory and time that the system keeps, answers and ends: what a decoder leaves behind or
breaks goes with it. Children end with the process that forked them.

    python -m ktb.inputs.readers.worker DESCRIPTOR    # a socket; `Sandbox` starts it
"""

import contextlib
import ctypes
import gc
import importlib
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from ktb.inputs.limits import InputError
from ktb.inputs.readers import messages

PRELOADED = (
    *("ktb.inputs.read", "ktb.inputs.rgb", "h5py", "OpenEXR", "lz4.frame", "zstandard"),
    *(f"PIL.{kind}ImagePlugin" for kind in ("Png", "Jpeg", "WebP", "Bmp", "Tiff", "Ppm", "Gif")),
)
"""Import the modules of the readers; a reader reports a missing package itself."""
READY = b"r"
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Load the readers, report readiness, and fork for each connection until the other side closes."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for module in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system takes away children that ended
    gc.collect()
    gc.freeze()  # children share these pages as long as nobody looks through them
    control.sendall(READY)
    while True:
        try:
            _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        except ConnectionError:
            return
        if not descriptors:
            return
        worker = os.getpid()
        if os.fork() == 0:
            control.close()
            try:
                _end_with(worker)
                _serve(socket.socket(fileno=descriptors[0]))
            finally:
                os._exit(0)
        os.close(descriptors[0])


def _end_with(parent: int) -> None:
    """Let the system kill this process as soon as its parent ends: the parent ends with the server."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it ended before
        os._exit(0)


def _serve(connection: socket.socket) -> None:
    """Serve one request; a generator yields one answer per value."""
    task, arguments, memory, seconds = messages.receive(connection)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _address_space() + memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        for value in _values(task, arguments, seconds):
            signal.alarm(0)  # what follows is the reader's time
            messages.send(connection, ["value", value])
            _start_clock(seconds)
        answer = ["end", None]
    except MemoryError:
        answer = ["stopped", "memory"]
    except InputError as error:
        answer = ["InputError", str(error)]
    except ValueError as error:
        answer = ["ValueError", str(error)]
    except BrokenPipeError:  # nobody waits any more
        return
    except Exception as error:  # the other process logs it: the place, not the text, which may quote a file
        place = traceback.extract_tb(error.__traceback__)[-1]
        answer = [
            "unexpected",
            f"{type(error).__name__} in {os.path.basename(place.filename)}:{place.lineno}",
        ]
    signal.alarm(0)
    messages.send(connection, answer)


def _values(task: str, arguments: list, seconds: int) -> Iterator[Any]:
    _start_clock(seconds)
    module, _, name = task.partition(":")
    found = getattr(importlib.import_module(module), name)(*arguments)
    if isinstance(found, Iterator):
        yield from found
    else:
        yield found


def _start_clock(seconds: int) -> None:
    """Limit the process to these seconds of processor time, and four times as many of wall-clock time."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, resource.RLIM_INFINITY))
    signal.alarm(4 * seconds)


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main()
