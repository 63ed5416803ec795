"""How to say no at the first reason.

pydantic goes on to the end of a list and keeps a line for every wrong item of it. Only the first line is ever told, and
a body of 256 KiB may hold a list of 80,000 empty objects: 720,000 lines, of seconds and hundreds of megabytes.
"""

from __future__ import annotations

from typing import Any


def quick_to_refuse(schema: Any) -> Any:
    """Returns a pydantic core schema as it is, but that each tuple in it is given up at its first wrong item."""
    if isinstance(schema, dict):
        copy = {name: quick_to_refuse(value) for name, value in schema.items()}
        return {**copy, "fail_fast": True} if schema.get("type") == "tuple" else copy
    if isinstance(schema, list | tuple):
        return type(schema)(quick_to_refuse(one) for one in schema)
    return schema
