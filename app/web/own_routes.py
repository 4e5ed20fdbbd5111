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
    return JSONResponse({"detail": "There is nothing here."}, 404)


VIEWER = Route("/viewer/{name}", _file, methods=["GET"])
