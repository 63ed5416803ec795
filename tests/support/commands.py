"""`moamesh` run in the tests' own process: what it says and how it ends, without the second that Python takes to start.

What only a process shows (signals, pipes, a terminal, what is loaded) needs a real one: `tests.cli.test_live_commands`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from typer.testing import CliRunner

from edge_agent.cli.main import app

_ONE_AT_A_TIME = threading.Lock()  # a command is given this process's environment and standard streams


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, with the names that `subprocess.CompletedProcess` has."""

    returncode: int
    stdout: str
    stderr: str


def moamesh(environment: Mapping[str, str] | None, *arguments: str, stdin: str | bytes = "") -> Ended:
    """Runs a command with this environment, or with the tests' own. What it raises is raised, unless it is its exit."""
    given: dict[str, str | None] = {}
    if environment is not None:
        given = {**{name: None for name in os.environ if name not in environment}, **environment}
    with _ONE_AT_A_TIME:
        result = CliRunner(env=given).invoke(app, arguments, input=stdin, prog_name="moamesh")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


async def moamesh_beside(environment: Mapping[str, str] | None, *arguments: str, stdin: str | bytes = "") -> Ended:
    """The same in a thread of its own: for a test whose devices answer meanwhile."""
    return await asyncio.to_thread(moamesh, environment, *arguments, stdin=stdin)
