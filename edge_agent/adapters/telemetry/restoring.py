"""From what a database gives back to the point that was written: types and tags; and the choice of a mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.core.errors import SettingsError
from edge_agent.wire.line_protocol import Point
from edge_agent.wire.measurements import FIELDS, TAGS


def restore(measurement: str, values: Mapping[str, Any], time_ns: int) -> Point:
    """Returns the point of these columns, with its numbers of the types they were written with.

    JSON has one kind of number, so a whole float comes back as an integer and an integer from some stores as a float:
    the measurement's own fields say which it was. Columns that the measurement does not have are left out.

    Raises:
        ValueError: a field is not a number of its type.
    """
    tags = {name: str(values[name]) for name in TAGS[measurement] if values.get(name)}
    fields: dict[str, int | float] = {}
    for name, kind in FIELDS[measurement].items():
        value = values.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or (kind is int and value != int(value)):
            raise ValueError(f"{measurement} {name} is {value!r}")
        fields[name] = int(value) if kind is int else float(value)
    return Point(measurement, tags, fields, time_ns)


def choose_mesh(meshes: Sequence[str], wanted: str | None, where: str) -> str:
    """Returns the mesh to report of those in a database.

    Raises:
        SettingsError: there is none, `wanted` is not there, or there are several and none was named.
    """
    there = sorted(meshes)
    if not there:
        raise SettingsError(f"no telemetry of a mesh in {where}")
    if wanted is not None:
        if wanted not in there:
            raise SettingsError(f"no mesh {wanted} in {where}; there: {', '.join(there)}")
        return wanted
    if len(there) > 1:
        raise SettingsError(f"several meshes in {where} ({', '.join(there)}): choose one with --mesh")
    return there[0]
