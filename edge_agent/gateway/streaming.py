"""An answer as server-sent events.

A reader of such a stream cannot take text back. A device that begins its answer anew (its engine crashed, or it was
restarted itself) therefore goes on unnoticed as long as it repeats what was sent already; where it says something
else, the stream ends with an error instead of a text that nobody wrote. Chunks that got lost on the way are made good
from the whole answer at the end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from edge_agent.core.messages import Answer, DeviceToUser, LayerProgress, TokenChunk
from edge_agent.gateway.errors import ApiError, of_answer
from edge_agent.gateway.inquiry import Inquiry
from edge_agent.gateway.options import SEND_TIMEOUT_S
from edge_agent.gateway.replies import Reply
from edge_agent.tasks import OvertakenError, unless

DONE = b"data: [DONE]\n\n"
MEDIA_TYPE = "text/event-stream; charset=utf-8"


class ClientGoneError(Exception):
    """The client went before its answer."""


async def until_gone(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(receive: Receive, work: Awaitable[Any]) -> Any:
    """Returns what `work` comes to.

    Raises:
        ClientGoneError: the client went first; the work is cancelled.
    """
    try:
        return await unless(work, until_gone(receive))
    except OvertakenError:
        raise ClientGoneError from None


class SentText:
    """What a reader has been sent of an answer, and what may follow it."""

    def __init__(self) -> None:
        self.sent = ""
        self._run = ""
        self._next = 0
        self._whole = True

    def take(self, chunk: TokenChunk) -> str:
        """Returns what of the chunk is new to the reader; "" while something is missing before it.

        Raises:
            ApiError: the device says something else than it did before.
        """
        if chunk.index == 0:
            self._run, self._next, self._whole = "", 0, True
        if chunk.index != self._next:
            self._whole = False  # lost on the way: the answer has it
        self._next = chunk.index + 1
        if not self._whole:
            return ""
        self._run += chunk.text
        if self.sent.startswith(self._run):
            return ""
        return self._rest_of(self._run)

    def finish(self, text: str) -> str:
        """Returns what of the whole answer is still missing.

        Raises:
            ApiError: it is another text than was sent.
        """
        if self.sent.startswith(text):
            return ""  # a device cuts an answer that is too long for a message
        return self._rest_of(text)

    def may_become(self, text: str) -> bool:
        """Whether what was sent is a beginning of this text, or the other way round."""
        return text.startswith(self.sent) or self.sent.startswith(text)

    def _rest_of(self, text: str) -> str:
        if not text.startswith(self.sent):
            raise ApiError(
                502,
                "the device started its answer again with different text than was already sent: ask again",
                kind="server_error",
                code="answer_restarted",
            )
        rest = text[len(self.sent) :]
        self.sent = text
        return rest


def event(value: dict[str, Any]) -> bytes:
    """One event with JSON in it."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def comment(text: str) -> bytes:
    """A line that clients pass over."""
    return f": {text}\n\n".encode()


async def events(inquiry: Inquiry, reply: Reply, heartbeat_s: float) -> AsyncGenerator[bytes, None]:
    """Yields the stream of an accepted prompt, up to and with `[DONE]`."""
    text = SentText()
    yield event(reply.chunk({"role": "assistant", "content": ""}))
    try:
        async for message in _follow(inquiry, heartbeat_s):
            match message:
                case TokenChunk():
                    if new := text.take(message):
                        inquiry.is_read = True
                        yield event(reply.chunk({"content": new}))
                case LayerProgress():
                    yield comment(_progress(message))
                case Answer():
                    if error := of_answer(message):
                        raise error
                    other = message.partial and not text.may_become(message.text)
                    if not other and (rest := text.finish(message.text)):
                        yield event(reply.chunk({"content": rest}))
                    yield event(reply.last_chunk(message) | (_beside(reply, message) if other else {}))
                    if reply.asked.include_usage:
                        yield event(reply.usage_chunk(message))
                case None:
                    yield comment("waiting")
    except ApiError as error:  # the status has long been sent: clients look for this in the stream
        yield event(error.body)
    yield DONE


def _beside(reply: Reply, answer: Answer) -> dict[str, Any]:
    """Of an answer whose aggregation broke off while it was being sent: what was sent stays, cut; the whole proposal
    that took its place stands beside it, for whoever wants it."""
    return {"moamesh": reply.extension(answer) | {"partial_text": answer.text}}


async def _follow(inquiry: Inquiry, heartbeat_s: float) -> AsyncGenerator[DeviceToUser | None, None]:
    """Yields all that was and will be said; None after each `heartbeat_s` of silence."""
    at = 0
    while True:
        while at < len(inquiry.said):
            yield inquiry.said[at]
            at += 1
        if inquiry.ended:
            if inquiry.error is not None:
                raise inquiry.error
            return
        try:
            async with asyncio.timeout(heartbeat_s):
                await inquiry.news()
        except TimeoutError:
            yield None


def _progress(progress: LayerProgress) -> str:
    return f"layer {progress.layer} of {progress.layer_count}: {len(progress.joined)} of {len(progress.asked)} joined"


class EventStream(Response):
    """Sends a stream of events while its client is there. `close` is called once it is over, however it ended."""

    def __init__(self, parts: AsyncGenerator[bytes, None], close: Callable[[], None], headers: dict[str, str]) -> None:
        self._parts = parts
        self._close = close
        self.status_code = 200
        self.background = None
        self.init_headers(
            headers | {"content-type": MEDIA_TYPE, "cache-control": "no-cache", "x-accel-buffering": "no"}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        try:
            await unless_gone(receive, self._send(send))
        except (ClientGoneError, TimeoutError, OSError):
            pass  # nobody is there to be told
        finally:
            self._close()

    async def _send(self, send: Send) -> None:
        async with aclosing(self._parts) as parts:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for part in parts:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
