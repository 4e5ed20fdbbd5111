"""Readers in a separate process, with limits of memory and time enforced by the system.

Headers are checked first, wherever a file is read. What a header cannot tell, and what a decoder does that
its authors did not mean, is held here: the process that reads is not the one that serves. Both run the same
functions, so results and messages are equal.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ktb.inputs.limits import MAX_READ_SECONDS, InputError
from ktb.inputs.options import AUTO, XOptions
from ktb.inputs.read import read_x
from ktb.inputs.readers import messages
from ktb.inputs.readers.decoded import decoded_bytes
from ktb.inputs.readers.files import Source
from ktb.inputs.readers.labels import read_label_picture
from ktb.inputs.rgb import read_rgb
from ktb.inputs.types import RawX, RgbImage

IS_ISOLATED = sys.platform == "linux"
"""Whether this system enforces the limits; elsewhere files are read in the calling process."""
START_SECONDS = 120
_CONTAINERS = {
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "format_whitelist;mov,mp4,m4a,avi,matroska,webm|protocol_whitelist;file"
}
"""What FFmpeg opens there, whatever a file begins with: none of its formats that lead to other files."""
_PACKAGE = Path(__file__).resolve().parents[3]


class Sandbox:
    """`read_rgb` and `read_x` in another process, whose crash becomes an InputError.

    The process starts with `start` or with the first reading, and ends with `close` or with this one, and the
    readings with it, even if this one is killed. Several threads may use a sandbox. Each reading has a child
    of its own; how many run at once is up to the caller.

    Args:
        seconds: processor time of a reading; of a stream, of each of its values.
    """

    def __init__(self, seconds: int = MAX_READ_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen | None = None
        self._is_ready = False

    def read_image_rgb(self, source: Source) -> np.ndarray:
        """As `ktb.read_image_rgb`, without its Python warnings."""
        return self.read_rgb(source).pixels

    def read_rgb(self, source: Source) -> RgbImage:
        """Run `ktb.read_rgb`."""
        return self.call(read_rgb, _absolute(source), name=_name_of(source), memory=memory_for(source))

    def read_x(
        self,
        source: Source | Sequence[Source],
        filename: str | Sequence[str] | None = None,
        options: XOptions = AUTO,
    ) -> RawX:
        """Run `ktb.read_x`."""
        if isinstance(source, str | Path | bytes):
            assert filename is None or isinstance(filename, str)
            name, memory = filename or _name_of(source), memory_for(source)
            return self.call(read_x, _absolute(source), filename, options, name=name, memory=memory)
        sources = [_absolute(one) for one in source]
        names = None if filename is None else list(filename)
        shown, memory = ", ".join(names or map(_name_of, sources)), sum(map(memory_for, sources))
        return self.call(read_x, sources, names, options, name=shown, memory=memory)

    def read_label_picture(self, source: Source, filename: str | None = None) -> tuple[np.ndarray, str]:
        """Run `ktb.inputs.readers.labels.read_label_picture`."""
        name, memory = filename or _name_of(source), memory_for(source)
        return self.call(read_label_picture, _absolute(source), filename, name=name, memory=memory)

    def call(self, function: Callable, *arguments: Any, name: str, memory: int) -> Any:
        """Run a function of a module in the other process and return its result.

        Args:
            function: found there by its module and name.
            arguments: what `messages` can carry, as its result.
            name: of the file, for messages.
            memory: bytes that the reading may take.

        Raises:
            InputError: as the function; or it took too much memory or time, or ended its process.
            ValueError: as the function.
            RuntimeError: the function raised something else.
        """
        (value,) = self.stream(function, *arguments, name=name, memory=memory)
        return value

    def stream(self, function: Callable, *arguments: Any, name: str, memory: int) -> Iterator[Any]:
        """Iterate over a generator function in the other process, as `call`; closing it ends the read."""
        if not IS_ISOLATED:
            found = function(*arguments)
            yield from found if isinstance(found, Iterator) else (found,)
            return
        with self._connected() as connection:
            connection.settimeout(4 * self._seconds + 10)  # the child's own clock comes first
            task = f"{function.__module__}:{function.__qualname__}"
            try:
                messages.send(connection, [task, list(arguments), memory, self._seconds])
                while (answer := messages.receive(connection))[0] == "value":
                    yield answer[1]
            except (OSError, ValueError) as error:  # the child is gone, or wrote what it does not write
                if isinstance(error, InputError):
                    raise
                raise InputError(_stopped(name, memory, self._seconds)) from error
        kind, text = answer
        if kind == "stopped":
            raise InputError(_stopped(name, memory, self._seconds))
        if kind == "InputError":
            raise InputError(text)
        if kind == "ValueError":
            raise ValueError(text)
        if kind != "end":
            raise RuntimeError(f"the reading process raised {text}")

    def start(self) -> None:
        """Start the process if it is not running, without waiting for it."""
        if IS_ISOLATED:
            with self._lock:
                self._start()

    def close(self) -> None:
        """End the process and the active reads."""
        with self._lock:
            if self._control is not None:
                self._control.close()
            if self._process is not None:
                self._process.wait()
            self._control = self._process = None

    def _start(self) -> socket.socket:
        if self._control is not None and self._process.poll() is None:
            return self._control
        if self._control is not None:
            self._control.close()
        self._control, theirs = socket.socketpair()
        paths = os.pathsep.join(filter(None, (str(_PACKAGE), os.environ.get("PYTHONPATH"))))
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ktb.inputs.readers.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | one_thread | _CONTAINERS | {"PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # decoders quote the files that they read
        )
        theirs.close()
        self._is_ready = False
        return self._control

    def _connected(self) -> socket.socket:
        """A connection to a new child."""
        ours, theirs = socket.socketpair()
        with self._lock, theirs:
            for attempt in range(2):
                control = self._start()
                try:
                    if not self._is_ready:
                        control.settimeout(START_SECONDS)
                        if not control.recv(1):
                            raise ConnectionError("it ended while it started")
                        self._is_ready = True
                    socket.send_fds(control, [b"f"], [theirs.fileno()])
                    return ours
                except OSError as error:
                    control.close()
                    self._process.kill()
                    self._process.wait()
                    self._control = None
                    if attempt:
                        ours.close()
                        raise RuntimeError(
                            f"the process that reads files does not start ({error}); run python -m "
                            "ktb.inputs.readers.worker 0 to see why"
                        ) from error
        raise AssertionError("unreachable")


def memory_for(source: Source) -> int:
    """Memory limit for reading a file: the file, its decoded contents, and temporary copies."""
    return FIXED_MEMORY + 2 * _size(source) + 4 * decoded_bytes(source)


FIXED_MEMORY = 256 * 2**20
"""Upper bound of the decoders' own memory."""


def _stopped(name: str, memory: int, seconds: int) -> str:
    return (
        f"{name}: reading it was stopped, for it takes over {memory >> 20:,} MiB of memory or {seconds} s, "
        "or breaks its decoder; it is damaged or made to do so: save it again, smaller or in another format"
    )


def _absolute(source: Source) -> str | bytes:
    """Absolute path, because the process may have started in another folder."""
    return source if isinstance(source, bytes) or not str(source) else os.path.abspath(source)


def _name_of(source: Source) -> str:
    return "the file" if isinstance(source, bytes) else Path(source).name or str(source)


def _size(source: Source) -> int:
    if isinstance(source, bytes):
        return len(source)
    try:
        return os.stat(source).st_size
    except (OSError, ValueError):
        return 0
