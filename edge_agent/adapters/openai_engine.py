"""An engine that is any server speaking OpenAI's chat completions: llama-server, Ollama, vLLM."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from edge_agent.core.aggregation import AGGREGATION_INSTRUCTION, build_chat, cut_references
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.ports import InferenceResult, ModelCard

CONNECT_TIMEOUT_S = 5.0  # servers stand next to the device
SILENCE_TIMEOUT_S = 300.0  # between two pieces of an answer; reading a long prompt in makes the first one late
BYTES_PER_TOKEN = 3.0  # estimate on the safe side; English has about 4, other scripts less
DETAIL_CHARACTERS_MAX = 300  # of a server's error text: enough to see why
EVENT_BYTES_MAX = 1024 * 1024  # of one line of the stream, which holds a token or a few
CHAT_OVERHEAD_TOKENS = 16  # a chat template around system and user message
OUTPUT_SHARE_MAX = 0.5  # of the context for the answer, where prompt and answer do not both fit


@dataclass(slots=True)
class _Reply:
    """What has come of an answer so far."""

    texts: list[str] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    first_at: float | None = None


class OpenAIEngine:
    """Infers through `/chat/completions` of a server, streaming.

    base_url: such as `http://127.0.0.1:8080` or `http://127.0.0.1:8080/v1`.
    model: the server's name for it.
    api_key: sent as a bearer token; in no message, log or error of ours.
    context_tokens: references are cut so that prompt and answer should fit this context. Tokens are estimated from
        bytes, the server's tokenizer being unknown. `None`: nothing is cut.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        *,
        family: str = "unknown",
        context_tokens: int | None = 4096,
        instruction: str = AGGREGATION_INSTRUCTION,
        silence_timeout_s: float = SILENCE_TIMEOUT_S,
    ) -> None:
        root = base_url.rstrip("/")
        self._url = root if root.endswith("/v1") else f"{root}/v1"
        self._model = model
        self._card = ModelCard(name=model, family=family)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._context_tokens = context_tokens
        self._instruction = instruction
        self._timeout = httpx.Timeout(silence_timeout_s, connect=CONNECT_TIMEOUT_S)
        self._client: httpx.AsyncClient | None = None

    @property
    def card(self) -> ModelCard:
        """The model's name on the server."""
        return self._card

    async def start(self) -> None:
        """Checks that the server answers.

        Raises:
            EngineError: nobody answers there, or not with success.
        """
        if self._client is not None:
            return
        client = httpx.AsyncClient(headers=self._headers, timeout=self._timeout, trust_env=False)
        try:
            response = await client.get(f"{self._url}/models", timeout=CONNECT_TIMEOUT_S)
            if response.is_error:
                raise EngineError(_refusal(self._url, response.status_code, response.text), retryable=False)
        except httpx.HTTPError as error:
            await client.aclose()
            raise EngineError(f"no server answers at {self._url}: {_why(error)}", retryable=False) from error
        except BaseException:
            await client.aclose()
            raise
        self._client = client

    async def infer(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        """Infers one item. Cancelling closes the connection, which makes these servers stop generating.

        Raises:
            EngineError: retryable if the server was not reached, was busy, failed or broke off; else its refusal.
        """
        if self._client is None:
            raise EngineError("the engine is not running", retryable=False)
        loop = asyncio.get_running_loop()
        started = loop.time()
        references, tokens_cut = self._cut(request)
        reply = _Reply()
        try:
            async with self._client.stream(
                "POST", f"{self._url}/chat/completions", json=self._body(request, references)
            ) as response:
                if response.is_error:
                    detail = (await response.aread()).decode("utf-8", "replace")
                    retryable = response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error
                    raise EngineError(_refusal(self._url, response.status_code, detail), retryable=retryable)
                async for text in _texts(response, reply):
                    reply.first_at = reply.first_at or loop.time()
                    if request.stream and on_text is not None:
                        on_text(text)
        except httpx.HTTPError as error:
            raise EngineError(f"the server at {self._url} broke off: {_why(error)}", retryable=True) from error
        if not reply.finished:
            raise EngineError(f"the server at {self._url} ended its answer half-way", retryable=True)
        return self._result(request, references, reply, tokens_cut, (reply.first_at or loop.time()) - started)

    async def stop(self) -> None:
        """Closes the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _body(self, request: StartInference, references: tuple[str, ...]) -> dict[str, Any]:
        chat = build_chat(request.messages, references, self._instruction)
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": message.role.value, "content": message.content} for message in chat],
            "max_tokens": sampling.max_output_tokens,
            "temperature": sampling.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        return body

    def _cut(self, request: StartInference) -> tuple[tuple[str, ...], int]:
        """The references that should fit, and the estimated tokens left out. The prompt itself is never cut here:
        a server that can't take it says so."""
        if self._context_tokens is None or not request.references:
            return request.references, 0
        chat = build_chat(request.messages, [""] * len(request.references), self._instruction)
        prompt_tokens = sum(estimate_tokens(message.content) + CHAT_OVERHEAD_TOKENS for message in chat)
        output_max = min(request.sampling.max_output_tokens, int(self._context_tokens * OUTPUT_SHARE_MAX))
        cut = cut_references(request.references, self._context_tokens - output_max - prompt_tokens, estimate_tokens)
        return cut.texts, cut.tokens_cut

    def _result(
        self, request: StartInference, references: tuple[str, ...], reply: _Reply, tokens_cut: int, first_s: float
    ) -> InferenceResult:
        """Token counts are the server's where it gives them, else estimates: pieces out, bytes in."""
        chat = build_chat(request.messages, references, self._instruction)
        estimate_in = sum(estimate_tokens(message.content) for message in chat)
        return InferenceResult(
            text="".join(reply.texts),
            input_tokens=_count(reply.usage.get("prompt_tokens"), estimate_in),
            output_tokens=_count(reply.usage.get("completion_tokens"), len(reply.texts)),
            input_tokens_cut=tokens_cut,
            time_to_first_token_s=first_s,
        )


def estimate_tokens(text: str) -> int:
    """Tokens of a text for a model whose tokenizer is not at hand; rather too many than too few."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


async def _texts(response: httpx.Response, reply: _Reply) -> AsyncIterator[str]:
    """Yields the pieces of an answer out of its server-sent events, and notes usage and end."""
    async for line in _lines(response):
        if not line.startswith(b"data:"):
            continue  # comments, and the blank lines between events
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            reply.finished = True
            return
        text = _take_event(data, reply)
        if text:
            reply.texts.append(text)
            yield text


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """Splits at newlines only. httpx's own lines also end at U+2028 and the like, which may stand inside of JSON."""
    rest = b""
    async for block in response.aiter_bytes():
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > EVENT_BYTES_MAX:
            raise EngineError("the server sends events of unreasonable size", retryable=False)
    if rest:
        yield rest


def _take_event(data: bytes, reply: _Reply) -> str:
    """Reads one event; returns its text."""
    try:
        event = json.loads(data)
        if event.get("error"):
            raise EngineError(f"the server failed: {str(event['error'])[:DETAIL_CHARACTERS_MAX]}", retryable=True)
        reply.usage = event.get("usage") or reply.usage
        choices = event.get("choices") or []
        if not choices:
            return ""
        # Not every server sends [DONE]; the reason for finishing is an end as well.
        reply.finished = reply.finished or choices[0].get("finish_reason") is not None
        return str((choices[0].get("delta") or {}).get("content") or "")
    except (ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
        raise EngineError(f"the server's stream is not understood: {error!r}", retryable=False) from error


def _count(given: object, estimate: int) -> int:
    return given if isinstance(given, int) and given >= 0 else estimate


def _refusal(url: str, status: int, body: str) -> str:
    """One line with the server's own words, where it has any."""
    try:
        error = json.loads(body)["error"]
        words = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        words = body
    words = " ".join(words.split())[:DETAIL_CHARACTERS_MAX]
    return f"the server at {url} answers {status}" + (f": {words}" if words else "")


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
