"""The page's own GET routes: its health, and the files of the viewer."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ktb import __version__
from ktb.outputs.embed import viewer_files

PATH = "/healthz"


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


TYPES = {".js": "text/javascript", ".css": "text/css"}


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    for suffix, media_type in TYPES.items():
        if text := viewer_files(suffix).get(name):
            # without the version in its address, a file is to be asked for again after an update
            return Response(text, media_type=media_type, headers={"Cache-Control": "no-cache"})
    return JSONResponse({"detail": "There is nothing here."}, 404)


VIEWER = Route("/viewer/{name}", _file, methods=["GET"])
