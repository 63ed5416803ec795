"""The web application: its paths, and what stands before them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from edge_agent import __version__
from edge_agent.gateway.chat import Chat
from edge_agent.gateway.errors import ApiError
from edge_agent.gateway.guards import Gate, SecurityHeaders, response_of
from edge_agent.gateway.inquiry import Inquiries
from edge_agent.gateway.keys import KeyRing
from edge_agent.gateway.mesh import MeshLink
from edge_agent.gateway.metrics import CONTENT_TYPE, CountingMiddleware, Figures
from edge_agent.gateway.names import LISTED, plan_of
from edge_agent.gateway.options import GatewayOptions
from edge_agent.gateway.pages import STYLE, about, app_files, docs_page
from edge_agent.gateway.reading import no_such_model
from edge_agent.gateway.schemas import ERRORS, ChatCompletionRequest, Model, ModelList

MODELS_CREATED = 1_733_443_200  # 2024-12-06: OpenAI's clients want a time, and a mesh of any models has none
RETRY_AFTER_S = 5  # of /readyz while it is not ready
DESCRIPTION = "Asks a mesh of small devices as if it were one model, in the form of OpenAI's chat completions."


def make_app(options: GatewayOptions, keys: KeyRing, link: MeshLink, inquiries: Inquiries) -> ASGIApp:
    """Returns the application. Its lifespan connects to the mesh, and in the end cancels what is under way."""
    figures = Figures(link)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await link.start()
        try:
            yield
        finally:
            await inquiries.close()
            await link.stop()

    app = FastAPI(
        title="moamesh",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its pages load scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
    )
    _add_errors(app)
    _add_api(app, Chat(inquiries, figures, options))
    _add_state(app, link, figures)
    _add_pages(app, options, keys)
    # The last added is met first.
    app.add_middleware(Gate, keys=keys, options=options)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=options.cors_origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),
        expose_headers=("Retry-After", "X-Request-Id", "X-Moamesh-Device", "X-Moamesh-Partial"),
    )
    app.add_middleware(CountingMiddleware, figures=figures)
    return SecurityHeaders(app)  # around all of it: what answers a defect stands before every middleware


def _add_api(app: FastAPI, chat: Chat) -> None:
    @app.get("/v1/models", summary="the mesh as models", responses=_of(401))
    async def models() -> ModelList:
        return ModelList(data=[Model(id=name, created=MODELS_CREATED) for name in LISTED])

    @app.get(
        "/v1/models/{name}",
        summary="one model; every M and k within the bounds exists",
        responses=_of(401, 404, "default"),
    )
    async def model(name: str) -> Model:
        if plan_of(name) is None:
            raise no_such_model(name)
        return Model(id=name, created=MODELS_CREATED)

    @app.post(
        "/v1/chat/completions",
        summary="a chat, answered by the mesh; whole or as a stream",
        response_model=None,
        responses=ERRORS,
    )
    async def completions(request: Request, body: ChatCompletionRequest) -> Response:
        return await chat.complete(request, body)


def _of(*statuses: int | str) -> dict[int | str, dict[str, Any]]:
    return {status: ERRORS[status] for status in statuses}


def _add_state(app: FastAPI, link: MeshLink, figures: Figures) -> None:
    @app.get("/healthz", summary="whether the process lives")
    async def healthz() -> dict[str, Any]:
        return {"status": "ok", "version": __version__}

    @app.get("/readyz", summary="whether the broker is connected and a device can answer")
    async def readyz() -> JSONResponse:
        online = link.online()
        unable = {view.device_id: view.trouble for view in online if not view.able}
        ready = link.connected and len(online) > len(unable)
        said = {
            "ready": ready,
            "broker_connected": link.connected,
            "devices_online": len(online),
            "devices_able": len(online) - len(unable),
            "devices_unable": unable,
        }
        return JSONResponse(said, 200 if ready else 503, {} if ready else {"Retry-After": str(RETRY_AFTER_S)})

    @app.get("/metrics", summary="figures for Prometheus")
    async def metrics() -> Response:
        return Response(figures.text(), media_type=CONTENT_TYPE)


def _add_pages(app: FastAPI, options: GatewayOptions, keys: KeyRing) -> None:
    @app.get("/about.json", summary="what the app asks first")
    async def about_json() -> JSONResponse:
        return JSONResponse(about(options, __version__), headers={"cache-control": "no-store"})

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        base = str(request.base_url).rstrip("/")
        return HTMLResponse(docs_page(app.openapi(), base, key_needed=keys.needed))

    @app.get("/docs/style.css", include_in_schema=False)
    async def docs_style() -> PlainTextResponse:
        return PlainTextResponse(STYLE, media_type="text/css")

    app.router.default = app_files(options)  # not a mount: that would also take known paths with another method


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def api_error(_request: Request, error: ApiError) -> JSONResponse:
        return response_of(error)

    @app.exception_handler(RequestValidationError)
    async def not_valid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return response_of(_first_problem(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path[:128]}: {error.detail}"
        return response_of(ApiError(error.status_code, message, code="" if error.status_code < 500 else "internal"))

    @app.exception_handler(Exception)
    async def defect(_request: Request, _error: Exception) -> JSONResponse:
        return response_of(ApiError(500, "internal error of the gateway: its log has the details", kind="server_error"))


def _first_problem(error: RequestValidationError) -> ApiError:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is not JSON: {first.get('ctx', {}).get('error', '')}", code="invalid_json")
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    return ApiError(400, f"{place or 'the body'}: {first['msg']}"[:300], param=place[:128], code="invalid_value")
