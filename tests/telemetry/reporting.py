"""`moamesh stability --json` of any source, and the points of a folder of devices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from edge_agent.cli.main import app


def invoke(*arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout, stderr of `moamesh stability`."""
    result = CliRunner().invoke(app, ["stability", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def report_of(*arguments: object) -> dict[str, Any]:
    """The report, figures as they stand in its JSON; an error is an empty one."""
    status, out, said = invoke(*arguments, "--json")
    if status:
        return {"error": said}
    report: dict[str, Any] = json.loads(out)
    return report


def lines_in(folder: Path) -> list[str]:
    """Every line of telemetry in a folder and those below, of every measurement."""
    return [line for path in sorted(folder.rglob("*.lp")) for line in path.read_text().splitlines()]
