"""The upload route: each upload gets its own folder, which is deleted if the upload fails."""

from __future__ import annotations

import errno
import logging
import time

from anyio import fail_after
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive

from app.gradio_ext.uploading import BadForm, save_files
from app.server.logs import note
from app.server.uploads import Incoming, NoRoom, UploadLimits, Uploads
from app.web.calls import MAX_NAME
from app.web.client_address import noted_address
from ktb.inputs.limits import MAX_FILE_BYTES

TOO_LARGE = f"A file has more than {MAX_FILE_BYTES >> 20} MiB, which is the maximum."
TOO_MANY = "There are too many files in one upload: at most {} are taken."
NO_LENGTH = "An upload has to say its length (Content-Length)."
NO_FORM = "This is no upload: send files as multipart/form-data, in the field 'files'."
NO_SPACE = "The server's disk is full. Try again in a few minutes, or tell whoever runs this page."
TOO_SLOW = "This upload was too slow and was cut off. Try again, over a faster connection if you can."
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_log = logging.getLogger(__name__)


class TooSlow(Exception):
    """An upload stalls or is too slow."""


async def receive_upload(request: Request) -> Response:
    """POST /gradio_api/upload, in place of Gradio's: returns the paths, each for a single session."""
    begun, uploads = time.perf_counter(), request.app.get_blocks().store.uploads
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or len(length) > 15:
        return PlainTextResponse(NO_LENGTH, 411)
    try:
        paths = await _take(request, uploads, int(length))
    except NoRoom as error:
        refused = PlainTextResponse(str(error), 413 if error.too_much else 507)
    except TooSlow:
        refused = PlainTextResponse(TOO_SLOW, 408, {"Connection": "close"})
    except BadForm as error:
        refused = PlainTextResponse(TOO_LARGE if error.is_large else NO_FORM, 413 if error.is_large else 400)
    except HTTPException:
        refused = PlainTextResponse(NO_FORM, 400)
    except ClientDisconnect:
        refused = Response(status_code=400)
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        refused = PlainTextResponse(NO_SPACE, 507)
    else:
        seconds = round(time.perf_counter() - begun, 3)
        note(_log, logging.INFO, "upload", files=len(paths), bytes=int(length), seconds=seconds)
        return JSONResponse(paths)
    note(_log, logging.WARNING, "upload refused", status=refused.status_code, bytes=int(length))
    return refused


async def _take(request: Request, uploads: Uploads, length: int) -> list[str]:
    progress, most = request.query_params.get("upload_id"), uploads.limits.session_files
    if progress and len(progress) > MAX_NAME:
        raise HTTPException(400)
    with uploads.room(length, noted_address(request.scope)) as incoming:
        body = Request(request.scope, _watched(request.receive, incoming, length, uploads.limits))
        try:
            paths = await save_files(body, incoming.folder, MAX_FILE_BYTES, most, progress)
        except BadForm as error:
            if error.are_many:
                raise NoRoom(TOO_MANY.format(most), too_much=True) from error
            raise
        for stray in [path for path in incoming.folder.iterdir() if path.is_file()]:  # of other fields
            stray.unlink()
        incoming.arrive(paths)
        if not paths:
            incoming.folder.rmdir()
    return paths


def _watched(receive: Receive, incoming: Incoming, length: int, limits: UploadLimits) -> Receive:
    """An upload's body; raises if it exceeds its announced length, stalls, or exceeds a limit."""
    left, begun = length, time.monotonic()

    async def watched() -> Message:
        nonlocal left
        try:
            with fail_after(limits.idle_seconds):
                message = await receive()
        except TimeoutError as error:
            raise TooSlow from error
        count = len(message.get("body", b""))
        left -= count
        if left < 0:
            raise HTTPException(400)
        late = time.monotonic() - begun - limits.start_seconds
        if left and late > (length - left) / limits.bytes_per_second:
            raise TooSlow
        incoming.take(count)
        return message

    return watched
