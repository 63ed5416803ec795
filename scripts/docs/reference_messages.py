"""Topics and messages as Markdown, out of the AsyncAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from scripts.docs.asyncapi import make_document
from scripts.docs.schema_words import fields

_HEAD = """\
# Topics and messages

Everything that goes over MQTT: what a program in any language needs to take part. The same for programs:
[asyncapi.yaml](../asyncapi.yaml), an AsyncAPI 3.0 document, which generators turn into clients. The rules of the
conversation, with its states, are in [PROTOCOL.md](../PROTOCOL.md).

Bodies are one flat JSON object in UTF-8, read strictly; durations are seconds. QoS and *retained* are
what the sender uses.
"""


def render() -> str:
    """Returns the page."""
    document = make_document()
    parts = [_HEAD]
    for name, channel in document["channels"].items():
        parts += _channel(name, channel, document)
    parts.append("\n## Parts of messages\n")
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        if name[0].isupper() or name == "job":
            parts += [f"### {name}\n", schema.get("description", ""), "", *fields(schema)]
    return "\n".join(parts) + "\n"


def _channel(name: str, channel: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    here = [one for one in document["operations"].values() if one["channel"]["$ref"].endswith(f"/{name}")]
    binding = {key: value for one in here for key, value in one["bindings"]["mqtt"].items()}
    yield f"\n## {name}\n"
    yield f"`{channel['address']}` · QoS {binding['qos']}{' · retained' if binding.get('retain') else ''}\n"
    yield channel["description"] + "\n"
    for message in channel["messages"]:
        yield from _message(message, document["components"])


def _message(name: str, components: dict[str, Any]) -> Iterator[str]:
    message, schema = components["messages"][name], components["schemas"][name]
    yield f"### {name}\n"
    yield schema["description"] + "\n"
    yield from fields(schema)
    for example in message["examples"]:
        summary = example.get("summary", "")
        yield f'??? example "Example{f", {summary}" if summary else ""}"\n'
        yield "    ```json"
        yield from (f"    {line}" for line in json.dumps(example["payload"], indent=2, ensure_ascii=False).splitlines())
        yield "    ```\n"
