"""InfluxDB line protocol, the part of it that numbers need: `measurement,tag=value field=1i,other=0.5 timestamp`.

Every field has one type for ever: an integer ends in `i`, a float has a point, so that no database settles on another
type from the first value that it happens to see.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME_SPECIAL = re.compile(r"([, ])")
_TAG_SPECIAL = re.compile(r"([,= ])")
_UNESCAPE = re.compile(r"\\([,= ])")
# a backslash is only an escape before a comma, an equals sign or a space; everywhere else it stands for itself
_SECTIONS = re.compile(r"(?<!\\) ")
_COMMAS = re.compile(r"(?<!\\),")
_EQUALS = re.compile(r"(?<!\\)=")
_INTEGER = re.compile(r"-?\d+i")
_FLOAT = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_TIMESTAMP = re.compile(r"-?\d+")


@final
@dataclass(frozen=True, slots=True)
class Point:
    """One measurement at one time. `time_ns` is wall-clock nanoseconds since 1970."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, int | float]
    time_ns: int


def encode(point: Point) -> str:
    """Returns the point as one line without its newline, or "" if no field is left.

    What the format cannot say is left out: numbers that are not finite, and tags without text. Control characters in
    names and tags, and a backslash that would swallow the separator after it, become `_`.
    """
    fields = ",".join(
        f"{_escape(name, _TAG_SPECIAL)}={_number(value)}"
        for name, value in point.fields.items()
        if math.isfinite(value)
    )
    if not fields:
        return ""
    # sorted tags are what databases ask for: they index them in this order
    tags = "".join(
        f",{_escape(name, _TAG_SPECIAL)}={_escape(value, _TAG_SPECIAL)}"
        for name, value in sorted(point.tags.items())
        if value
    )
    return f"{_escape(point.measurement, _NAME_SPECIAL)}{tags} {fields} {point.time_ns}"


def decode(line: str) -> Point:
    """Returns the point that a line says.

    Raises:
        ValueError: the line is not of the form that `encode` writes.
    """
    sections = _SECTIONS.split(line)
    if len(sections) != 3 or not _TIMESTAMP.fullmatch(sections[2]):
        raise ValueError("not `measurement,tags fields timestamp`")
    measurement, *tags = _COMMAS.split(sections[0])
    if not measurement:
        raise ValueError("no measurement")
    return Point(
        measurement=_UNESCAPE.sub(r"\1", measurement),
        tags=dict(_pair(tag) for tag in tags),
        fields={name: _parse_number(value) for name, value in map(_pair, _COMMAS.split(sections[1]))},
        time_ns=int(sections[2]),
    )


def _escape(text: str, special: re.Pattern[str]) -> str:
    text = _CONTROL.sub("_", text)
    if text.endswith("\\"):
        text = text[:-1] + "_"
    return special.sub(r"\\\1", text)


def _number(value: int | float) -> str:
    if isinstance(value, int):
        return f"{int(value)}i"
    text = repr(float(value))
    # 1e+22 is a float to every reader, but our promise is a point in each
    return text if "." in text else text.replace("e", ".0e")


def _pair(text: str) -> tuple[str, str]:
    parts = _EQUALS.split(text)
    if len(parts) != 2 or not parts[0] or not parts[1]:
        raise ValueError(f"not name=value: {text!r}")
    return _UNESCAPE.sub(r"\1", parts[0]), _UNESCAPE.sub(r"\1", parts[1])


def _parse_number(text: str) -> int | float:
    if _INTEGER.fullmatch(text):
        return int(text[:-1])
    if _FLOAT.fullmatch(text):
        return float(text)
    raise ValueError(f"not a number: {text!r}")
