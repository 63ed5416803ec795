"""How setting a database up is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from edge_agent.adapters.telemetry.server import ServerIdentity, TelemetryServer
from edge_agent.adapters.telemetry.setup_plan import Step, StepResult

_COLOURS = {StepResult.CREATED: "green", StepResult.CHANGED: "yellow", StepResult.DONE: "green"}


def setup_view(server: TelemetryServer, identity: ServerIdentity, steps: Sequence[Step]) -> Table:
    """Returns the steps and their results as a table."""
    table = Table(title=f"{server.url}: {identity.kind} {identity.version}".rstrip(), title_justify="left")
    table.add_column("what")
    table.add_column("result")
    for step in steps:
        colour = _COLOURS.get(step.result, "")
        table.add_row(step.what, Text(str(step.result), style=colour))
    return table


def statements(steps: Sequence[Step]) -> str:
    """Returns what would be sent, each step's words as a comment above it."""
    return "\n\n".join(f"-- {step.what}\n{step.statement}" for step in steps)


def setup_json(server: TelemetryServer, identity: ServerIdentity, steps: Sequence[Step]) -> dict[str, Any]:
    """Returns the same for programs."""
    return {
        "url": server.url,
        "database": server.database,
        "kind": str(identity.kind),
        "version": identity.version,
        "steps": [{"what": step.what, "statement": step.statement, "result": str(step.result)} for step in steps],
    }
