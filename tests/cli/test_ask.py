"""`moamesh ask` at a real broker, devices that say what the test wants; in pipes and terminals it is a real process."""

from __future__ import annotations

import asyncio
import json
import signal
from asyncio.subprocess import PIPE
from dataclasses import replace

import pytest

from edge_agent.cli.ask.asking import duration_words, exit_status
from edge_agent.cli.ask.markdown_stream import finished_blocks
from edge_agent.cli.exits import BUSY, EXPIRED, NO_WORD, NOT_ANSWERED, REFUSED
from edge_agent.cli.results import AskResult, DeviceDiedError
from edge_agent.client import AskTimeoutError, NoReceiptError, absence
from edge_agent.core.messages import (
    Answer,
    Message,
    PresenceState,
    Prompt,
    PromptCancel,
    PromptReceipt,
    PromptRefusal,
    RefusalReason,
    Role,
    TokenChunk,
)
from edge_agent.core.states import Outcome
from tests.cli.test_live_commands import MOAMESH, home
from tests.client.conftest import broker_url, own_broker
from tests.client.samples import answer, presence, status
from tests.client.scripted_device import Script, ScriptedDevice, scripted_device
from tests.support.commands import moamesh_beside
from tests.support.patience import PATIENCE_S
from tests.support.terminals import in_terminal

__all__ = ["broker_url", "home", "own_broker"]
MARKDOWN = """# Onions

Cut **off** the top; `dice` it. See [the book](https://example.org/onions).

1. Halve it.
2. Slice it.

```python
for cut in onion:
    print(cut)
```

Done.
"""


