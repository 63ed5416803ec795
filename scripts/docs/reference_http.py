"""The gateway's HTTP API as Markdown, out of its own OpenAPI document."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from edge_agent.gateway.app import make_app
from edge_agent.gateway.inquiry import Inquiries
from edge_agent.gateway.keys import KeyRing
from edge_agent.gateway.mesh import MeshLink
from edge_agent.gateway.options import GatewayOptions
from scripts.docs.schema_words import fields

_METRIC = re.compile(r"^# HELP (\S+) (.+)\n# TYPE \S+ (\w+)$", re.MULTILINE)
_HEAD = """\
# HTTP API

What `moamesh gateway` serves: the form of OpenAI's chat completions, so that any client for it can ask a mesh. How to
run it, and what a client in Python looks like: [GATEWAY.md](../GATEWAY.md). A running gateway shows its own page under
`/docs` and its OpenAPI document under `/openapi.json`; this page is made of the same.
"""


def render() -> str:
    """Returns the page."""
    document, metrics = asyncio.run(_from_gateway())
    parts = [_HEAD]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += _operation(f"{method.upper()} {path}", operation)
    parts += _metrics(metrics)
    parts.append("## Parts\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += [f"### {name}\n", _text(schema.get("description", "")) + "\n", *fields(schema)]
    return "\n".join(parts) + "\n"


async def _from_gateway() -> tuple[dict[str, Any], str]:
    """The OpenAPI document and the metrics as the gateway serves them; neither a port nor a broker is needed for it."""
    with tempfile.TemporaryDirectory() as folder:
        keys_file = Path(folder) / "api-keys.json"
        options = GatewayOptions("mqtt://127.0.0.1:1883", "home", keys_file)
        link = MeshLink(options)
        app = make_app(options, KeyRing(keys_file), link, Inquiries(link, options))
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            document = (await client.get("/openapi.json")).raise_for_status().json()
            metrics = (await client.get("/metrics")).raise_for_status().text
    return document, metrics


def _metrics(text: str) -> Iterator[str]:
    """What /metrics offers, out of its own HELP and TYPE lines."""
    yield "## Metrics\n"
    yield "What `GET /metrics` has for Prometheus. Figures of devices are those that each device told last.\n"
    yield "| metric | type | meaning |"
    yield "|---|---|---|"
    for name, meaning, kind in _METRIC.findall(text):
        if not name.endswith("_created"):
            yield f"| `{name}` | {kind} | {meaning} |"
    yield ""


def _operation(title: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"## {title}\n"
    yield _text(operation.get("description") or operation.get("summary", "")) + "\n"
    for one in operation.get("parameters", ()):
        yield f"- `{one['name']}` in the {one['in']}{'' if one.get('required') else ', optional'}"
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in body:
        name = body["$ref"].rpartition("/")[2]
        yield f"\nBody: [{name}](#{name.lower()}).\n"
    yield from ("", "| status | meaning |", "|---|---|")
    for status, response in operation.get("responses", {}).items():
        yield f"| {status} | {_text(response.get('description', ''))} |"
    yield ""


def _text(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:]
