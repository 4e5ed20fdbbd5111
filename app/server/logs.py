"""The server's log, as text or JSON lines, with request ids and without visitors' data.

The facts of an event are numbers and the project's names: checkpoints, runtimes, sizes. The messages of
unexpected errors and of other libraries may quote a visitor's file: their location is always logged, their
message only on request.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import cv2

from app.web.request_ids import request_id

OURS = ("app", "ktb", "__main__")


def note(log: logging.Logger, level: int, event: str, **facts: Any) -> None:
    """Log an event with its facts: numbers, and the project's names."""
    log.log(level, event, extra={"facts": facts})


def configure(as_json: bool = False, with_texts: bool = False) -> None:
    """Log to stderr.

    Args:
        as_json: one JSON object per line instead of text.
        with_texts: include the messages of unexpected errors and other libraries, which may quote visitors'
            files.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((JsonLines if as_json else TextLines)(with_texts))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    if not with_texts:  # both write file names to stderr themselves
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def take_over(name: str = "uvicorn") -> None:
    """Replace the handlers of a library's logger by the root logger's."""
    log = logging.getLogger(name)
    log.handlers.clear()
    log.propagate = True


class _Lines(logging.Formatter):
    def __init__(self, with_texts: bool = False):
        super().__init__()
        self._with_texts = with_texts

    def _facts(self, record: logging.LogRecord) -> dict[str, Any]:
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        facts: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request": request_id.get(),
            "event": self._text(record),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[1]:
            facts["traceback"] = "".join(stack(record.exc_info[1], self._with_texts))
        return facts

    def _text(self, record: logging.LogRecord) -> str:
        if self._with_texts or record.name.split(".")[0] in OURS:
            return record.getMessage()
        is_template = isinstance(record.msg, str) and record.args and record.msg != "%s"
        return record.msg[:200] if is_template else "said something"


class JsonLines(_Lines):
    """An object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter`."""
        return json.dumps(self._facts(record), ensure_ascii=False, default=str)


class TextLines(_Lines):
    """Time, level, request, event and facts; a traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter`."""
        facts = self._facts(record)
        where = facts.pop("traceback", "")
        begin = " ".join(str(facts.pop(key)) for key in ("time", "level", "request", "event"))
        facts.pop("logger")
        line = " ".join([begin, *(f"{key}={value}" for key, value in facts.items())])
        return f"{line}\n{where}".rstrip()


def stack(error: BaseException, with_texts: bool = False) -> Iterator[str]:
    """Lines with the location of an error and its causes; their messages only `with_texts`."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from stack(before, with_texts)
        yield "which led to:\n"
    yield from traceback.format_list(traceback.extract_tb(error.__traceback__))
    yield f"{type(error).__module__}.{type(error).__qualname__}{f': {error}' if with_texts else ''}\n"
