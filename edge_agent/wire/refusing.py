"""How to say no at the first reason.

pydantic goes on to the end and keeps a line for every wrong item of a list, every unknown name and every missing one,
each with a copy of what it was found in. Only the first line is ever told, and a body of 256 KiB may hold 80,000 empty
objects (720,000 lines, of seconds and hundreds of megabytes), 25,000 unknown names (40 megabytes), or an unknown list
of empty ones beside which 27 fields are missing (128 megabytes). So lists are given up at their first wrong item, and
names are looked at before pydantic sees any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeAlias, Union, final, get_args, get_origin, get_type_hints

_Place: TypeAlias = tuple[Any, ...]
"""Where something stands: (the place around it, its name or number); () is the body itself."""
_Placed: TypeAlias = tuple[_Place, dict[str, Any]]


class WrongNameError(ValueError):
    """An object names what its class does not, or leaves out what it must: where, and which of both."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}")
        self.place = place
        self.what = what


@final
@dataclass(frozen=True, slots=True)
class _Names:
    """What an object of a class may and must name, and which of it are objects again, so many lists deep."""

    known: frozenset[str]
    required: tuple[str, ...]
    nested: tuple[tuple[str, int, type], ...]


def quick_to_refuse(schema: Any) -> Any:
    """Returns a pydantic core schema as it is, but that each tuple in it is given up at its first wrong item."""
    if isinstance(schema, dict):
        copy = {name: quick_to_refuse(value) for name, value in schema.items()}
        return {**copy, "fail_fast": True} if schema.get("type") == "tuple" else copy
    if isinstance(schema, list | tuple):
        return type(schema)(quick_to_refuse(one) for one in schema)
    return schema


def check_names(kind: type, body: dict[str, Any]) -> None:
    """Looks at the names in a body of this class and in the objects within it. Their values are pydantic's to look at.

    Raises:
        WrongNameError: one is not known, or missing.
    """
    _check(kind, [((), body)])


def _check(kind: type, objects: list[_Placed]) -> None:
    """Checks all objects of one class together: a body may hold thousands, and a call for each would cost more."""
    names = _names_of(kind)
    known, required = names.known, names.required
    for place, one in objects:
        for name in one:
            if name not in known:
                raise WrongNameError(_path((place, name)), "no such field")
        for name in required:
            if name not in one:
                raise WrongNameError(_path((place, name)), "Field required")
    for name, depth, inner in names.nested:
        found: list[tuple[_Place, Any]] = [((place, name), one[name]) for place, one in objects if name in one]
        for _ in range(depth):
            found = [
                ((place, index), item)
                for place, items in found
                if items.__class__ is list
                for index, item in enumerate(items)
            ]
        below = [(place, item) for place, item in found if item.__class__ is dict]
        if below:
            _check(inner, below)


@cache
def _names_of(kind: type) -> _Names:
    known = fields(kind)
    hints = get_type_hints(kind)
    required = (one.name for one in known if one.default is MISSING and one.default_factory is MISSING)
    nested = ((one.name, depth, inner) for one in known for depth, inner in _classes_in(hints[one.name]))
    return _Names(frozenset(one.name for one in known), tuple(required), tuple(nested))


def _classes_in(hint: Any, depth: int = 0) -> Iterator[tuple[int, type]]:
    """Yields the classes in an annotation, each with the number of lists around it."""
    if isinstance(hint, type) and is_dataclass(hint):
        yield depth, hint
    elif get_origin(hint) in (Union, UnionType):
        for one in get_args(hint):
            yield from _classes_in(one, depth)
    elif get_origin(hint) is tuple:
        for one in get_args(hint)[:1]:
            yield from _classes_in(one, depth + 1)


def _path(place: _Place) -> str:
    """Returns a place as names and numbers with dots between."""
    parts: list[str] = []
    while place:
        place, last = place
        parts.append(str(last))
    return ".".join(reversed(parts))
