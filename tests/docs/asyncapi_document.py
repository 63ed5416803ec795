"""docs/asyncapi.yaml, read once, and what it says of one message."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml
from jsonschema import Draft7Validator

from edge_agent.wire.topics import Channel
from scripts.docs.asyncapi import PAGE


@cache
def document() -> dict[str, Any]:
    """The committed document."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where it is there: ten times as fast
    read: dict[str, Any] = yaml.load(PAGE.read_text(encoding="utf-8"), loader)
    return read


@cache
def validator(name: str) -> Draft7Validator:
    """Judges payloads of the message `name`; AsyncAPI's schemas are JSON Schema draft 07."""
    return Draft7Validator({"$ref": f"#/components/schemas/{name}", "components": document()["components"]})


def problems(channel: Channel, payload: Any) -> list[str]:
    """What the document has against this payload on this channel; empty if nothing."""
    name = payload.get("type")
    if name not in document()["channels"][channel]["messages"]:
        return [f"{channel} carries no {name!r}"]
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in validator(name).iter_errors(payload)
    ]


def operations(channel: Channel) -> list[dict[str, Any]]:
    """The operations of a channel."""
    return [one for one in document()["operations"].values() if one["channel"]["$ref"] == f"#/channels/{channel}"]
