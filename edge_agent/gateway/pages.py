"""What people see: the app's files, a page where there are none, and a plain page about the API."""

from __future__ import annotations

import html
import os
from typing import Any, final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import ASGIApp, Scope

from edge_agent.gateway.options import GatewayOptions

HASHED_DIR = "assets/"  # Vite puts a hash of the content into the names of all that is in it
FOR_EVER = "public, max-age=31536000, immutable"
ASK_FIRST = "no-cache"  # kept, but asked about each time: index.html and the service worker name the hashed files
GZIP_BYTES_MIN = 1024  # below it compressing saves no packet

NO_APP_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>moamesh</title></head><body>
<h1>The gateway runs; the app is not built</h1>
<p>In a copy of the source run <code>make app</code>, then load this page again. Installed packages bring it along.</p>
<p>The API works without it: <a href="/docs">what it can do</a>, <a href="/readyz">whether it is ready</a>.</p>
</body></html>
"""

STYLE = """:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;padding:1rem;border:1px solid #8884}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;
border-bottom:1px solid #8884}h2{margin-top:2.5rem}
"""

_EXAMPLE = """curl {base}/v1/chat/completions -H 'Content-Type: application/json'{key} \\
  -d '{{"model": "moa", "messages": [{{"role": "user", "content": "Why is the sky blue?"}}]}}'"""


@final
class AppFiles(StaticFiles):
    """The app's files: hashed ones are kept for ever, all others are asked about each time."""

    def __init__(self, options: GatewayOptions) -> None:
        super().__init__(directory=options.app_dir, html=True, check_dir=False)

    async def check_config(self) -> None:
        """The folder may come later: `make app` beside a gateway that runs."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or the page that says how to have it built."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code == 404 and path in (".", "index.html"):
                return HTMLResponse(NO_APP_PAGE, 200, {"cache-control": NO_STORE_PAGE})
            raise
        return response

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file with the headers that say how long it may be kept."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        name = scope["path"].lstrip("/")
        response.headers["cache-control"] = FOR_EVER if name.startswith(HASHED_DIR) else ASK_FIRST
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response


NO_STORE_PAGE = "no-store"  # the next look may find the app there


def app_files(options: GatewayOptions) -> ASGIApp:
    """Serves the app, compressed for those who can read that."""
    return GZipMiddleware(AppFiles(options), minimum_size=GZIP_BYTES_MIN)


def about(options: GatewayOptions, version: str) -> dict[str, Any]:
    """What the app asks first. No secret is in it: anybody may read it."""
    hint = ""
    if not options.web_broker:
        hint = (
            "The app speaks to the broker over WebSockets, and no such address is known here. Install mosquitto "
            "(Debian: apt install mosquitto) and start the mesh anew, or name the address: moamesh gateway "
            "--web-broker wss://HOST:8885. A pairing link brings its own."
        )
    return {
        "moamesh": version,
        "mesh": options.mesh,
        "device": options.device_id,
        "web_broker": options.web_broker,
        "hint": hint,
    }


def docs_page(schema: dict[str, Any], base: str, *, key_needed: bool) -> str:
    """The API in plain HTML, made of its OpenAPI description: no script, nothing from elsewhere."""
    key = " -H 'Authorization: Bearer YOUR_KEY'" if key_needed else ""
    example = html.escape(_EXAMPLE.format(base=base, key=key))
    rows = "".join(
        f"<tr><td><code>{method.upper()} {html.escape(path)}</code></td>"
        f"<td>{html.escape(said.get('summary', ''))}</td></tr>"
        for path, methods in schema["paths"].items()
        for method, said in methods.items()
    )
    kinds = schema.get("components", {}).get("schemas", {})
    tables = "".join(_table(name, kinds[name]) for name in ("ChatCompletionRequest", "Moamesh") if name in kinds)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>moamesh API</title>'
        '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/docs/style.css"></head><body>'
        f"<h1>moamesh API {html.escape(schema['info']['version'])}</h1><p>{html.escape(schema['info']['description'])} "
        'The same for programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"<pre>{example}</pre><h2>Paths</h2><table>{rows}</table>{tables}</body></html>"
    )


def _table(name: str, kind: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(field)}</code></td><td>{html.escape(_type(said))}</td>"
        f"<td>{html.escape(said.get('description', ''))}</td></tr>"
        for field, said in kind.get("properties", {}).items()
    )
    return f"<h2>{html.escape(name)}</h2><p>{html.escape(kind.get('description', ''))}</p><table>{rows}</table>"


def _type(said: dict[str, Any]) -> str:
    kinds = said.get("anyOf", [said])
    names = [str(kind.get("type") or kind.get("$ref", "").rpartition("/")[2]) for kind in kinds]
    return " or ".join(name for name in names if name and name != "null")
