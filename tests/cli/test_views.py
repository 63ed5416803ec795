"""What is shown fits the terminal and says what it must."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from edge_agent.cli.batch import Job
from edge_agent.cli.board import Board
from edge_agent.cli.load_record import LoadRecord
from edge_agent.cli.results import AskResult
from edge_agent.cli.summary import summarise
from edge_agent.cli.terminal import THEME, safe_text
from edge_agent.cli.views.answers import answers_view
from edge_agent.cli.views.dashboard import dashboard
from edge_agent.cli.views.devices import devices_table, problem_lines
from edge_agent.cli.views.load import load_markdown, load_table
from edge_agent.cli.views.provenance import provenance_tree
from edge_agent.client import DeviceView, Roster
from edge_agent.core.messages import (
    Decision,
    LayerProgress,
    Missing,
    Part,
    PresenceState,
    Problem,
    PromptOptions,
    Substitute,
    TokenChunk,
)
from tests.client.samples import answer, presence, status

WIDTHS = pytest.mark.parametrize("width", [80, 120])


def rendered(renderable: RenderableType, width: int, height: int = 30) -> str:
    console = make_console(width, height)
    console.print(renderable)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO given below
    assert max(len(line) for line in text.splitlines()) <= width
    return str(text)


def make_console(width: int, height: int = 30) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, theme=THEME, force_terminal=False)


def views(count: int = 4) -> tuple[DeviceView, ...]:
    roster = Roster()
    for number in range(1, count + 1):
        name = f"device-{number}"
        roster.take_presence(presence(name), 0.0)
        roster.take_status(replace(status(name), model="smollm2-135m-instruct"), 0.0, retained=False)
    roster.take_presence(presence(f"device-{count}", PresenceState.OFFLINE), 0.0)
    return roster.all()


def test_what_is_wrong_with_a_device_stands_below_the_table_and_who_cannot_infer_in_its_row() -> None:
    roster = Roster()
    broken = replace(presence("broken"), entry=replace(presence("broken").entry, able=False))
    for told, problems in (
        (presence("well"), ()),
        (broken, (Problem(Part.ENGINE, "no model"), Problem(Part.BROKER, "takes QoS 0 only"))),
        (presence("gone", PresenceState.OFFLINE), (Problem(Part.JOURNAL, "full"),)),
    ):
        name = told.entry.device_id
        roster.take_status(replace(status(name), problems=problems, able=not problems), 0.0, retained=False)
        roster.take_presence(told, 0.0)
    table = rendered(devices_table(roster.all(), 0.0), 120)
    assert "unable" in next(line for line in table.splitlines() if "broken" in line)
    assert "online" in next(line for line in table.splitlines() if "well" in line)
    lines = [line.plain for line in problem_lines(roster.all(), 0.0)]
    assert lines == ["broken: engine: no model", "broken: broker: takes QoS 0 only"]


@WIDTHS
def test_every_device_has_its_row_with_state_and_figures(width: int) -> None:
    text = rendered(devices_table(views(), 1.0), width)
    assert [line.split()[:3] for line in text.splitlines() if "device-" in line] == [
        ["device-1", "●", "online"],
        ["device-2", "●", "online"],
        ["device-3", "●", "online"],
        ["device-4", "✗", "offline"],
    ]
    assert text.count("0.75") == 4
    assert text.count("+0.20") == 4


def test_synthetic_devices_are_called_so() -> None:
    (view, *_) = views()
    assert view.status is not None
    synthetic = replace(view, status=replace(view.status, synthetic=True))
    assert "synthetic:smollm2" in rendered(devices_table([synthetic], 1.0), 120)


@WIDTHS
def test_the_dashboard_fits_and_shows_the_newest_text_of_each_session(width: int) -> None:
    jobs = [Job(number, f"question {number}?", f"device-{number}", PromptOptions()) for number in range(1, 5)]
    board = Board(jobs)
    board.take(jobs[0], LayerProgress("p", 1, 2, ("device-2", "device-3"), ()))
    for index in range(200):
        board.take(jobs[1], TokenChunk("p", index, f"word{index} "))
    board.end(jobs[2], AskResult("question 3?", "device-3", answer(text="a short answer"), 6.5))
    console = make_console(width)
    text = rendered(dashboard(console, board, views(), 1.0, "note"), width)
    assert len(text.splitlines()) <= 30
    assert "layer 1/2, asks device-2, device-3" in text
    assert "word199" in text
    assert "word0 " not in text
    assert "answered after 6.5 s" in text
    assert "a short answer" in text


@WIDTHS
def test_an_answer_names_everyone_who_made_it_and_who_did_not(width: int) -> None:
    whole = answer()
    provenance = replace(
        whole.provenance,
        substitutes=(Substitute(1, "device-3", "device-4", "lost"),),
        missing=(Missing(2, "device-5", "busy"),),
    )
    text = rendered(answers_view([AskResult("why?", "device-1", replace(whole, provenance=provenance), 7.0)]), width)
    assert text.count("device-2") == 2
    assert "device-3 stood in for device-4 (lost)" in text
    assert "device-5 missing: busy" in text
    assert "4 messages sent, 8 received" in text


@WIDTHS
def test_measured_stands_beside_predicted(width: int) -> None:
    record = LoadRecord()
    record.take(replace(status("device-1"), interval_s=100.0, utilisation=0.33))
    summary = summarise([AskResult("why?", "device-1", answer(), 7.0)], record.loads(), 100.0)
    text = rendered(load_table(summary), width)
    assert "0.33" in text
    assert "0.10" in text  # 1.5 s x 7 x 0.01/s
    markdown = load_markdown(summary, "A run")
    assert "| utilisation ρ = α((k+1)M+1)λ | 0.33 | 0.10 |" in markdown


def test_a_peer_cannot_send_escape_sequences_to_the_terminal() -> None:
    assert safe_text("a\x1b[2Jb\x07\x9bc\n\td") == "a[2Jbc\n\td"


@WIDTHS
def test_what_a_policy_decided_stands_in_its_layer(width: int) -> None:
    made = answer()
    assert made.provenance.aggregation is not None
    decision = Decision(1, "judge", ("device-2",), True, "", made.provenance.aggregation)
    made = replace(made, provenance=replace(made.provenance, decisions=(decision,)))
    text = " ".join(rendered(provenance_tree(made), width, 60).split())
    assert "judge: went on with device-2, no more layers" in text
