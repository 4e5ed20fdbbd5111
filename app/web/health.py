"""`GET /healthz`: whether the server responds, and which models are loaded. It does not wait for runs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ktb import __version__

PATH = "/healthz"


async def _health(request: Request) -> JSONResponse:
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
