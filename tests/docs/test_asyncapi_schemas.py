"""The document's schemas and the codec refuse the same messages, at every edge."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from edge_agent.core.errors import ProtocolError
from edge_agent.wire import codec
from edge_agent.wire.topics import TABLE, Channel
from tests.docs.asyncapi_document import document, problems, validator

_CORE = [channel for channel, row in TABLE.items() if row.types]


def samples() -> list[Any]:
    return [
        pytest.param(channel, example["payload"], id=f"{name}-{number}")
        for channel in _CORE
        for name in document()["channels"][channel]["messages"]
        for number, example in enumerate(document()["components"]["messages"][name]["examples"])
    ]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a payload that holds something."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def others(value: Any) -> list[Any]:
    """What may stand in the place of a value: another type, and values beside the edges of bounds."""
    if isinstance(value, bool):
        return ["true", 1, None]
    if isinstance(value, int | float):
        return [-1, 0, 0.5, 1, 5, 6, 8, 9, 16, 17, 18, 8192, 8193, 86_400, 86_401, 2**53, 2**53 + 1, "1", None, True]
    if isinstance(value, str):
        return ["", "a", "UPPER", "a/b", "a" * 64, "a" * 65, "a" * 128, "a" * 129, "a" * 256, "a" * 257, 7, None]
    if isinstance(value, list):
        return [[], [*value, *value], value[:1] * 16, value[:1] * 17, value[:1] * 18, value[:1] * 257, "text", None]
    if value is None:
        return [-1, 0, 1, 8, 9, 16, 17, 18, 86_401, "", "text", True, [], {}]
    return [{}, {**value, "unknown": 1}, [], None]


def changed(payload: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The payload with one thing changed or missing, and what that is."""
    yield "unknown field", {**payload, "unknown": 1}
    for path in list(places(payload)):
        for other in [*others(_at(payload, path)), KeyError]:
            one = copy.deepcopy(payload)
            inner = _at(one, path[:-1])
            if other is not KeyError:
                inner[path[-1]] = other
            elif isinstance(inner, dict):
                del inner[path[-1]]
            else:
                continue
            yield f"{path} = {str(other)[:40]}", one


def _at(payload: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        payload = payload[key]
    return payload


def codec_takes(channel: Channel, payload: dict[str, Any]) -> bool:
    body = json.dumps(payload).encode()
    try:
        if channel is Channel.PROMPTS:
            codec.decode_prompt(body)
        else:
            codec.decode(body, TABLE[channel].types)
    except ProtocolError:
        return False
    return True


@pytest.mark.parametrize(("channel", "payload"), samples())
def test_what_the_codec_refuses_the_schema_refuses_and_the_other_way_round(channel: Channel, payload: Any) -> None:
    tried = 0
    differ = []
    for what, one in changed(payload):
        tried += 1
        takes = codec_takes(channel, one)
        # An answer is not lost over a number in its provenance: there the document promises more than is checked.
        promised = takes and what.startswith("('provenance',")
        if takes != (not problems(channel, one)) and not promised:
            differ.append(f"{what}: codec {'takes' if takes else 'refuses'} it")
    assert tried > 20
    assert differ == []


def test_what_a_schema_refers_to_is_there() -> None:
    for name in document()["components"]["schemas"]:
        validator(name).check_schema(document()["components"]["schemas"][name])
        list(validator(name).iter_errors({}))  # would raise over a reference to nothing
