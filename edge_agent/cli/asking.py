"""One prompt from the command line: where it goes, how its answer is shown."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import sys
import time

from rich.console import Console
from rich.status import Status

from edge_agent.cli.board import layer_stage
from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.results import AskResult, End, result_object
from edge_agent.cli.terminal import console, print_json, safe_text
from edge_agent.cli.views.provenance import provenance_tree
from edge_agent.client import AskTimeoutError, MeshClient, NoReceiptError
from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import Answer, DeviceToUser, LayerProgress, PromptOptions, PromptReceipt, TokenChunk

CANCEL_TIMEOUT_S = 1.0  # after Ctrl-C; a cancel that gets lost costs the device only work
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


class _Shown:
    """Streams the text to stdout; what happens until then is a spinner on stderr."""

    def __init__(self, errors: Console, stream: bool) -> None:
        self._errors = errors
        self._stream = stream
        self._written = ""
        self._status: Status | None = errors.status("sending") if errors.is_terminal else None
        if self._status is not None:
            self._status.start()

    def take(self, message: DeviceToUser) -> None:
        """Shows one message."""
        match message:
            case PromptReceipt(device_id=device_id):
                self._say(f"accepted by {device_id}")
            case LayerProgress():
                self._say(layer_stage(message))
            case TokenChunk(index=index, text=text) if self._stream:
                self.close()
                if index == 0 and self._written:
                    self._errors.print("\n— the device starts over —", style="busy")
                    self._written = ""
                self._write(text)

    def finish(self, answer: Answer) -> None:
        """Makes sure that the whole answer is on stdout, also where chunks were lost on the way."""
        self.close()
        if answer.text.startswith(self._written):
            self._write(answer.text[len(self._written) :])
        elif answer.text != self._written:
            self._errors.print("\n— parts were lost on the way; the whole answer: —", style="busy")
            self._write(answer.text)
        if self._written and not self._written.endswith("\n"):
            self._write("\n")

    def close(self) -> None:
        """Ends the spinner."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _say(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)

    def _write(self, text: str) -> None:
        sys.stdout.write(safe_text(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()
        self._written += text


async def ask_one(
    address: MeshAddress, device_id: str | None, prompt: str, options: PromptOptions, *, stream: bool, json: bool
) -> bool:
    """Asks and shows; returns whether the prompt was answered.

    Raises:
        SettingsError, BrokerUnreachableError: it cannot be asked.
    """
    errors = console(stderr=True)
    async with address.client() as client:
        device_id = await _choose_device(client, address, device_id, errors)
        result = await _ask(client, device_id, prompt, options, _Shown(errors, stream and not json), json=json)
    if json:
        print_json(result_object(result))
    elif result.answer is not None:
        errors.print(provenance_tree(result.answer))
    else:
        errors.print(f"{result.outcome}: {safe_text(result.detail)}", style="bad")
    return result.answered


async def _choose_device(client: MeshClient, address: MeshAddress, wanted: str | None, errors: Console) -> str:
    online = [view.device_id for view in await client.discover()]
    if wanted is not None:
        if wanted not in online:  # it may be restarting, and where presence is not retained we cannot know
            errors.print(
                f"{wanted} is not online; waiting for it (online: {', '.join(online) or 'none'})", style="busy"
            )
        return wanted
    if not online:
        raise SettingsError(f"no device is online in mesh {address.mesh!r} at {address.broker}")
    chosen = random.choice(online)  # noqa: S311 - spreads users over devices, guards nothing
    errors.print(f"asking {chosen} (one of {len(online)} online; --device picks another)", style="quiet")
    return chosen


async def _ask(
    client: MeshClient, device_id: str, prompt: str, options: PromptOptions, shown: _Shown, *, json: bool
) -> AskResult:
    prompt_id = secrets.token_hex(16)
    begun_at = time.monotonic()
    end: End
    try:
        end = await client.ask_to_end(device_id, prompt, options, prompt_id=prompt_id, on_message=shown.take)
    except (NoReceiptError, AskTimeoutError) as error:
        end = error
    except asyncio.CancelledError:
        shown.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_TIMEOUT_S):
                await client.cancel(device_id, prompt_id)
        raise
    finally:
        shown.close()
    if isinstance(end, Answer) and not json:
        shown.finish(end)
    return AskResult(prompt, device_id, end, time.monotonic() - begun_at)
