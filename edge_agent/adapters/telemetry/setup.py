"""Sets a database up: how long it keeps points, and the five-minute figures that it keeps for longer.

Everything here may be done again at any time: what is as wanted stays, what differs is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

from edge_agent.adapters.telemetry.downsampling import MEANS_DAYS, RAW_DAYS
from edge_agent.adapters.telemetry.server import (
    ServerIdentity,
    ServerKind,
    TelemetryServer,
    TelemetryServerError,
    introduce,
)
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
                f"five-minute figures kept {self.means_days} days would go before the points they are made of; "
                "keep them as long at least"
            )


def set_up(server: TelemetryServer, plan: SetupPlan, *, dry_run: bool = False) -> tuple[ServerIdentity, list[Step]]:
    """Sets up what is missing and returns what the server is, and each step with its result.

    With `dry_run` nothing is changed: the steps are all those of an empty server.

    Raises:
        TelemetryServerError: it cannot be reached, refuses us or a step.
        SettingsError: it is of a kind that is set up otherwise, or has points that only `delete_older` may delete.
    """
    identity = _identity(server, ask=not dry_run)
    if identity.kind is ServerKind.VICTORIA_METRICS:
        raise SettingsError(
            "VictoriaMetrics keeps everything for one time, set when it starts: victoria-metrics -retentionPeriod=2y; "
            "there is nothing to set up"
        )
    if identity.version.startswith("3"):
        raise SettingsError(
            f"InfluxDB {identity.version} makes databases by itself and has neither continuous queries nor tasks; set "
            "retention with: influxdb3 create database --retention-period 14d NAME"
        )
    if identity.version.startswith("1") or identity.kind is ServerKind.INFLUX_1:
        from edge_agent.adapters.telemetry.setup_influx1 import planned, set_up_influx1

        return identity, planned(server.database, plan) if dry_run else set_up_influx1(server, plan)
    from edge_agent.adapters.telemetry.setup_influx2 import planned_influx2, set_up_influx2

    return identity, planned_influx2(server.database, plan) if dry_run else set_up_influx2(server, plan)


def _identity(server: TelemetryServer, *, ask: bool) -> ServerIdentity:
    """What is said of it counts where the server itself does not say; a dry run then needs no server at all."""
    if server.kind is not None and not ask:
        return ServerIdentity(server.kind, "")
    try:
        return introduce(server)
    except TelemetryServerError as error:
        if server.kind is None or error.retryable:
            raise
        return ServerIdentity(server.kind, "")


def older_points_error(database: str, days: int) -> SettingsError:
    """Returns the refusal to delete what is there without being told so."""
    return SettingsError(
        f"{database} has points older than {days} days, which this would delete: keep them with --keep-raw 0 "
        "--keep-means 0, or agree with --delete-older"
    )
