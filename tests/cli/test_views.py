"""What is shown fits the terminal and says what it must."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console, RenderableType

from edge_agent.cli.ask.answers_view import answers_view
from edge_agent.cli.ask.provenance_view import provenance_tree
from edge_agent.cli.local.board import Board
from edge_agent.cli.local.dashboard_view import dashboard
from edge_agent.cli.prompts.batch import Job
from edge_agent.cli.prompts.load_record import LoadRecord
from edge_agent.cli.prompts.summary import summarise
from edge_agent.cli.prompts.view import load_markdown, load_table
from edge_agent.cli.results import AskResult
from edge_agent.cli.terminal import THEME, safe_text
from edge_agent.cli.watch.devices_view import devices_table
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
    lines = [line.strip() for line in table.splitlines() if ": " in line]
    assert lines == ["broken: cannot infer: no model", "broken: broker: takes QoS 0 only"]


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


@WIDTHS
def test_what_is_wrong_with_whom_stands_in_the_table_and_in_full_below_it(width: int) -> None:
    sick, full, gone, well = views()
    engine = Problem(Part.ENGINE, "no server answers at http://127.0.0.1:11434/v1: start it")
    sick = told(sick, able=False, problems=(engine,), failed=7)
    full = told(full, durable=False, problems=(Problem(Part.JOURNAL, "the disk is full\x1b[2J"),))
    gone = replace(told(gone, able=False, problems=(engine,)), presence=presence("device-3", PresenceState.OFFLINE))
    text = rendered(devices_table([sick, full, gone, replace(well, device_id="device-4")], 1.0), width)
    rows = {line.split()[0]: line for line in text.splitlines() if "●" in line or "✗" in line}
    assert "unable" in rows["device-1"]
    assert rows["device-1"].rstrip().endswith(" 7")
    assert "journal" in rows["device-2"]
    below = " ".join(text.partition("device-1: cannot infer: ")[2].split())
    assert below.startswith("no server answers at http://127.0.0.1:11434/v1: start it")
    assert "device-2: journal: the disk is full" in below
    assert "\x1b" not in text
    assert "device-3: cannot" not in text  # it is not there


def test_a_mesh_without_troubles_says_nothing_below_the_table() -> None:
    text = rendered(devices_table(views(), 1.0), 120)
    assert text.count("ok") == 3  # the fourth is offline
    assert "cannot" not in text


def told(view: DeviceView, *, able: bool = True, **changed: Any) -> DeviceView:
    """A device that has told this of itself."""
    assert view.status is not None
    assert view.presence is not None
    entry = replace(view.presence.entry, able=able)
    return replace(
        view, presence=replace(view.presence, entry=entry), status=replace(view.status, able=able, **changed)
    )


@WIDTHS
def test_an_answer_in_part_is_marked_in_its_panel_and_its_tree(width: int) -> None:
    part = replace(answer(), partial=True, detail="nobody could aggregate")
    part = replace(part, provenance=replace(part.provenance, answer_from="device-2", aggregation=None))
    text = rendered(answers_view([AskResult("why?", "device-1", part, 7.0)]), width)
    assert "answered in part" in text.splitlines()[0]
    flat = " ".join(text.split())
    assert "answered in part (the proposal of device-2) by device-1" in flat
    assert "nobody could aggregate" in flat


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