def answering(text: str, pieces: int = 7) -> Script:
    """A device that streams `text` in pieces, then gives the answer."""

    async def script(device: ScriptedDevice, message: Message) -> None:
        if not isinstance(message, Prompt):
            return
        prompt_id = message.prompt_id
        await device.say(PromptReceipt(prompt_id, device.device_id, 1.0))
        size = max(1, -(-len(text) // pieces))
        for index, start in enumerate(range(0, len(text), size)):
            await device.say(TokenChunk(prompt_id, index, text[start : start + size]))
        await device.say(answer(prompt_id, device.device_id, text))

    return script


def refusing(reason: RefusalReason, detail: str, retry_after_s: float | None) -> Script:
    async def script(device: ScriptedDevice, message: Message) -> None:
        assert isinstance(message, Prompt)
        await device.say(PromptRefusal(message.prompt_id, device.device_id, reason, detail, retry_after_s))

    return script


def ending(outcome: Outcome) -> Script:
    async def script(device: ScriptedDevice, message: Message) -> None:
        assert isinstance(message, Prompt)
        whole = answer(message.prompt_id)
        await device.say(
            Answer(message.prompt_id, device.device_id, outcome, "", "as it is", 1.0, whole.provenance),
        )

    return script


async def online(device: ScriptedDevice) -> None:
    await device.announce(presence())
    await device.announce(status())


async def ask(env: dict[str, str], url: str, *arguments: str) -> tuple[int, str, str]:
    """Runs the command in this process; returns its exit status and what it wrote."""
    ended = await moamesh_beside(env, *options(url, *arguments))
    return ended.returncode, ended.stdout, ended.stderr


def command(url: str, *arguments: str) -> list[str]:
    return [*MOAMESH, *options(url, *arguments)]


def options(url: str, *arguments: str) -> list[str]:
    named = () if "--mesh" in arguments else ("--mesh", "test", "--device", "device-1")
    return ["ask", *arguments, "--broker", url, *named]


@pytest.mark.broker
async def test_a_pipe_gets_the_markdown_as_it_is_and_the_device_the_system_text(
    home: dict[str, str], broker_url: str
) -> None:
    async with scripted_device(broker_url, answering(MARKDOWN)) as device:
        await online(device)
        asked = "Wie würfelt man Zwiebeln?"
        process = await asyncio.create_subprocess_exec(
            *command(broker_url, "--system", "You cook."), env=home, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(PATIENCE_S):
            out, errors = await process.communicate(f"{asked}\n".encode())
        assert (process.returncode, out.decode()) == (0, MARKDOWN)
        assert b"answered by device-1" in errors
        assert b"\x1b" not in out + errors
        (prompt,) = device.prompts
        assert [(turn.role, turn.content) for turn in prompt.messages] == [
            (Role.SYSTEM, "You cook."),
            (Role.USER, asked),
        ]


@pytest.mark.broker
async def test_a_terminal_shows_markdown_once_in_order_and_no_control_characters_of_the_model(
    home: dict[str, str], broker_url: str
) -> None:
    hostile = MARKDOWN + "\n\x1b]0;owned\x07\x1b[2Jboo\n"
    async with scripted_device(broker_url, answering(hostile, pieces=60)) as device:
        await online(device)
        async with in_terminal(command(broker_url, "dice?"), home) as terminal:
            assert await terminal.ends() == 0
            await terminal.until(lambda: "answered by device-1" in terminal.text)
        shown = terminal.text
        for part in (
            "Onions",
            "Cut off the top; dice it.",
            "1 Halve it.",
            "for cut in onion:",
            "Done.",
            "]0;owned[2Jboo",
        ):
            assert shown.count(part) == 1, shown
        assert "https://example.org/onions" in shown
        assert shown.index("Halve") < shown.index("for cut") < shown.index("Done.") < shown.index("answered by")
        assert "**" not in shown
        assert "```" not in shown
        assert b"\x1b]0;owned" not in terminal.received
        assert b"\x1b[2J" not in terminal.received


@pytest.mark.broker
async def test_an_answer_higher_than_the_terminal_is_shown_whole(home: dict[str, str], broker_url: str) -> None:
    steps = "".join(f"{number}. step {number} of many\n" for number in range(1, 61))
    async with scripted_device(broker_url, answering(steps, pieces=120)) as device:
        await online(device)
        async with in_terminal(command(broker_url, "how?"), home, columns=40, lines=10) as terminal:
            assert await terminal.ends() == 0
            await terminal.until(lambda: "answered by" in terminal.text)
        shown = [line.strip() for line in terminal.lines if " of many" in line]
        assert shown == [f"{number} step {number} of many" for number in range(1, 61)]


@pytest.mark.broker
@pytest.mark.parametrize(("option", "kind"), [("--raw", "xterm-256color"), ("--stream", "dumb")])
async def test_raw_is_raw_on_a_terminal_too_and_so_is_a_dumb_one(
    home: dict[str, str], broker_url: str, option: str, kind: str
) -> None:
    async with scripted_device(broker_url, answering(MARKDOWN)) as device:
        await online(device)
        async with in_terminal(command(broker_url, "dice?", option), home, kind=kind) as terminal:
            assert await terminal.ends() == 0
            await terminal.until(lambda: "answered by" in terminal.text)
        assert "Cut **off** the top; `dice` it." in terminal.text
        assert "```python" in terminal.text


@pytest.mark.broker
async def test_an_answer_that_starts_over_is_said_and_the_whole_of_it_shown(
    home: dict[str, str], broker_url: str
) -> None:
    async def script(device: ScriptedDevice, message: Message) -> None:
        assert isinstance(message, Prompt)
        prompt_id = message.prompt_id
        await device.say(PromptReceipt(prompt_id, device.device_id, None), TokenChunk(prompt_id, 0, "a first "))
        await device.say(TokenChunk(prompt_id, 0, "a second"), answer(prompt_id, text="a second try"))

    async with scripted_device(broker_url, script) as device:
        await online(device)
        end, out, errors = await ask(home, broker_url, "why?")
        assert (end, out) == (0, "a first a second try\n")
        assert "the device starts over" in errors


@pytest.mark.broker
@pytest.mark.parametrize(
    ("script", "expected", "words"),
    [
        (refusing(RefusalReason.TOO_LARGE, "at most 128 KiB", None), REFUSED, "refused: too_large: at most 128 KiB"),
        (refusing(RefusalReason.OVERLOADED, "the queue is full", 34.2), BUSY, "try again in about 35 seconds"),
        (ending(Outcome.EXPIRED), EXPIRED, "expired"),
        (ending(Outcome.FAILED), NOT_ANSWERED, "failed"),
    ],
    ids=["refused", "busy", "expired", "failed"],
)
async def test_each_way_not_to_be_answered_has_its_exit_status_and_words(
    home: dict[str, str], broker_url: str, script: Script, expected: int, words: str
) -> None:
    async with scripted_device(broker_url, script) as device:
        await online(device)
        end, out, errors = await ask(home, broker_url, "why?")
        assert end == expected, errors
        assert out == ""
        assert words in errors
        end, out, _ = await ask(home, broker_url, "why?", "--json")
        assert end == expected
        assert json.loads(out)["retry_after_s"] == (34.2 if expected == BUSY else None)


@pytest.mark.broker
async def test_who_names_no_device_gets_the_least_busy_and_after_its_refusal_the_next(
    home: dict[str, str], broker_url: str
) -> None:
    full = refusing(RefusalReason.OVERLOADED, "the queue is full", 34.2)
    async with (
        scripted_device(broker_url, full, device_id="free") as free,
        scripted_device(broker_url, answering("Because."), device_id="busy") as busy,
        scripted_device(broker_url, answering("Never."), device_id="broken") as broken,
    ):
        for device, waiting in ((free, 0), (busy, 9), (broken, 0)):
            told = presence(device.device_id)
            told = replace(told, entry=replace(told.entry, able=device is not broken))
            await device.announce(told)
            await device.announce(replace(status(device.device_id, waiting=waiting), able=device is not broken))
        end, out, errors = await ask(home, broker_url, "why?", "--mesh", "test")
        assert (end, out) == (0, "Because.\n")
        assert "asking free (one of 3 online" in errors
        assert "free: the queue is full; asking busy" in errors
        assert not broken.prompts
        end, _, _ = await ask(home, broker_url, "why?", "--mesh", "test", "--device", "free")
        assert end == BUSY, "a device that was named is asked alone"


@pytest.mark.broker
@pytest.mark.parametrize("known_to_be_unwell", [True, False])
async def test_who_names_no_device_gets_another_when_the_first_fails_what_it_took(
    known_to_be_unwell: bool, home: dict[str, str], broker_url: str
) -> None:
    async def fails(device: ScriptedDevice, message: Message) -> None:
        if not isinstance(message, Prompt):
            return
        if known_to_be_unwell:
            told = presence(device.device_id)
            await device.announce(replace(told, entry=replace(told.entry, able=False)))
        whole = answer(message.prompt_id)
        await device.say(
            replace(whole, device_id=device.device_id, outcome=Outcome.FAILED, text="", detail="no engine")
        )

    async with (
        scripted_device(broker_url, fails, device_id="free") as free,
        scripted_device(broker_url, answering("Because."), device_id="busy") as busy,
    ):
        for device, waiting in ((free, 0), (busy, 9)):
            await device.announce(presence(device.device_id))
            await device.announce(status(device.device_id, waiting=waiting))
        end, out, errors = await ask(home, broker_url, "why?", "--mesh", "test")
        assert (end, out) == (0, "Because.\n"), errors
        assert "free: no engine; asking busy" in errors


@pytest.mark.broker
@pytest.mark.parametrize("named", [False, True])
async def test_a_device_that_took_the_prompt_and_went_away_is_left_or_waited_for_in_words(
    home: dict[str, str], broker_url: str, named: bool
) -> None:
    async def goes(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            await device.say(PromptReceipt(message.prompt_id, device.device_id, 9.0))
            await device.announce(replace(presence(device.device_id), state=PresenceState.OFFLINE))
            if named:  # longer than it may be away without a word about it, then it is back
                await asyncio.sleep(1.5 * absence.GONE_S)
                whole = answer(message.prompt_id)
                await device.say(replace(whole, text="It is back.", device_id=device.device_id))

    async with (
        scripted_device(broker_url, goes, device_id="free") as free,
        scripted_device(broker_url, answering("Because."), device_id="busy") as busy,
    ):
        for device, waiting in ((free, 0), (busy, 9)):
            await device.announce(presence(device.device_id))
            told = status(device.device_id, waiting=waiting)
            await device.announce(replace(told, interval_s=600.0))  # nobody says more, and is not silent for that
        more = ("--device", "free") if named else ()
        end, out, errors = await ask(home, broker_url, "why?", "--mesh", "test", *more)
        assert (end, out) == (0, "It is back.\n" if named else "Because.\n"), errors
        assert ("free is offline" if named else "free: it went offline; asking busy") in errors


@pytest.mark.broker
async def test_ctrl_c_in_a_terminal_cancels_the_prompt_and_leaves_a_usable_terminal(
    home: dict[str, str], broker_url: str
) -> None:
    async def script(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            await device.say(PromptReceipt(message.prompt_id, device.device_id, 9.0))
            await device.say(TokenChunk(message.prompt_id, 0, "it begins"))

    async with scripted_device(broker_url, script) as device:
        await online(device)
        async with in_terminal(command(broker_url, "why?"), home) as terminal:
            await terminal.until(lambda: "it begins" in terminal.text)
            terminal.process.send_signal(signal.SIGINT)
            assert await terminal.ends() == 130
            await terminal.until(lambda: any(isinstance(message, PromptCancel) for message in device.heard))
        assert "Traceback" not in terminal.text
        assert terminal.received.rfind(b"\x1b[?25h") > terminal.received.rfind(b"\x1b[?25l")  # the cursor is back


def test_no_word_from_the_device_has_a_status_of_its_own() -> None:
    ends = [NoReceiptError("?"), AskTimeoutError("?"), DeviceDiedError("?")]
    assert [exit_status(AskResult("", "d", end, 1.0)) for end in ends] == [NO_WORD, NO_WORD, NOT_ANSWERED]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 1 second"),
        (34.2, "about 35 seconds"),
        (90.0, "about 90 seconds"),
        (91.0, "about 2 minutes"),
        (5400.0, "about 90 minutes"),
        (5401.0, "about 2 hours"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


def test_no_block_of_a_growing_text_is_lost_and_none_changes_once_it_is_finished() -> None:
    text = MARKDOWN * 3 + "\nlast words"
    for size in (1, 3, 50):
        done: list[str] = []
        rest = ""
        for start in range(0, len(text), size):
            blocks, rest = finished_blocks(rest + text[start : start + size])
            done += blocks
        assert "".join([*(f"{block}\n" for block in done), rest]) == text
        assert sum(block.startswith("```python") for block in done) == 3
