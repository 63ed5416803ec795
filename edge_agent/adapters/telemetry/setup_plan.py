"""What is to be set up in a database, and what became of each step of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

from edge_agent.adapters.telemetry.downsampling import MEANS_DAYS, RAW_DAYS
from edge_agent.core.errors import SettingsError

DAYS_MAX = 36_500  # a century; InfluxDB's own bound on a duration is 292 years


@final
class StepResult(StrEnum):
    """What a step came to."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DONE = "done"
    PLANNED = "planned"  # of a dry run: nothing was sent


@final
@dataclass(frozen=True, slots=True)
class Step:
    """One thing to set up.

    what: in words. statement: what is sent for it; more than one line for a Flux task.
    """

    what: str
    statement: str
    result: StepResult = StepResult.PLANNED


@final
@dataclass(frozen=True, slots=True)
class SetupPlan:
    """How long points and five-minute figures are kept; 0 days: for ever.

    backfill: make the figures of all points that are there, too.
    delete_older: agree that points which are there and older than `raw_days` are deleted.
    """

    raw_days: int = RAW_DAYS
    means_days: int = MEANS_DAYS
    backfill: bool = False
    delete_older: bool = False

    def __post_init__(self) -> None:
        for days in (self.raw_days, self.means_days):
            if not 0 <= days <= DAYS_MAX:
                raise SettingsError(f"points are kept 0 (for ever) to {DAYS_MAX} days, not {days}")
        if self.means_days and (self.raw_days == 0 or self.means_days < self.raw_days):
            raise SettingsError(
                f"five-minute figures kept {self.means_days} days would expire before the points they are made of; "
                "keep them as long at least"
            )


def older_points_error(database: str, days: int) -> SettingsError:
    """Returns the refusal to delete what is there without being told so."""
    return SettingsError(
        f"{database} has points older than {days} days, which this would delete: keep them with --keep-raw 0 "
        "--keep-means 0, or allow it with --delete-older"
    )
