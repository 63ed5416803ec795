"""From the core's records to points: which number is a tag, which a field, and of what type.

The fields are read off the records' own annotations, so that a number added to a record is measured without a second
list to keep. An id of a request or prompt is never a tag: each would be a series of its own in the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TypeAlias, get_type_hints

from edge_agent.core.effects import RecordRequest, RecordSession
from edge_agent.core.messages import DeviceStatus
from edge_agent.wire.figures import told
from edge_agent.wire.line_protocol import Point

Record: TypeAlias = DeviceStatus | RecordRequest | RecordSession


def _numbers_of(record_type: type[Record]) -> dict[str, type[int] | type[float]]:
    """The numeric fields of a record with their type; a flag counts as 0 or 1."""
    hints = get_type_hints(record_type)
    types: dict[type, type[int] | type[float]] = {bool: int, int: int, float: float}
    return {field.name: types[hints[field.name]] for field in fields(record_type) if hints[field.name] in types}


_NUMBERS = {record_type: _numbers_of(record_type) for record_type in (DeviceStatus, RecordRequest, RecordSession)}

FIELDS: Mapping[str, Mapping[str, type[int] | type[float]]] = {
    "agent_queue": _NUMBERS[DeviceStatus],
    "agent_request": _NUMBERS[RecordRequest],
    "agent_session": _NUMBERS[RecordSession],
}
"""The fields of each measurement with their type, for those that read points back out of a database."""

TAGS: Mapping[str, tuple[str, ...]] = {
    "agent_queue": ("mesh", "device_id", "model"),
    "agent_request": ("mesh", "device_id", "model", "role", "outcome"),
    "agent_session": ("mesh", "device_id", "outcome"),
}
"""The tags of each measurement; those without text are left out of its points."""


def to_point(record: Record, *, mesh: str, device_id: str, model: str, time_ns: int) -> Point:
    """Returns a record as a point of its measurement. `model` is the model this device runs."""
    tags = {"mesh": mesh, "device_id": device_id}
    if isinstance(record, DeviceStatus):
        measurement = "agent_queue"
        tags["model"] = record.model
    elif isinstance(record, RecordRequest):
        measurement = "agent_request"
        tags |= {"model": model, "role": str(record.role), "outcome": str(record.outcome)}
    else:
        measurement = "agent_session"
        tags["outcome"] = record.outcome
    values = ((name, kind, getattr(record, name)) for name, kind in _NUMBERS[type(record)].items())
    numbers = {name: told(value) if kind is float else int(value) for name, kind, value in values}
    return Point(measurement, tags, numbers, time_ns)
