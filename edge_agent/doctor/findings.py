"""What comes of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final


class Finding(StrEnum):
    """What came of a check. `note`: works without, but better with."""

    OK = "ok"
    NOTE = "note"
    MISSING = "missing"


@final
@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `mend` is a command that puts it right."""

    name: str
    finding: Finding
    detail: str
    mend: str = ""

    @property
    def missing(self) -> bool:
        """Whether something needed is not there."""
        return self.finding is Finding.MISSING
