"""Reads an answer off the wire: server-sent events, or one JSON object from servers that do not stream.

A server may send anything. Sizes are bounded, types are looked at, and what only decorates an answer (counts) is left
out where it makes no sense; what is the answer and makes none is an `EngineError`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx

from edge_agent.core.errors import EngineError
from edge_agent.core.provenance import FinishReason
from edge_agent.engines.chat.words import ServerWords
from edge_agent.engines.thoughts import Thoughts

EVENT_BYTES_MAX = 1024 * 1024  # of one line of the stream, which holds a token or a few; also of an unstreamed answer
STREAM_BYTES_MAX = 16 * 1024 * 1024  # of one answer: 8,192 tokens in events of 2 KB, several times what servers send
TEXT_BYTES_MAX = 256 * 1024  # of an answer's text: eight times what the mesh passes on; a server may ignore max_tokens
TOKENS_MAX = 2**31  # of a count that is believed; no context is near it
JSON_ERRORS = (ValueError, RecursionError)  # brackets within brackets without end exhaust the reader's stack
_THOUGHTS = ("reasoning_content", "reasoning")  # llama.cpp, vLLM, DeepSeek; Ollama, OpenRouter
_STREAM_FIELDS = (b":", b"event:", b"id:", b"retry:")  # of server-sent events, beside data


@dataclass(slots=True)
class Reply:
    """What has come of an answer so far."""

    texts: list[str] = field(default_factory=list)
    text_bytes: int = 0
    usage: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    """The server said that this is the end; what still comes (usage) only decorates it."""
    finish_reason: FinishReason = FinishReason.STOP
    thoughts: Thoughts = field(default_factory=Thoughts)

    def count(self, name: str, estimate: int) -> int:
        """Returns the server's count of tokens, or the estimate where it gives none that can be true."""
        given = self.usage.get(name)
        believable = isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= TOKENS_MAX
        return given if believable and given is not None else estimate


@dataclass(frozen=True, slots=True)
class Piece:
    """One step of an answer: some text, which may be empty. `progress` if the model did something for it."""

    text: str
    progress: bool


class AnswerReader:
    """Reads the answer of one response into `reply`."""

    def __init__(self, words: ServerWords) -> None:
        self._words = words
        self.reply = Reply()
        self._events = 0
        self._stray = b""

    async def pieces(self, response: httpx.Response) -> AsyncGenerator[Piece, None]:
        """Yields the answer piece by piece until its end, or until it is larger than an answer may be.

        Raises:
            EngineError: it is no answer, or one of unreasonable size, or it ended half-way (retryable).
            httpx.HTTPError: the connection broke before the end.
        """
        packing = response.headers.get("content-encoding", "identity").strip().lower()
        if packing not in ("", "identity"):  # not asked for; unpacked, a few bytes may become gigabytes
            raise self._words.not_understood(f"it compresses its answer ({packing}), though that was not asked for")
        async with aclosing(self._lines(response)) as lines:
            async for line in lines:
                piece = self._take(line)
                if piece is None:
                    break
                yield self._note(piece)
                if self.reply.text_bytes > TEXT_BYTES_MAX:
                    self.reply.finished, self.reply.finish_reason = True, FinishReason.LENGTH
                    break
        if not self.reply.finished and not self._events and self._stray.strip():
            yield self._note(self._whole(self._stray))
        if not self.reply.finished:
            raise EngineError("the server ended its answer too early", retryable=True)
        if rest := self.reply.thoughts.finish():
            yield self._note(Piece(rest, progress=True))

    def _note(self, piece: Piece) -> Piece:
        if piece.text:
            self.reply.texts.append(piece.text)
            self.reply.text_bytes += len(piece.text.encode("utf-8", "replace"))
        return piece

    async def _lines(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """Splits at newlines only. httpx's own lines also end at U+2028 and the like, which may stand inside JSON."""
        rest = b""
        total = 0
        async for block in response.aiter_raw():
            total += len(block)
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                yield line
            if len(rest) > EVENT_BYTES_MAX or total > STREAM_BYTES_MAX:
                raise self._words.not_understood("it sends events, or an answer, of unreasonable size")
        if rest:
            yield rest

    def _take(self, line: bytes) -> Piece | None:
        """Reads one line; `None` at the end of the stream."""
        if not line.startswith(b"data:"):
            if line.strip() and not line.startswith(_STREAM_FIELDS):
                self._stray += line + b"\n"  # no event stream, perhaps an answer in one piece
                if len(self._stray) > EVENT_BYTES_MAX:
                    raise self._words.not_understood("it sends something other than an answer")
            return Piece("", progress=False)
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            self.reply.finished = self.reply.finished or bool(self._events)
            return None
        self._events += 1
        return self._event(self._object(data), "delta")

    def _whole(self, body: bytes) -> Piece:
        """Reads an answer that was not streamed."""
        return self._event(self._object(body), "message")

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            event = json.loads(data)
        except JSON_ERRORS:
            raise self._words.not_understood(f"no JSON in {data[:120].decode('utf-8', 'replace')!r}") from None
        if not isinstance(event, dict):
            raise self._words.not_understood("an event is not an object")
        if event.get("error"):
            raise self._words.failed(event["error"])
        return event

    def _event(self, event: dict[str, Any], holder: str) -> Piece:
        """Takes the text, and notes usage and end. `holder` is where the text stands in a choice."""
        if isinstance(event.get("usage"), dict):
            self.reply.usage = event["usage"]
        choices = event.get("choices") or []
        if not choices:
            if holder == "message":
                raise self._words.not_understood("its answer has no choices")
            return Piece("", progress=False)
        choice = choices[0] if isinstance(choices, list) else None
        if not isinstance(choice, dict):
            raise self._words.not_understood("a choice is not an object")
        said = choice.get(holder) or {}
        if not isinstance(said, dict):
            raise self._words.not_understood(f"{holder} is no object")
        reason = choice.get("finish_reason")
        if reason == "error":
            raise self._words.failed("its model stopped early")
        # Thoughts are no text of the answer, but a sign that the model is at work.
        progress = any(isinstance(value, str) and value for value in said.values())
        self.reply.thoughts.add(next((said[name] for name in _THOUGHTS if isinstance(said.get(name), str)), ""))
        piece = Piece(self.reply.thoughts.push(self._text(said.get("content"))), progress)
        if reason == FinishReason.LENGTH:
            self.reply.finish_reason = FinishReason.LENGTH
        # Not every server sends [DONE]; the reason for finishing is an end as well.
        self.reply.finished = self.reply.finished or reason is not None or holder == "message"
        return piece

    def _text(self, content: object) -> str:
        """The text of a `content`: a string, nothing, or a list of parts of which some are text."""
        if content is None or isinstance(content, str):
            return content or ""
        if isinstance(content, list) and all(isinstance(part, dict) for part in content):
            texts = [part.get("text") for part in content if part.get("type", "text") == "text"]
            if all(isinstance(text, str) for text in texts):
                return "".join(str(text) for text in texts)
        raise self._words.not_understood("content is not text")
