"""The doctor's findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from edge_agent.doctor.findings import Check, Finding

_SIGNS = {Finding.OK: ("✓", "good"), Finding.NOTE: ("!", "busy"), Finding.MISSING: ("✗", "bad")}


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """One line for each check, below it the command that mends what is wrong."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        sign, style = _SIGNS[check.finding]
        line = Text(f"{sign} ", style=style)
        line.append(f"{check.name:{width}}  ", style="label")
        line.append(check.detail, style="default")
        console.print(line, soft_wrap=True)
        if check.mend and check.finding is not Finding.OK:
            console.print(Text(f"  {'':{width}}  → {check.mend}", style="name"), soft_wrap=True)


def checks_object(checks: Sequence[Check]) -> dict[str, Any]:
    """The same for JSON."""
    return {
        "ok": not any(check.missing for check in checks),
        "checks": [
            {"name": check.name, "finding": check.finding.value, "detail": check.detail, "mend": check.mend}
            for check in checks
        ],
    }
