"""Validate calls before Gradio processes them, with an error that names the mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from itertools import islice

from app.gradio_ext.payloads import files_in

_NAMED = re.compile(r"^/gradio_api/call/(v2/)?([^/]+)/?$")
_NUMBERED = re.compile(r"^/gradio_api/(queue/join|run/predict)/?$")
_CANCEL = re.compile(r"^/gradio_api/cancel/?$")
_SIGNS = 200
MAX_NAME = 128
"""Letters of a session's or an event's name; Gradio's own have up to 32."""
MAX_FILES = 64
"""That a call may name: as many as a page holds."""


class BadCall(ValueError):
    """A call is refused; the message names the mistake.

    `status`: the HTTP status.
    """

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


def check_call(
    path: str,
    body: bytes,
    events: Collection[int],
    endpoints: Collection[str],
    parameters: Callable[[str], Mapping[str, bool]],
) -> None:
    """Raise BadCall for a body that is not a JSON object, and for an unknown event or endpoint.

    So it does for long names, which the server would keep, and for many files, which it would look up while
    everybody waits.

    Args:
        path: the path of the request.
        events, endpoints: the known event numbers and endpoint names.
        parameters: endpoint → its parameters, and whether each is required.
    """
    named, is_numbered = _NAMED.match(path), _NUMBERED.match(path)
    is_cancelled = _CANCEL.match(path)
    if not named and not is_numbered and not is_cancelled:
        return
    if named and named[2] not in endpoints:
        raise BadCall(f"there is no endpoint of this name; there are {', '.join(sorted(endpoints))}.", 404)
    try:
        call = json.loads(body)
    except RecursionError:
        raise BadCall("the call is nested too deeply to be read.") from None
    except ValueError as error:
        raise BadCall(f"the call is no JSON: {str(error)[:_SIGNS]}.") from error
    if not isinstance(call, dict):
        raise BadCall('the call is no JSON object, such as {"data": []}.')
    if next(islice(files_in(call), MAX_FILES, None), None) is not None:
        raise BadCall(f"the call names over {MAX_FILES} files; name those that it needs.", 413)
    for key in ("session_hash", "event_id"):
        if not isinstance(call.get(key), str | None):
            raise BadCall(f'"{key}" is no text.')
        if len(call.get(key) or "") > MAX_NAME:
            raise BadCall(f'"{key}" is longer than {MAX_NAME} letters.')
    if named and named[1]:
        _check_parameters(call, parameters(named[2]))
        return
    if not is_cancelled and not isinstance(call.get("data"), list):
        raise BadCall('the call has no list of values: give "data", with one for each parameter.')
    number = call.get("fn_index")
    if not named and (type(number) is not int or number not in events):
        raise BadCall('there is no event of this number: give "fn_index" as /config lists it.', 404)
    if type(call.get("trigger_id")) not in (int, type(None)):
        raise BadCall('"trigger_id" is no whole number.')


def _check_parameters(given: Mapping[str, object], parameters: Mapping[str, bool]) -> None:
    if unknown := sorted(set(given) - set(parameters) - {"oauth_token"}):
        known = ", ".join(parameters) or "none"
        raise BadCall(f"there is no parameter {', '.join(unknown)[:_SIGNS]}; there are {known}.")
    if missing := [name for name, is_needed in parameters.items() if is_needed and name not in given]:
        raise BadCall(f"{', '.join(missing)}: no value is given; null stands for none.")
