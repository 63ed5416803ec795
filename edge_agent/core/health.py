"""What is wrong with this device, part by part: told in its status, and acted on where prompts depend on it.

A part that is well again takes its word back. At most one problem is kept for each part, so the list is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

DETAIL_LENGTH_MAX = 200  # characters: one line of a table or a phone


class Part(StrEnum):
    """What can be well or not."""

    ENGINE = "engine"
    JOURNAL = "journal"
    RESERVE = "reserve"
    """The journal's room for ends on a full disk: without it the journal is as durable as it was, until then."""
    TELEMETRY = "telemetry"
    BROKER = "broker"
    GATEWAY = "gateway"
    STEWARD = "steward"
    DISCOVERY = "discovery"
    IDENTITY = "identity"


@final
@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a part, in one line that says the way out where there is one."""

    part: Part
    detail: str


class Health:
    """The problems that stand now."""

    __slots__ = ("_details",)

    def __init__(self) -> None:
        self._details: dict[Part, str] = {}

    @property
    def able(self) -> bool:
        """Whether this device can infer."""
        return Part.ENGINE not in self._details

    @property
    def durable(self) -> bool:
        """Whether what this device accepts would survive its restart."""
        return Part.JOURNAL not in self._details

    def of(self, part: Part) -> str:
        """Returns what is wrong with `part`, "" if nothing is known to be."""
        return self._details.get(part, "")

    def note(self, part: Part, detail: str) -> None:
        """Takes news of a part; an empty `detail` says that it is well."""
        line = " ".join(detail.split())
        if not line:
            self._details.pop(part, None)
        elif len(line) <= DETAIL_LENGTH_MAX:
            self._details[part] = line
        else:
            self._details[part] = line[: DETAIL_LENGTH_MAX - 3] + "..."

    def problems(self) -> tuple[Problem, ...]:
        """Returns every problem, in the order of the parts."""
        return tuple(Problem(part, self._details[part]) for part in Part if part in self._details)
