"""What every request passes before it is looked at: bounds, who may ask, and the headers of every response.

Plain ASGI, not Starlette's BaseHTTPMiddleware, which hides from a stream that its client has gone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_agent.core.shares import Shares
from edge_agent.gateway.errors import ApiError
from edge_agent.gateway.keys import KeyRing
from edge_agent.gateway.options import (
    BODY_BYTES_MAX,
    BODY_TIMEOUT_S,
    CONNECTIONS_MAX,
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    GatewayOptions,
)
from edge_agent.gateway.share_check import check_share
from edge_agent.hosts import address_of

CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
"""No script or style but the gateway's own; the app may open WebSockets to any broker it is paired with."""

SECURITY_HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
CALLER = "moamesh.caller"  # where a request's scope says whose key it brought; "" without keys
HOLDER = "moamesh.holder"  # and whose share it counts for: that key's, or without keys its address's
NO_STORE = "no-store"  # answers are between a client and the gateway; no cache in between shall keep one


def response_of(error: ApiError) -> JSONResponse:
    """The response that tells an error."""
    return JSONResponse(error.body, error.status, error.headers)


def needs_key(path: str) -> bool:
    """Whether a path is behind the API keys. The app's files hold no secret, and health must be told to anybody."""
    return path == "/metrics" or path == "/v1" or path.startswith("/v1/")


@final
class SecurityHeaders:
    """Puts the headers on every response, whoever made it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if needs_key(scope["path"]):
                    headers.setdefault("cache-control", NO_STORE)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


@final
class Gate:
    """Refuses what is too much, comes from a page that must not ask, or brings no key where one is needed."""

    def __init__(self, app: ASGIApp, keys: KeyRing, options: GatewayOptions) -> None:
        self._app = app
        self._keys = keys
        self._hosts = frozenset(_own_names(options))
        self._shares = Shares(options.caller_share, CONNECTIONS_MAX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._check_head(scope, headers)
            holder = scope[HOLDER] = _holder(scope)
            check_share(self._shares, holder)
        except ApiError as error:
            await response_of(error)(scope, receive, send)
            return
        self._shares.take(holder)
        try:
            await self._let_in(scope, headers, receive, send)
        finally:
            self._shares.give_back(holder)

    async def _let_in(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] in ("POST", "PUT", "PATCH"):
                receive = await _with_body(headers, receive)
        except ApiError as error:
            await response_of(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_head(self, scope: Scope, headers: Headers) -> None:
        size = sum(len(name) + len(value) for name, value in headers.raw)
        if len(headers) > HEADERS_MAX or size > HEADER_BYTES_MAX:
            bounds = f"at most {HEADERS_MAX} headers of {HEADER_BYTES_MAX} bytes together"
            raise ApiError(431, bounds, code="headers_too_large")
        self._keys.refresh()
        if not self._keys.needed:
            self._check_host(headers.get("host", ""))
            scope[CALLER] = ""
        elif needs_key(scope["path"]):
            scope[CALLER] = self._caller(headers.get("authorization", ""))

    def _caller(self, authorization: str) -> str:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise ApiError(401, "an API key is needed: Authorization: Bearer KEY", code="missing_api_key")
        name = self._keys.name_of(secret.strip())
        if name is None:
            raise ApiError(401, "Incorrect API key provided", code="invalid_api_key")
        return name

    def _check_host(self, host: str) -> None:
        # DNS rebinding: a page of evil.example, whose name was turned to this address, says so in its Host header.
        # An address in its place cannot be turned.
        name = _host_name(host)
        if name not in self._hosts and address_of(name) is None:
            raise ApiError(
                403, f"not served under the name {name[:64]!r}: make an API key, or use an address", code="wrong_host"
            )


def _holder(scope: Scope) -> str:
    """A key's name holds no slash, so no address is taken for one."""
    if caller := scope.get(CALLER):
        return str(caller)
    client = scope.get("client")
    return f"address/{client[0] if client else ''}"


async def _with_body(headers: Headers, receive: Receive) -> Receive:
    """Takes the whole body, within its bounds, and returns what then gives it.

    Raises:
        ApiError: it is no JSON by its own word, too large or too slow.
    """
    # A page elsewhere can send other types without being asked whether it may; JSON it cannot.
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "the body must be JSON: Content-Type: application/json", code="not_json")
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > BODY_BYTES_MAX:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ApiError(499, "the client closed the connection before its request was complete")
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > BODY_BYTES_MAX:
                    raise _too_large()
    except TimeoutError:
        raise ApiError(408, f"the body was not complete within {BODY_TIMEOUT_S:.0f} s", code="slow_body") from None
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return replay


def _too_large() -> ApiError:
    return ApiError(413, f"a request's body may take at most {BODY_BYTES_MAX} bytes", code="body_too_large")


def _own_names(options: GatewayOptions) -> Iterable[str]:
    own = socket.gethostname().lower()
    return ("localhost", options.host.lower(), own, f"{own.partition('.')[0]}.local")


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
