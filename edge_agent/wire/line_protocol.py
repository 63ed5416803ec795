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

_NAME_SPECIAL = re.compile(r"([, ])")
_TAG_SPECIAL = re.compile(r"([,= ])")
_UNESCAPE = re.compile(r"\\([,= ])")
# a backslash is only an escape before a comma, an equals sign or a space; we write it nowhere else
_SECTIONS = re.compile(r"(?<!\\) ")
_COMMAS = re.compile(r"(?<!\\),")
_EQUALS = re.compile(r"(?<!\\)=")
_INTEGER = re.compile(r"-?\d+i")
_FLOAT = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_TIMESTAMP = re.compile(r"-?\d+")

# Line breaks end a point, other controls end up in terminals, and half a surrogate pair is no text. A backslash is read
# in three ways: InfluxDB takes it for itself, VictoriaMetrics takes two for one and lets one eat what follows.
_REPLACED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")

# What `encode` writes, as a grammar; tests/adapters/test_telemetry_texts.py holds it against real databases.
# No two of its repetitions can take the same byte, so a damaged line is found out in one pass.
_TEXT = rb"(?:[^\x00-\x1f\x7f ,=\\]|\\[ ,=])+"
_NUMBER = rb"-?(?:\d{1,16}i|\d{1,32}(?:\.\d{1,32})?(?:[eE][+-]?\d{1,3})?)"
_LINE = re.compile(
    rb"(?!#)(?:[^\x00-\x1f\x7f ,\\]|\\[ ,])+"
    rb"(?P<tags>(?:,%(text)s=%(text)s){0,24}) %(text)s=%(number)s(?:,%(text)s=%(number)s)* -?\d{1,19}"
    % {b"text": _TEXT, b"number": _NUMBER}
)

TEXT_BYTES_MAX = 1024
"""Of a name or tag, in UTF-8: InfluxDB takes 64 KiB for all tags of a point together and refuses more, VictoriaMetrics
takes 16 KiB for one and cuts the rest off in silence. A model's name is under 100."""
TAGS_MAX = 24
"""Of one point: VictoriaMetrics keeps 30 labels and drops the others in silence. Ours have five."""
LINE_BYTES_MAX = 64 * 1024
"""Of one point: VictoriaMetrics takes 256 KiB and drops longer ones in silence. Ours have under 4 KiB."""
INTEGER_MAX = 2**53
"""Up to here, and down to its negative, every store gives an integer back exactly: VictoriaMetrics keeps floats."""


@final
@dataclass(frozen=True, slots=True)
class Point:
    """One measurement at one time. `time_ns` is wall-clock nanoseconds since 1970."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, int | float]
    time_ns: int


def tag_text(text: str) -> str:
    """Returns a text as every database, and every file, has it: the same everywhere, so that what they say joins.

    A backslash, a control character, a line or paragraph separator and half a surrogate pair become `_`. What is longer
    than `TEXT_BYTES_MAX` ends there, with `…`. All else stays as it is. Doing it again changes nothing.
    """
    text = _REPLACED.sub("_", text)
    if len(text) * 4 <= TEXT_BYTES_MAX or len(data := text.encode()) <= TEXT_BYTES_MAX:
        return text
    return data[: TEXT_BYTES_MAX - len("…".encode())].decode(errors="ignore") + "…"


def encode(point: Point) -> str:
    """Returns the point as one line without its newline, or "" if no field is left.

    Texts are written as `tag_text` gives them. What the format, or one of the databases, cannot say is left out:
    numbers that are not finite, integers beyond `INTEGER_MAX`, and tags without text.

    Raises:
        ValueError: the point has more than `TAGS_MAX` tags, or a measurement, tag or field without a name.
    """
    if len(point.tags) > TAGS_MAX or not (point.measurement and all(point.tags) and all(point.fields)):
        raise ValueError(f"not a point that every database takes: {point.measurement} with {len(point.tags)} tags")
    fields = ",".join(
        f"{_escape(name, _TAG_SPECIAL)}={_number(value)}" for name, value in point.fields.items() if _can_be_said(value)
    )
    if not fields:
        return ""
    # sorted tags are what databases ask for: they index them in this order
    tags = "".join(
        f",{_escape(name, _TAG_SPECIAL)}={_escape(value, _TAG_SPECIAL)}"
        for name, value in sorted(point.tags.items())
        if value
    )
    measurement = _escape(point.measurement, _NAME_SPECIAL)
    if measurement.startswith("#"):  # would make the line a comment, which every database takes and forgets
        measurement = "_" + measurement[1:]
    return f"{measurement}{tags} {fields} {point.time_ns}"


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


def is_sendable(line: bytes) -> bool:
    """Whether a line, without its newline, is one that every database takes and gives back as it is.

    True for what `encode` writes. What a damaged disk or an older version left in a file may not be: VictoriaMetrics
    would take it with "204", leave it out and tell nobody.
    """
    if len(line) > LINE_BYTES_MAX or not _LINE.fullmatch(line):
        return False
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _escape(text: str, special: re.Pattern[str]) -> str:
    return special.sub(r"\\\1", tag_text(text))


def _can_be_said(value: int | float) -> bool:
    return abs(value) <= INTEGER_MAX if isinstance(value, int) else math.isfinite(value)


def _number(value: int | float) -> str:
    if isinstance(value, int):
        return f"{int(value)}i"
    text = repr(float(value) + 0.0)  # no negative zero: databases differ in whether they keep its sign
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
