"""Writes what the app knows of the wire from the code: app/src/wire/messages.ts (types) and app/src/wire/shapes.ts
(what the app's codec checks at run time, and the bounds).

python scripts/app_types.py            writes
python scripts/app_types.py --check    exits with 1 if the files are not what the code says
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter

from edge_agent.core import messages as m
from edge_agent.wire import checks, codec, topics

FOLDER = Path(__file__).resolve().parent.parent / "app" / "src" / "wire"
HEAD = "// Made by scripts/app_types.py from the device's own message classes: change those, then run it again.\n"

SENT: tuple[type, ...] = get_args(m.UserMessage)
RECEIVED: tuple[type, ...] = (*get_args(m.DeviceToUser), *get_args(m.Broadcast))
CHANNELS = (topics.Channel.PROMPTS, topics.Channel.ANSWERS, topics.Channel.PRESENCE, topics.Channel.STATUS)

Schema = Mapping[str, Any]


def schemas(kinds: tuple[type, ...] = (*SENT, *RECEIVED)) -> dict[str, Schema]:
    """Returns the JSON schema of every class and enum of these messages by name, inner ones first."""
    found: dict[str, Schema] = {}
    for kind in kinds:
        schema = TypeAdapter(kind).json_schema(mode="validation")
        found |= schema.pop("$defs", {})
        found[kind.__name__] = schema
    return found


def _name(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]


# --- types --------------------------------------------------------------------------------------------------------


def messages_ts() -> str:
    """Returns the types as TypeScript."""
    parts = [HEAD, "/** Messages and their parts, as the wire has them. Durations are seconds. */", ""]
    for name, schema in schemas().items():
        parts += [_comment(schema.get("description", "")), *_declaration(name, schema), ""]
    for union, kinds in (("DeviceToUser", get_args(m.DeviceToUser)), ("Broadcast", get_args(m.Broadcast))):
        members = " | ".join(f'({{ type: "{codec.TYPE_NAMES[kind]}" }} & {kind.__name__})' for kind in kinds)
        parts += [f"export type {union} = {members};", ""]
    return "\n".join(parts)


def _comment(text: str) -> str:
    lines = text.replace("*/", "* /").splitlines()
    if len(lines) == 1:
        return f"/** {lines[0]} */"
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in lines), " */"])


def _declaration(name: str, schema: Schema) -> list[str]:
    if "enum" in schema:
        return [f"export type {name} = {' | '.join(json.dumps(value) for value in schema['enum'])};"]
    # All are there after decoding: what a device may leave out has the class's default by then.
    fields = [f"  {field}: {_type(inner)};" for field, inner in schema.get("properties", {}).items()]
    return [f"export interface {name} {{", *fields, "}"]


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return _name(schema["$ref"])
    if "anyOf" in schema:
        return " | ".join(_type(choice) for choice in schema["anyOf"])
    if "prefixItems" in schema:
        return f"[{', '.join(_type(item) for item in schema['prefixItems'])}]"
    if schema["type"] == "array":
        inner = _type(schema["items"])
        return f"{inner}[]" if inner.isidentifier() or inner.endswith("]") else f"({inner})[]"
    return {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}[
        schema["type"]
    ]


# --- what is checked at run time --------------------------------------------------------------------------------------


def shapes_ts() -> str:
    """Returns bounds, topics and the shape of every received message as TypeScript."""
    bounds = {
        "SCHEMA_VERSION": codec.SCHEMA_VERSION,
        "BODY_BYTES_MAX": codec.BODY_BYTES_MAX,
        "MESSAGE_ID_LENGTH_MAX": checks.MESSAGE_ID_LENGTH_MAX,
        "SHORT_TEXT_LENGTH_MAX": checks.SHORT_TEXT_LENGTH_MAX,
        "COUNT_MAX": checks.COUNT_MAX,
        "LAYERS_MAX": m.LAYERS_MAX,
        "FANOUT_MAX": m.FANOUT_MAX,
        "DEADLINE_MAX_S": m.DEADLINE_MAX_S,
        "OUTPUT_TOKENS_MAX": m.OUTPUT_TOKENS_MAX,
        "TOPIC_ROOT": topics.ROOT,
        "TOPIC_ID_LENGTH_MAX": topics.ID_LENGTH_MAX,
        "USER_LOGIN": topics.USER_LOGIN,
    }
    lines = [HEAD, *(f"export const {name} = {_literal(value)};" for name, value in bounds.items()), ""]
    lines += _channels()
    lines += [
        "",
        _SHAPE_TYPE,
        "",
        "/** Every class that is received, by name. */",
        "export const SHAPES: Record<string, Fields> = {",
    ]
    for name, schema in schemas(RECEIVED).items():
        if "enum" not in schema:
            lines += [f"  {name}: {{", *_fields(schema), "  },"]
    lines += ["};", "", "/** The class of each `type` on the wire. */", "export const CLASS_OF_TYPE = {"]
    lines += [f'  "{codec.TYPE_NAMES[kind]}": "{kind.__name__}",' for kind in RECEIVED]
    return "\n".join([*lines, "} as const;", ""])


_SHAPE_TYPE = """/** How a value must look. `default` stands in for a field that is absent. */
export type Shape =
  | "string"
  | "integer"
  | "number"
  | "boolean"
  | { nullable: Shape }
  | { list: Shape }
  | { tuple: Shape[] }
  | { oneOf: string[] }
  | { record: string };
export type Fields = Record<string, { shape: Shape; default?: unknown }>;"""


def _channels() -> list[str]:
    lines = ["/** The channels a user knows: how they are read or written, what ends their topics, what they carry. */"]
    lines.append("export const CHANNELS = {")
    for channel in CHANNELS:
        row = topics.TABLE[channel]
        types = json.dumps([codec.TYPE_NAMES[kind] for kind in row.types])
        levels = json.dumps([level.name.lower() for level in row.levels])
        lines.append(f"  {channel}: {{ qos: {row.qos}, levels: {levels}, types: {types} }},")
    return [*lines, "} as const;"]


def _fields(schema: Schema) -> list[str]:
    lines = []
    for field, inner in schema.get("properties", {}).items():
        default = f", default: {json.dumps(inner['default'])}" if "default" in inner else ""
        lines.append(f"    {field}: {{ shape: {_shape(inner)}{default} }},")
    return lines


def _shape(schema: Schema) -> str:
    if "$ref" in schema:
        name = _name(schema["$ref"])
        values = schemas()[name].get("enum")
        return f"{{ oneOf: {json.dumps(values)} }}" if values else f'{{ record: "{name}" }}'
    if "anyOf" in schema:
        (inner,) = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
        return f"{{ nullable: {_shape(inner)} }}"
    if "prefixItems" in schema:
        return f"{{ tuple: [{', '.join(_shape(item) for item in schema['prefixItems'])}] }}"
    if schema["type"] == "array":
        return f"{{ list: {_shape(schema['items'])} }}"
    return json.dumps(schema["type"])


def _literal(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    stale = []
    for name, text in (("messages.ts", messages_ts()), ("shapes.ts", shapes_ts())):
        path = FOLDER / name
        if not path.exists() or path.read_text() != text:
            stale.append(str(path))
            if arguments != ["--check"]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    if stale and arguments == ["--check"]:
        print(f"not what the code says: {', '.join(stale)}; run: python scripts/app_types.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
