"""The page's own GET routes: its health, the viewer's files, and files that the API's answers link to."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from ktb import __version__
from ktb.outputs.embed import viewer_files

PATH = "/healthz"
NOTHING = {"detail": "There is nothing here."}
SHOWN = (".png", ".webm", ".mp4")
"""Files that a browser may show; it saves any other."""


async def _health(request: Request) -> JSONResponse:
    """Whether the server responds, and which models are loaded. It does not wait for runs."""
    service = request.app.get_blocks().service
    loaded = service.loaded
    return JSONResponse(
        {
            "status": "ok",
            "version": __version__,
            "models": {name: "loaded" if name in loaded else "on disk" for name in service.models},
            "warm": service.is_warm,
        },
        headers={"Cache-Control": "no-store"},
    )


HEALTH = Route(PATH, _health, methods=["GET"])


FRESH = {"Cache-Control": "no-cache"}
EXAMPLE = "example.safetensors.gz"
"""Name of the bundle of the example that the page opens on, beside the viewer's files."""
TYPES = {".js": "text/javascript", ".css": "text/css"}


async def _file(request: Request) -> Response:
    name, opening = request.path_params["name"], request.app.get_blocks().opening
    if name == EXAMPLE and opening is not None and opening.data:
        return Response(opening.data, media_type="application/octet-stream", headers=FRESH)
    for suffix, media_type in TYPES.items():
        if text := viewer_files(suffix).get(name):
            # without the version in its address, a file is to be asked for again after an update
            return Response(text, media_type=media_type, headers=FRESH)
    return JSONResponse(NOTHING, 404)


VIEWER = Route("/viewer/{name}", _file, methods=["GET"])


def answer_path(key: str, name: str) -> str:
    """The path of a file of an answer; see `app.server.answer_files`."""
    return f"/answers/{key}/{name}"


async def _answer(request: Request) -> Response:
    store, name = request.app.get_blocks().store, request.path_params["name"]
    path = store.answers.find(request.path_params["key"], name)
    if path is None or not path.is_file():
        return JSONResponse(NOTHING, 404)
    how = "inline" if path.suffix in SHOWN else "attachment"
    private = {"Cache-Control": "no-store"}  # no proxy keeps it longer than the server
    return FileResponse(path, filename=name, content_disposition_type=how, headers=private)


ANSWERS = Route(answer_path("{key}", "{name}"), _answer, methods=["GET"])
