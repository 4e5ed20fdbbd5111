"""How an answer delivers its files: as links, as base64 texts, or not at all."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

from app.server.answer_files import Answer, AnswerFiles
from app.server.sessions import current_address, current_root, current_session
from app.web.own_routes import answer_path

Delivery = Literal["url", "inline", "none"]


def as_base64(data: bytes) -> str:
    """Bytes as a base64 text."""
    return base64.b64encode(data).decode()


class Files:
    """Delivers the files of one answer.

    Args:
        how: "url", "inline" or "none".
        kept: writes the linked files.
        answer: the answer that they belong to.

    Raises:
        ValueError: `how` is none of these.
    """

    def __init__(self, how: str, kept: AnswerFiles, answer: Answer):
        if how not in get_args(Delivery):
            raise ValueError(f"files {how!r}: choose one of {', '.join(get_args(Delivery))}.")
        self.how, self._kept, self._answer, self._root = how, kept, answer, current_root.get()

    def one(self, name: str, make: Callable[[], bytes]) -> str | None:
        """A link to a file, its contents as base64, or None; `make` is not called for None."""
        return None if self.how == "none" else self._delivered(name, make())

    def all(self, make: Callable[[], Mapping[str, bytes]]) -> dict[str, str]:
        """As `one`, for several files by name; without names if nothing is delivered."""
        if self.how == "none":
            return {}
        return {name: self._delivered(name, data) for name, data in make().items()}

    def _delivered(self, name: str, data: bytes) -> str:
        if self.how == "inline":
            return as_base64(data)
        self._kept.write(self._answer, name, data)
        return f"{self._root}{answer_path(self._answer.key, name)}"


@contextmanager
def delivering(how: str, kept: AnswerFiles) -> Iterator[Files]:
    """The `Files` of the current call; what it has written is deleted if the call fails."""
    answer = kept.begin(current_session.get(), current_address.get())
    try:
        yield Files(how, kept, answer)
    except BaseException:
        kept.drop(answer)
        raise
    if not answer.files:
        kept.drop(answer)
