"""What stands in brackets is printed: `[[influx]]` in a help text, `[old]` in a path, `[fe80::1]` in an address."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from edge_agent.adapters.telemetry.server import ServerIdentity, ServerKind, TelemetryServer
from edge_agent.adapters.telemetry.setup_plan import Step, StepResult
from edge_agent.cli.doctor.view import print_checks
from edge_agent.cli.main import app
from edge_agent.cli.telemetry.setup_view import setup_view
from edge_agent.cli.terminal import console, styled
from edge_agent.doctor.findings import Check, Finding
from edge_agent.doctor.machine import machine_checks

BRACKETED = re.compile(r"\[[^\[\]]*\]")
TRAPS = (
    "[[influx]]",
    "[bold]",
    "[/]",
    "[name]",
    "/home/[old]/agent.toml",
    "mqtts://[fe80::1]:8883",
    ":smiley:",
    "a\\[b]",
)


def every_command(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from every_command(one, (*path, name))


class _AsWritten(typer.core.TyperGroup):
    """A group that leaves its help as it was written."""


def as_written() -> dict[tuple[str, ...], Any]:
    """The commands before their help is escaped."""
    kept = app.info.cls
    app.info.cls = _AsWritten
    try:
        return dict(every_command(typer.main.get_command(app)))
    finally:
        app.info.cls = kept


COMMANDS = as_written()


def squeezed(text: str) -> str:
    """Without frames and line breaks, which fall anywhere."""
    return re.sub(r"[\s│]+", "", text)


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "moamesh")
def test_every_help_shows_what_was_written(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("TERMINAL_WIDTH", "400")
    result = CliRunner().invoke(app, [*path, "--help"], terminal_width=400)
    assert result.exit_code == 0
    shown = squeezed(result.output)
    command = COMMANDS[path]
    texts = [inspect.cleandoc(command.help or "").partition("\f")[0]]
    texts += [parameter.help for parameter in command.params if getattr(parameter, "help", None)]
    for one in getattr(command, "commands", {}).values():
        texts.append(inspect.cleandoc(one.short_help or one.help or "").split("\n\n")[0])
    for text in texts:
        assert squeezed(text) in shown
    assert "\\[" not in result.output


def test_the_table_of_helps_has_traps_in_it() -> None:
    trapped = {
        path
        for path, one in COMMANDS.items()
        for text in (one.help, *(getattr(parameter, "help", None) for parameter in one.params))
        if BRACKETED.search(text or "")
    }
    assert {("stability",), ("telemetry", "check")} <= trapped


def printed(what: Any) -> str:
    out = console()
    out.file = io.StringIO()
    out.width = 300
    out.print(what)
    text: str = out.file.getvalue()
    return text


@pytest.mark.parametrize("trap", TRAPS)
def test_the_consoles_print_text_as_it_is(trap: str) -> None:
    assert trap in printed(f"before {trap} behind")
    assert trap in printed(styled("mesh ", (trap, "name"), f" is at {trap}"))
    table = Table(title=f"title {trap}")
    table.add_column(f"head {trap}")
    table.add_row(f"row {trap}")
    assert printed(table).count(trap) == 3


@pytest.mark.parametrize("trap", TRAPS)
def test_a_status_line_on_a_terminal_shows_text_as_it_is(trap: str) -> None:
    out = console()
    shown = Console(file=io.StringIO(), width=300)
    shown.print(out.status(f"trying {trap}").renderable)
    assert isinstance(shown.file, io.StringIO)
    assert trap in shown.file.getvalue()


@pytest.mark.parametrize("trap", TRAPS)
def test_the_doctor_and_a_set_up_show_text_as_it_is(trap: str) -> None:
    out = console()
    out.file = io.StringIO()
    print_checks(out, [Check("telemetry", Finding.MISSING, f"detail {trap}", f"mend {trap}")])
    assert out.file.getvalue().count(trap) == 2
    server, identity = TelemetryServer("http://[fe80::1]:8086"), ServerIdentity(ServerKind.INFLUX_1, "1.6")
    shown = printed(setup_view(server, identity, [Step(f"make {trap}", "", StepResult.CREATED)]))
    assert trap in shown
    assert "http://[fe80::1]:8086" in shown


def test_every_line_of_the_doctor_is_printed_as_it_is() -> None:
    out = console()
    out.file = io.StringIO()
    checks = list(machine_checks())
    print_checks(out, checks)
    for check in checks:
        assert check.detail in out.file.getvalue()


@pytest.mark.parametrize("trap", [trap.replace("//", "/") for trap in TRAPS if "\\" not in trap])
def test_an_error_shows_what_was_given_as_it_is(trap: str) -> None:
    for arguments in (["telemetry", "status", "--config", f"/no{trap}"], [f"ask{trap}"], ["doctor", f"--no{trap}"]):
        result = CliRunner().invoke(app, arguments, terminal_width=300)
        assert result.exit_code == 2
        assert squeezed(trap) in squeezed(result.output), (arguments, result.output)
