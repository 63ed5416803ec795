"""How to say no at the first reason.

pydantic goes on to the end of a list and keeps a line for every wrong item of it. Only the first line is ever told, and
a body of 256 KiB may hold a list of 80,000 empty objects: 720,000 lines, of seconds and hundreds of megabytes. An
object of 25,000 members that nobody knows takes 40 megabytes.
"""

from __future__ import annotations

from typing import Any, Final

MEMBERS_MAX: Final = 64  # of one object: more than twice what any class of ours has fields
OBJECTS_MAX: Final = 8_192  # that are looked at, the outer ones first: with these no room is left for a large one
_NESTED = (dict, list)


def quick_to_refuse(schema: Any) -> Any:
    """Returns a pydantic core schema as it is, but that each tuple in it is given up at its first wrong item."""
    if isinstance(schema, dict):
        copy = {name: quick_to_refuse(value) for name, value in schema.items()}
        return {**copy, "fail_fast": True} if schema.get("type") == "tuple" else copy
    if isinstance(schema, list | tuple):
        return type(schema)(quick_to_refuse(one) for one in schema)
    return schema


def check_members(body: dict[str, Any]) -> None:
    """Refuses an object of more members than a message has fields, before pydantic keeps a line for each of them.

    Raises:
        ValueError: there is such an object, within the body or itself.
    """
    looked_at = 0
    level: list[Any] = [body]
    while level and looked_at < OBJECTS_MAX:
        level = level[: OBJECTS_MAX - looked_at]
        looked_at += len(level)
        objects = [one for one in level if one.__class__ is dict]
        for one in objects:
            if len(one) > MEMBERS_MAX:
                raise ValueError(f"an object with {len(one)} members; no message has more than {MEMBERS_MAX} in one")
        level = [
            *[one[name] for one in objects for name in one if one[name].__class__ in _NESTED],
            *[
                inner
                for one in level
                if one.__class__ is list
                for inner in one[:OBJECTS_MAX]
                if inner.__class__ in _NESTED
            ],
        ]
