"""What the parts around the core say of themselves, for whichever core runs now.

A device that moves starts over with a new core in the same process; its broker, its gateway and its steward go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from edge_agent.core.health import Part
from edge_agent.tasks import HealthSources, ProblemListener

Report = Callable[[Part, str], None]


@final
class HealthReports:
    """Keeps the last word of each part, and hands it on. Use it on the device's event loop."""

    def __init__(self) -> None:
        self._details: dict[Part, str] = {}
        self._sources: dict[Part, HealthSources] = {}
        self._report: Report | None = None

    def teller(self, part: Part) -> ProblemListener:
        """Returns what one more source of a part's health is to speak to; it is well when all of its sources are."""
        if part not in self._sources:
            self._sources[part] = HealthSources(lambda detail: self._take(part, detail))
        return self._sources[part].source()

    def connect(self, report: Report) -> None:
        """From now on this core is told, first of all what is wrong already."""
        self._report = report
        for part, detail in self._details.items():
            report(part, detail)

    def disconnect(self) -> None:
        """Nobody is told until the next `connect`."""
        self._report = None

    def _take(self, part: Part, detail: str) -> None:
        if detail:
            self._details[part] = detail
        else:
            self._details.pop(part, None)
        if self._report is not None:
            self._report(part, detail)
