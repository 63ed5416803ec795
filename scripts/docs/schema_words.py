"""JSON schemas in the words of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from scripts.docs.schemas import REF


def fields(schema: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of a table with a schema's fields, or of a list of its values."""
    if "const" in schema:
        yield f"`{schema['const']}`, and nothing else.\n"
        return
    if "properties" not in schema:
        yield "One of " + ", ".join(f"`{value}`" for value in schema.get("enum", ())) + ".\n"
        return
    required = schema.get("required", ())
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for name, one in schema["properties"].items():
        optional = "" if name in required else "optional"
        default = f", by default `{json.dumps(one['default'])}`" if "default" in one else ""
        text = one.get("description", "")
        yield f"| `{name}` | {_type(one)} | {optional}{default}{'; ' if optional and text else ''}{text} |"
    yield ""
    alternatives = [_alternative(one) for one in schema.get("allOf", ())]
    if alternatives:
        yield f"Needed too: {', and '.join(alternatives)}.\n"


def _alternative(schema: dict[str, Any]) -> str:
    ways = schema.get("anyOf") or schema.get("oneOf") or []
    return " or ".join(f"`{name}`" for way in ways for name in way.get("required", ()))


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if schema.get("type") == "array":
        items = schema.get("items", {})
        inner = " and ".join(map(_type, items)) if isinstance(items, list) else _type(items)
        return f"list of {inner}{_bounds(schema, 'minItems', 'maxItems', ' of them')}"
    return f"{schema.get('type', 'any')}{_limits(schema)}"


def _limits(schema: dict[str, Any]) -> str:
    if "exclusiveMinimum" in schema:
        most = f", at most {schema['maximum']:g}" if "maximum" in schema else ""
        return f" (above {schema['exclusiveMinimum']:g}{most})"
    if "minimum" in schema or "maximum" in schema:
        return _bounds(schema, "minimum", "maximum")
    if "minLength" in schema or "maxLength" in schema:
        return _bounds(schema, "minLength", "maxLength", " characters")
    if schema.get("pattern") == r"\S":
        return " (not blank)"
    return f" `{schema['pattern']}`" if "pattern" in schema else ""


def _bounds(schema: dict[str, Any], least: str, most: str, unit: str = "") -> str:
    low, high = schema.get(least), schema.get(most)
    if high is not None and high >= 2**52:
        high = None  # "as far as JSON readers count" is no news
    if low is None and high is None:
        return ""
    if high is None:
        return f" ({low:g} or more{unit})"
    return f" (at most {high:g}{unit})" if low is None else f" ({low:g} to {high:g}{unit})"
