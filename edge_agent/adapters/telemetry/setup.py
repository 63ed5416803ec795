"""Sets a database up: how long it keeps points, and the five-minute figures that it keeps for longer.

Everything here may be done again at any time: what is as wanted stays, what differs is changed.
"""

from __future__ import annotations

from edge_agent.adapters.telemetry.server import ServerIdentity, ServerKind, TelemetryServer, introduced
from edge_agent.adapters.telemetry.setup_influx1 import planned, set_up_influx1
from edge_agent.adapters.telemetry.setup_influx2 import planned_influx2, set_up_influx2
from edge_agent.adapters.telemetry.setup_plan import SetupPlan, Step
from edge_agent.core.errors import SettingsError


def set_up(server: TelemetryServer, plan: SetupPlan, *, dry_run: bool = False) -> tuple[ServerIdentity, list[Step]]:
    """Sets up what is missing and returns what the server is, and each step with its result.

    With `dry_run` nothing is changed: the steps are all those of an empty server.

    Raises:
        TelemetryServerError: it cannot be reached, refuses us or a step.
        SettingsError: it is of a kind that is set up otherwise, or has points that only `delete_older` may delete.
    """
    # what is said of it counts where the server does not say; a dry run then needs no server at all
    identity = ServerIdentity(server.kind, "") if server.kind is not None and dry_run else introduced(server)
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
        return identity, planned(server.database, plan) if dry_run else set_up_influx1(server, plan)
    return identity, planned_influx2(server.database, plan) if dry_run else set_up_influx2(server, plan)
