"""`moamesh answers` with devices that say what the test wants, over a real broker."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.cli.answers.fetching import Wanted, show_answers
from edge_agent.cli.exits import EXPIRED, NO_WORD, NOT_ANSWERED, REFUSED
from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.own_client import own_client
from edge_agent.core.messages import AnswersPage, AnswersQuery, AnswerSummary, Message, Standing
from edge_agent.wire.topics import is_id
from tests.client.conftest import broker_url, own_broker
from tests.client.samples import answer, presence
from tests.client.scripted_device import ScriptedDevice, scripted_device

__all__ = ["broker_url", "own_broker"]
pytestmark = pytest.mark.broker

LINES = {
    "hall": (
        AnswerSummary("runs", "0", Standing.RUNNING, 3.0, "", 0),
        AnswerSummary("old", "0", Standing.ANSWERED, 300.0, "it \x1b[2Jis\nso", 8),
        AnswerSummary("no", "0", Standing.REFUSED, 400.0, "overloaded: the queue is full", 0),
    ),
    "kitchen": (
        AnswerSummary("new", "phone", Standing.ANSWERED, 20.0, "because", 7),
        AnswerSummary("late", "0", Standing.EXPIRED, 30.0, "its deadline passed", 0),
    ),
}


PROMPTS = tuple(line.prompt_id for lines in LINES.values() for line in lines)


async def tells(device: ScriptedDevice, message: Message) -> None:
    """Says what a device of these lines would, two on a page."""
    if not isinstance(message, AnswersQuery):
        return
    lines = LINES[device.device_id]
    if message.prompt_id:
        gone = AnswerSummary(message.prompt_id, "0", Standing.GONE, 0.0, "no prompt with that id is known here", 0)
        line = next((line for line in lines if line.prompt_id == message.prompt_id), gone)
        whole = answer(line.prompt_id, device.device_id) if line.standing is Standing.ANSWERED else None
        await device.say(AnswersPage(message.query_id, device.device_id, (line,), whole, whole_s=60.0))
        return
    begin = int(message.after or 0)
    following = str(begin + 2) if begin + 2 < len(lines) else ""
    await device.say(
        AnswersPage(message.query_id, device.device_id, lines[begin : begin + 2], next=following, whole_s=60.0)
    )


@contextlib.asynccontextmanager
async def two_devices(url: str) -> AsyncIterator[MeshAddress]:
    async with (
        scripted_device(url, tells, device_id="kitchen") as kitchen,
        scripted_device(url, tells, device_id="hall") as hall,
    ):
        for device in (kitchen, hall):
            await device.announce(presence(device.device_id))
        yield MeshAddress(url, "test")


async def test_a_list_is_of_all_devices_with_what_runs_first(
    broker_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    async with two_devices(broker_url) as address:
        assert await show_answers(address, Wanted(since_s=600.0)) == 0
        said = capsys.readouterr()
        rows = [line.split()[:3] for line in said.out.splitlines() if line.strip().startswith(PROMPTS)]
        assert rows == [
            ["runs", "hall", "running"],
            ["new", "kitchen", "answered"],
            ["late", "kitchen", "expired"],
            ["old", "hall", "answered"],
            ["no", "hall", "refused"],
        ]
        assert "\x1b" not in said.out
        assert "may be gone" in said.err, "an hour was asked for, and a minute is known"
        assert await show_answers(address, Wanted(device_id="hall", count=1, json=True)) == 0
        (hall,) = json.loads(capsys.readouterr().out)["devices"]
        assert [line["prompt_id"] for line in hall["answers"]] == ["runs", "old"][: len(hall["answers"])]


async def test_one_is_found_wherever_it_is_and_the_exit_status_says_how_it_ended(
    broker_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with two_devices(broker_url) as address:
        for prompt_id, status, out, err in (
            ("new", 0, "because", "answered by kitchen, about 20 seconds ago"),
            ("late", EXPIRED, "", "expired, about 30 seconds ago: its deadline passed"),
            ("no", REFUSED, "", "refused, about 7 minutes ago: overloaded: the queue is full"),
            ("runs", NOT_ANSWERED, "", "hall still works on it, since about 3 seconds"),
            ("never", NOT_ANSWERED, "", "gone: "),
        ):
            assert await show_answers(address, Wanted(prompt_id)) == status
            said = capsys.readouterr()
            assert said.out.strip().startswith(out) if out else said.out == ""
            assert err in said.err
        assert await show_answers(address, Wanted("new", json=True)) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["device_id"], found["answer"]["prompt_id"]) == ("kitchen", "new")


@pytest.mark.parametrize("told", ["nothing", "another"])
async def test_a_device_that_tells_of_something_else_does_not_spoil_what_the_others_say(
    told: str, broker_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def lies(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, AnswersQuery):
            line = AnswerSummary("another", "0", Standing.ANSWERED, 1.0, "a lie", 5)
            lines = (line,) if told == "another" else ()
            await device.say(AnswersPage(message.query_id, device.device_id, lines, next="more"))

    async with two_devices(broker_url) as address, scripted_device(broker_url, lies, device_id="liar") as liar:
        await liar.announce(presence("liar"))
        assert await show_answers(address, Wanted("new")) == 0
        assert await show_answers(address, Wanted("new", device_id="liar")) == NO_WORD
        assert await show_answers(address, Wanted(device_id="liar", count=3)) == 0, "pages without end have one"
    assert "liar answered about something other than new" in capsys.readouterr().err


def test_commands_of_one_account_are_one_client_where_nobody_has_a_name(tmp_path: Path) -> None:
    name = own_client(tmp_path / "state")
    assert name is not None
    assert is_id(name)
    assert own_client(tmp_path / "state") == name
    assert own_client(tmp_path / "elsewhere") != name
    (tmp_path / "a-file").touch()
    assert own_client(tmp_path / "a-file") is None, "where nothing can be kept"
