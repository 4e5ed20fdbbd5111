"""One connection of a download: what it adds to the partial file, and why it ended."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx

from ktb.checkpoints.remote.address import WebFile, require_safe, shown
from ktb.checkpoints.remote.limits import Refused, is_no_space, require_room, require_size
from ktb.checkpoints.remote.transfer import Progress, Transfer

MAX_REDIRECTS = 5
MAX_WAIT = 60.0
"""The longest that a server may ask to wait before the next try, seconds."""
_NEVER_MET = (httpx.ConnectTimeout, httpx.ConnectError)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_REMEDIES = {
    401: "it wants a password; download the file with a browser and give its path",
    403: "it may want a login; download the file with a browser and give its path",
    404: "there is no such file; check the address for a misspelling",
    410: "the file was removed; look for a newer address",
}


class Interrupted(Exception):
    """A connection ended too early; another one may go on. `wait`: seconds, where the server says so."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class Unreachable(Interrupted):
    """No connection came about."""


def receive(client: httpx.Client, file: WebFile, partial: Path, progress: Progress) -> None:
    """Add what is missing to `partial`, from where it ends if the server can.

    Raises:
        Interrupted: no connection, or it broke, a busy server, or fewer bytes than it announced.
        Refused: the server says no, or the file is too large.
        ValueError: there is no space, or a redirect is not encrypted.
    """
    try:
        with _answer(client, file.url, _range(partial)) as response:
            _store(response, file, partial, progress)
    except httpx.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise Refused(
                f"{file}: the server's certificate cannot be trusted ({error}). If it is your own, name it "
                f"in SSL_CERT_FILE."
            ) from error
        kind = Unreachable if isinstance(error, _NEVER_MET) else Interrupted
        raise kind(_in_words(error)) from error
    except httpx.InvalidURL as error:
        raise Refused(f"{file} is no address of a file: {error}.") from error
    except OSError as error:
        if not is_no_space(error):
            raise
        partial.unlink(missing_ok=True)
        raise ValueError(
            f"there is no space left in {partial.parent} for {file}; what was here of it was removed. Free "
            f"some space, or set KTB_CACHE to a folder on a larger disk."
        ) from error


def _range(partial: Path) -> dict[str, str]:
    """The request for the rest; its condition is that the server still has the file that it had then."""
    headers = {"Accept-Encoding": "identity"}  # compressed, lengths and positions would mean nothing
    if not partial.exists() or not (size := partial.stat().st_size):
        return headers
    headers["Range"] = f"bytes={size}-"
    with contextlib.suppress(FileNotFoundError):
        headers["If-Range"] = version_file(partial).read_text(encoding="utf-8")
    return headers


@contextlib.contextmanager
def _answer(client: httpx.Client, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """The last answer of a chain of redirects, every link of it encrypted."""
    request = client.build_request("GET", url, headers=headers)
    for _ in range(MAX_REDIRECTS + 1):
        response = client.send(request, stream=True)
        try:
            if response.next_request is None:
                yield response
                return
        finally:
            response.close()
        require_safe(str(response.next_request.url), coming_from=str(request.url))
        request = response.next_request
    raise Refused(f"{shown(url)} leads on more than {MAX_REDIRECTS} times, without a file.")


def _store(response: httpx.Response, file: WebFile, partial: Path, progress: Progress) -> None:
    offset, total = _place(response, file, partial)
    if offset and offset == total:
        return
    if total is not None:
        require_size(file, total)
        require_room(file, total - offset, partial.parent)
    if offset == 0:
        _remember_version(response, partial)
    done = offset
    with partial.open("r+b" if offset else "wb") as out:
        out.seek(offset)
        progress(Transfer(file.name, done, total))
        for piece in response.iter_raw():
            done += len(piece)
            if total is None or done > total:
                require_size(file, done)
            out.write(piece)
            progress(Transfer(file.name, done, total))
    if total is not None and done != total:
        raise Interrupted(f"it ended after {done:,} of the {total:,} bytes that the server announced")


def _place(response: httpx.Response, file: WebFile, partial: Path) -> tuple[int, int | None]:
    """Where the body begins and how long the file is (None: not said), by the server's answer."""
    status = response.status_code
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Refused(f"{file}: the server compresses the file although asked not to; {_REMEDIES[403]}.")
    said = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    total = int(said[2]) if said and said[2].isdecimal() else None
    size = partial.stat().st_size if partial.exists() else 0
    if status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    if status == 206 and said and said[1] and int(said[1]) == size:
        return size, total
    if status == 416 and size and total == size:
        return size, size  # complete; a process ended before it could say so
    if status in (206, 416) and size:
        partial.unlink()
        raise Interrupted("the server cannot go on from where the last connection ended")
    if status in _PASSING:
        raise Interrupted(f"the server answers {_named(response)}", _asked_to_wait(response))
    remedy = _REMEDIES.get(status, "check the address, or download the file with a browser and give its path")
    raise Refused(f"{file} cannot be downloaded: the server answers {_named(response)}; {remedy}.")


def _remember_version(response: httpx.Response, partial: Path) -> None:
    """Keep what tells this version of the file from others; weak tags do not count for ranges."""
    tag = response.headers.get("ETag", "")
    validator = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    if validator:
        version_file(partial).write_text(validator, encoding="utf-8")
    else:
        version_file(partial).unlink(missing_ok=True)


def version_file(partial: Path) -> Path:
    """Where it is kept which version of a file a partial one is of."""
    return partial.with_suffix(".version")


def _asked_to_wait(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return min(float(text), MAX_WAIT) if text.isdecimal() else None


def _named(response: httpx.Response) -> str:
    return f"{response.status_code} {response.reason_phrase}".rstrip()


def _in_words(error: httpx.TransportError) -> str:
    if isinstance(error, _NEVER_MET):
        return f"the server cannot be reached ({error or type(error).__name__})"
    if isinstance(error, httpx.TimeoutException):
        return "the server stopped sending"
    return f"the connection broke ({error or type(error).__name__})"
