"""`GET /viewer/NAME`: the modules of the viewer, and its style sheet."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ktb.outputs.embed import viewer_files

TYPES = {".js": "text/javascript", ".css": "text/css"}


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    for suffix, media_type in TYPES.items():
        if text := viewer_files(suffix).get(name):
            # without the version in its address, a file is to be asked for again after an update
            return Response(text, media_type=media_type, headers={"Cache-Control": "no-cache"})
    return JSONResponse({"detail": "There is nothing here."}, 404)


VIEWER = Route("/viewer/{name}", _file, methods=["GET"])
