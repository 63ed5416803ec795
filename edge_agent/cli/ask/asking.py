"""One prompt from the command line: where it goes, how its answer is shown."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import secrets
import shlex
import sys
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.status import Status

from edge_agent.cli.ask.markdown_stream import MarkdownStream
from edge_agent.cli.ask.provenance_view import provenance_tree, remarks
from edge_agent.cli.exits import BUSY, EXPIRED, NO_WORD, NOT_ANSWERED, REFUSED
from edge_agent.cli.local.board import layer_stage
from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.results import AskOutcome, AskResult, End, result_object
from edge_agent.cli.terminal import console, print_json, safe_text
from edge_agent.client import (
    CANDIDATES_MAX,
    ELSEWHERE,
    AskTimeoutError,
    MeshClient,
    NoReceiptError,
    is_away,
    least_busy,
    until_gone,
)
from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import (
    Answer,
    ChatMessage,
    DeviceToUser,
    LayerProgress,
    PromptOptions,
    PromptReceipt,
    PromptRefusal,
    Role,
    TokenChunk,
)
from edge_agent.core.states import Outcome
from edge_agent.tasks import OvertakenError, unless

CANCEL_TIMEOUT_S = 5.0  # after Ctrl-C, for a busy broker; a cancel that gets lost costs the device only work
PROMPT_BYTES_MAX = 1024 * 1024  # of standard input: far above what any device accepts, far below memory


def read_prompt(text: str | None) -> str:
    """The prompt from the argument, or from standard input if that is "-" or missing.

    Raises:
        SettingsError: there is none, or it is no text.
    """
    if text is None and sys.stdin.isatty():
        raise SettingsError('say what to ask: moamesh ask "..." (or give it on standard input)')
    if text is None or text == "-":
        try:
            text = sys.stdin.buffer.read(PROMPT_BYTES_MAX).decode().rstrip("\n")
        except UnicodeDecodeError:
            raise SettingsError("standard input is not UTF-8 text") from None
    if not text.strip():
        raise SettingsError("the prompt is empty")
    return text


class _GoneError(NoReceiptError):
    """The device took the prompt, or was about to, and went away."""


class _Shown:
    """Streams the text to stdout; what happens until then is a spinner on stderr.

    On a terminal the text is shown as the Markdown that it is, unless `raw`. Anywhere else it is written as it came.
    """

    def __init__(self, errors: Console, *, stream: bool, raw: bool) -> None:
        self._errors = errors
        self._stream = stream
        self._written = ""
        self.accepted = False
        """Whether the device said that it has the prompt."""
        self.has_begun = False
        """Whether any text came."""
        out = console()
        drawn = out.is_terminal and not out.is_dumb_terminal  # a dumb one cannot take back the block that still grows
        self._pages = MarkdownStream(out) if drawn and not raw else None
        self._status: Status | None = errors.status("sending") if errors.is_terminal else None
        if self._status is not None:
            self._status.start()

    def take(self, message: DeviceToUser) -> None:
        """Shows one message."""
        match message:
            case PromptReceipt(device_id=device_id):
                self.accepted = True
                self._say(f"accepted by {device_id}")
            case LayerProgress():
                self._say(layer_stage(message))
            case TokenChunk(index=index, text=text):
                self.has_begun = True
                if not self._stream:
                    return
                self._end_status()
                if index == 0 and self._written:
                    self._start_over("— the device starts over —")
                self._write(text)

    def finish(self, answer: Answer) -> None:
        """Makes sure that the whole answer is on stdout, also where chunks were lost on the way."""
        self._end_status()
        if not answer.text.startswith(self._written):
            self._start_over(
                "— the aggregation broke off; the best proposal instead: —"
                if answer.partial
                else "— parts were lost on the way; the whole answer: —"
            )
        self._write(answer.text[len(self._written) :])
        if self._pages is None and self._written and not self._written.endswith("\n"):
            self._write("\n")
        self.close()

    def close(self) -> None:
        """Ends the spinner, and the drawing of what came so far."""
        self._end_status()
        if self._pages is not None:
            self._pages.close()

    def _end_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _say(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)

    def _start_over(self, why: str) -> None:
        if self._pages is not None:
            self._pages.close()
        self._errors.print(f"\n{why}", style="busy")
        self._written = ""

    def _write(self, text: str) -> None:
        self._written += text
        if self._pages is not None:
            self._pages.write(text)
        else:
            sys.stdout.write(safe_text(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how its answer is shown.

    device_id: who is asked; `None` picks the least busy that is online, and the next one if that refuses for now.
    system: what the devices are told before the prompt; "" is nothing.
    raw: the text as it came, also on a terminal.
    """

    text: str
    options: PromptOptions
    device_id: str | None = None
    system: str = ""
    stream: bool = True
    raw: bool = False
    json: bool = False

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        """The turns that are sent."""
        system = (ChatMessage(Role.SYSTEM, self.system),) if self.system else ()
        return (*system, ChatMessage(Role.USER, self.text))


