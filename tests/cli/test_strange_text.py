"""What devices, peers and models write reaches the operator's terminal as text, never as an order to it."""

from __future__ import annotations

import io
import json

import pytest
from rich.table import Table
from rich.text import Text

from edge_agent.cli.job.view import job_object, jobs_table
from edge_agent.cli.terminal import THEME, _PlainConsole, print_json
from provisioning.job_store import JobRow
from provisioning.jobs import Action, Job, JobReport, JobState, decode_report, encode

ORDERS = {
    "colour": "\x1b[31mred\x1b[0m",
    "window's title": "\x1b]0;own\x07",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "upper control characters": "\x9b31mred\x90x\x9c",
    "cursor": "\x1b[2J\x1b[H",
    "line begun anew": "failed\rdone",
    "backspaces": "no\x08\x08ok",
    "writing turned around": "\u202egnihton\u202c",
}
OBEYED = [chr(code) for code in (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F))]


def shown(renderable: object, *, terminal: bool) -> str:
    file = io.StringIO()
    _PlainConsole(file=file, force_terminal=terminal, color_system=None, markup=False, theme=THEME, width=200).print(
        renderable
    )
    return file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("what", ORDERS)
def test_text_on_a_console_gives_no_orders(what: str, terminal: bool) -> None:
    table = Table()
    table.add_column("detail")
    table.add_row(Text(ORDERS[what]))
    table.add_row(ORDERS[what])
    for renderable in (ORDERS[what], Text(ORDERS[what]), table):
        said = shown(renderable, terminal=terminal)
        assert not [letter for letter in OBEYED if letter in said], repr(said)
        assert "\ufffd" in said or what in ("backspaces", "line begun anew", "window's title", "clipboard")


@pytest.mark.parametrize("what", ORDERS)
def test_a_job_report_is_one_line_of_text(what: str) -> None:
    job = Job("job-1", "home", "kitchen", 1, Action.RESTART)
    report = decode_report(encode(JobReport("job-1", "kitchen", JobState.FAILED, ORDERS[what])))
    assert report.detail.isprintable()
    row = JobRow(job, report.state.value, ORDERS[what], None, 0.0, 0.0)  # as one that was kept before is
    said = shown(jobs_table([row]), terminal=True)
    assert not [letter for letter in OBEYED if letter in said]


@pytest.mark.parametrize("what", ORDERS)
def test_json_for_a_terminal_is_json_and_gives_no_orders(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    job = Job("job-1", "home", "kitchen", 1, Action.RESTART)
    print_json({"jobs": [job_object(JobRow(job, "failed", ORDERS[what], None, 0.0, None))], "é": "ü"})
    said = capsys.readouterr().out
    assert not [letter for letter in OBEYED if letter in said]
    assert json.loads(said)["jobs"][0]["detail"] == ORDERS[what]
    assert "é" in said
