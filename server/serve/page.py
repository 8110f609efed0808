"""The page at /page/: people draw, the model answers in their browser, and what they correct waits for its owner's look.

Any page of the web can send requests to a port of this computer, so all that is not the page's own files asks for the token that is
in the page's address (behind #, which browsers send to nobody), and for an Origin and a Host that are this service's.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from core.data import corrections
from core.predict import threshold
from server.serve import rest
from server.serve.refusal import Reason, Refusal, invalid
from server.serve.servable import NAME
from server.serve.service import Service

WEB = Path(__file__).with_name("web")
RUNTIME = WEB / "ort"  # ONNX Runtime's own files for browsers, which `make page` fetches
AT = "/page"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-cache",  # asked for again each time; not sent again if it is the same
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
BROWSERS = ".onnx"  # what ONNX Runtime reads there


@dataclass(frozen=True)
class Page:
    """What the page may do, and for whom."""

    learn: Path | None = None  # the folder whose `pending` takes corrections; none: it takes none
    local: bool = True  # is it for this computer only?
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def admit(self, request: Request) -> None:
        """Raises Refusal unless a request comes from the page itself, with the token of its address."""
        if self.local:
            rest.check_host(request)
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if origin is not None and origin != f"{request.scope['scheme']}://{host}":
            raise Refusal(Reason.FOREIGN, f"this comes from another page, {origin[:60]!r}")
        authorization = request.headers.get("authorization") or ""
        if not hmac.compare_digest(authorization.encode(), f"Bearer {self.token}".encode()):
            raise Refusal(
                Reason.STRANGER, "this address is not today's: open the one that the service printed when it started"
            )


class Files(StaticFiles):
    """The page's own files, with headers that let it load nothing from elsewhere."""

    async def get_response(self, path: str, scope: Any) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def routes(service: Service, page: Page) -> list[BaseRoute]:
    """The page's routes."""

    async def about(_: Service, request: Request) -> Response:
        return _about(service, page)

    async def correction(_: Service, request: Request) -> Response:
        return await _correction(service, page, request)

    async def to_page(request: Request) -> Response:
        return RedirectResponse(f"{AT}/")

    return [
        Route("/", to_page),
        rest.route(service, f"{AT}/about.json", "GET", about, page.admit),
        rest.route(service, f"{AT}/versions/{{version}}/model.onnx", "GET", _model, page.admit),
        rest.route(service, f"{AT}/corrections", "POST", correction, page.admit),
        Mount(AT, Files(directory=WEB, html=True)),
    ]


def _about(service: Service, page: Page) -> Response:
    model = service.model()
    fits = model.path.name.endswith(BROWSERS)
    return JSONResponse(
        {
            "name": NAME, "version": model.version, "labels": model.labels,
            "threshold": threshold(model.metadata), "learn": page.learn is not None,
            "file": f"versions/{model.version}/model.onnx" if fits else None,
            "why": "" if fits else f"a browser reads {BROWSERS} files, and {model.path.name} is served: use --file model.onnx",
        }
    )  # fmt: skip


async def _model(service: Service, request: Request) -> Response:
    model = service.model(version=request.path_params["version"])
    if not model.path.name.endswith(BROWSERS):
        raise Refusal(Reason.UNKNOWN, f"{model.path.name} is served, and no {BROWSERS} file")
    if not model.on_disk:  # it is in memory, and answers still; what lies there now is another model, or none
        raise Refusal(Reason.UNKNOWN, f"the file of version {model.version} is not there any more")
    return FileResponse(model.path, media_type="application/octet-stream", headers=HEADERS)


async def _correction(service: Service, page: Page, request: Request) -> Response:
    if page.learn is None:
        raise Refusal(Reason.UNKNOWN, "this service keeps no corrections: it was started without --learn")
    body = rest.object_of(await rest.body(service, request, corrections.LONGEST))
    try:
        correction = corrections.correction(body, service.model().classes)
        await asyncio.to_thread(corrections.put, page.learn, correction)
    except ValueError as error:
        raise invalid(str(error)) from None
    except corrections.Full as error:
        raise Refusal(Reason.BUSY, str(error)) from None
    except OSError as error:  # a full disk, a folder that is no longer there
        raise Refusal(Reason.BROKEN, f"it could not be kept: {error.strerror}") from None
    return JSONResponse({"kept": correction.name}, 201)