async def ask_one(address: MeshAddress, question: Question, options: Sequence[str] = ()) -> int:
    """Asks and shows; returns the command's exit status (`cli.exits`).

    options: the words of a command line by which the mesh is reached again, for what is told to look up later.

    Raises:
        SettingsError, BrokerUnreachableError: it cannot be asked.
    """
    errors = console(stderr=True)
    async with address.client() as client:
        candidates = await _choose_devices(client, address, question.device_id, errors)
        result = await _ask_in_turn(client, candidates, question, errors)
    if question.json:
        print_json(result_object(result))
    elif result.answer is not None:
        if result.partial:
            errors.print(f"answered in part: {safe_text(result.detail)}", style="busy", soft_wrap=True)
        for remark in remarks(result.answer):
            errors.print(remark, style="busy", soft_wrap=True)
        errors.print(provenance_tree(result.answer))
    else:
        errors.print(f"{result.outcome}: {safe_text(result.detail)}", style="bad", soft_wrap=True)
        if result.retry_after_s is not None:
            errors.print(f"try again in {duration_words(result.retry_after_s)}", style="busy", soft_wrap=True)
    if isinstance(result.end, AskTimeoutError) and not question.json:
        later = shlex.join(("moamesh", "answers", result.prompt_id, "--device", result.device_id, *options))
        errors.print(f"it may still end: {safe_text(later)}", style="busy", soft_wrap=True)
    return exit_status(result)


def exit_status(result: AskResult) -> int:
    """What the command's exit status says of how a prompt ended."""
    if result.answered:
        return 0
    if result.outcome == AskOutcome.REFUSED:
        return REFUSED if result.retry_after_s is None else BUSY
    if result.outcome == Outcome.EXPIRED:
        return EXPIRED
    return NO_WORD if result.outcome in (AskOutcome.NO_RECEIPT, AskOutcome.TIMEOUT) else NOT_ANSWERED


def duration_words(seconds: float) -> str:
    """A duration as people say it, rounded up: who comes back a little late is not turned away again."""
    if seconds <= 90.0:
        count, unit = math.ceil(seconds), "second"
    elif seconds <= 90 * 60.0:
        count, unit = math.ceil(seconds / 60.0), "minute"
    else:
        count, unit = math.ceil(seconds / 3600.0), "hour"
    return f"about {count} {unit}{'' if count == 1 else 's'}"


async def _choose_devices(client: MeshClient, address: MeshAddress, wanted: str | None, errors: Console) -> list[str]:
    """Returns whom to ask, one after the other should they refuse: the one that was named, or the least busy."""
    views = await client.discover()
    online = [view.device_id for view in views]
    if wanted is not None:
        if wanted not in online:  # it may be restarting, and where presence is not retained we cannot know
            errors.print(
                f"{wanted} is not online; waiting for it (online: {', '.join(online) or 'none'})", style="busy"
            )
        return [wanted]
    if not online:
        raise SettingsError(f"no device is online in mesh {address.mesh!r} at {address.broker}")
    able = least_busy(views, random.Random())  # noqa: S311 - breaks ties, guards nothing
    if not able:
        raise SettingsError(
            f"none of the {len(online)} devices online in mesh {address.mesh!r} can infer just now "
            "(`moamesh status` shows why)"
        )
    errors.print(f"asking {able[0]} (one of {len(online)} online; --device picks another)", style="quiet")
    return list(able[:CANDIDATES_MAX])


async def _ask_in_turn(client: MeshClient, candidates: Sequence[str], question: Question, errors: Console) -> AskResult:
    """Asks the first, and the next one where a refusal is one device's alone."""
    for device_id, then in zip(candidates, (*candidates[1:], None), strict=True):
        shown = _Shown(errors, stream=question.stream and not question.json, raw=question.raw)
        result = await _ask(client, device_id, question, shown, _left(client, device_id, then, shown, errors))
        why = _one_devices_own(result, shown)
        if then is None or not why:
            break
        errors.print(f"{device_id}: {safe_text(why)}; asking {then}", style="busy", soft_wrap=True)
    return result


def _one_devices_own(result: AskResult, shown: _Shown) -> str:
    """Why it was not answered, where another device may well answer; "" else."""
    match result.end:
        case PromptRefusal(reason=reason, detail=detail) if reason in ELSEWHERE:
            return detail
        case _GoneError():
            return "it went offline"
        case NoReceiptError():
            return "it does not respond"
        case Answer(outcome=Outcome.FAILED, detail=detail):
            return "" if shown.has_begun else detail or "it failed"  # its engine is dead or useless
    return ""


async def _left(client: MeshClient, device_id: str, then: str | None, shown: _Shown, errors: Console) -> None:
    """Returns once the device went offline and another can be asked in its place; says so if it is to be waited for."""
    said = False
    while True:
        await until_gone(client, device_id)
        other = client.roster.get(then) if then is not None else None
        if other is not None and other.able and not is_away(client, other.device_id) and not shown.has_begun:
            return
        if shown.accepted and not said:
            said = True
            errors.print(
                f"\n{device_id} is offline; it will send the answer when it is back (Ctrl-C stops waiting)",
                style="busy",
            )


async def _ask(
    client: MeshClient, device_id: str, question: Question, shown: _Shown, left: Awaitable[None]
) -> AskResult:
    prompt_id = secrets.token_hex(16)
    begun_at = time.monotonic()
    end: End
    try:
        asking = client.ask_to_end(
            device_id, question.messages, question.options, prompt_id=prompt_id, on_message=shown.take
        )
        end = await unless(asking, left)
        if isinstance(end, Answer) and not question.json:
            shown.finish(end)
    except OvertakenError:
        end = _GoneError(f"{device_id} went offline")
        await _cancel(client, device_id, prompt_id)
    except NoReceiptError as error:
        end = error
        await _cancel(client, device_id, prompt_id)  # should it have heard after all: another may be asked now
    except AskTimeoutError as error:
        end = error
    except asyncio.CancelledError:
        shown.close()
        await _cancel(client, device_id, prompt_id)
        raise
    finally:
        shown.close()
    return AskResult(question.text, device_id, end, time.monotonic() - begun_at, prompt_id)


async def _cancel(client: MeshClient, device_id: str, prompt_id: str) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CANCEL_TIMEOUT_S):
            await client.cancel(device_id, prompt_id)
