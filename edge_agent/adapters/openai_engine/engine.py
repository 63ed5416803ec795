"""The engine as the runtime sees it: chats as a server of OpenAI's kind takes them, results, and whether it is well."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import httpx

from edge_agent.adapters.openai_engine.answer import AnswerReader, Reply
from edge_agent.adapters.openai_engine.watch import ServerWatch
from edge_agent.adapters.openai_engine.words import ServerWords
from edge_agent.core.aggregation import AGGREGATION_INSTRUCTION, build_chat, cut_references
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.ports import InferenceResult, ModelCard
from edge_agent.tasks import TaskSupervisor

CONNECT_TIMEOUT_S = 5.0  # servers stand next to the device
SILENCE_TIMEOUT_S = 300.0  # between two pieces of an answer; reading a long prompt in makes the first one late
AFTER_END_S = 2.0  # for the counts that follow an answer's end; the answer is here, so nobody waits longer
PORT_MAX = 65_535
BYTES_PER_TOKEN = 3.0  # estimate on the safe side; English has about 4, other scripts less
CHAT_OVERHEAD_TOKENS = 16  # a chat template around system and user message
OUTPUT_SHARE_MAX = 0.5  # of the context for the answer, where prompt and answer do not both fit


class OpenAIEngine:
    """Infers through `/chat/completions` of a server, streaming.

    base_url: such as `http://127.0.0.1:8080` or `http://127.0.0.1:8080/v1`.
    model: the server's name for it.
    api_key: sent as a bearer token; in no message, log or error of ours.
    context_tokens: references are cut so that prompt and answer should fit this context. Tokens are estimated from
        bytes, the server's tokenizer being unknown. `None`: nothing is cut.
    slots: requests that the server is given at once; how many it works on at once is its own affair.
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
        slots: int = 1,
    ) -> None:
        self.slots = slots
        root = base_url.rstrip("/")
        self._url = root if root.endswith("/v1") else f"{root}/v1"
        self._model = model
        self._card = ModelCard(name=model, family=family)
        self._api_key = api_key or ""
        self._context_tokens = context_tokens
        self._instruction = instruction
        self._silence_timeout_s = silence_timeout_s
        self._words = ServerWords(self._url, self._api_key)
        self._on_health: Callable[[str], None] = lambda detail: None
        self._client: httpx.AsyncClient | None = None
        self._watch: ServerWatch | None = None
        self._tasks = TaskSupervisor("server of the engine")
        self._inferring = 0

    @property
    def card(self) -> ModelCard:
        """The model's name on the server."""
        return self._card

    def watch(self, on_health: Callable[[str], None]) -> None:
        """Has `on_health` told when the server is away, and when it is back."""
        self._on_health = on_health

    async def start(self) -> None:
        """Asks the server once. One that is not there yet is waited for in the background: a device boots before its
        server, and outlives its restarts.

        Raises:
            EngineError: the server is there and refuses, or the settings name none: somebody must mend them.
        """
        if self._client is not None:
            return
        client = self._connect()
        watch = ServerWatch(client, self._url, self._words, lambda: self._inferring > 0, self._on_health)
        try:
            await watch.look()
        except EngineError as error:
            if not error.retryable:
                await client.aclose()
                raise
            watch.tell(error.detail)
        except BaseException:
            await client.aclose()
            raise
        self._client, self._watch = client, watch
        self._tasks.keep("watch", watch.run)

    async def infer(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        """Infers one item. Cancelling closes the connection, which makes these servers stop generating.

        Raises:
            EngineError: retryable if the server was not reached, was busy, failed or broke off; else its refusal, or
                that it is known to be away.
        """
        client, watch = self._client, self._watch
        if client is None or watch is None:
            raise EngineError("the engine is not running", retryable=False)
        if watch.trouble:
            raise EngineError(watch.trouble, retryable=False)
        self._inferring += 1
        try:
            result = await self._ask(client, request, on_text if request.stream else None)
        except httpx.ConnectError as error:
            refused = self._words.absent(error)
            watch.tell(refused.detail)
            raise refused from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._words.broke_off(error) from error
        finally:
            self._inferring -= 1
        watch.answered()
        return result

    async def stop(self) -> None:
        """Ends the watch and closes the connections."""
        await self._tasks.stop()
        client, self._client, self._watch = self._client, None, None
        if client is not None:
            await client.aclose()

    def _connect(self) -> httpx.AsyncClient:
        # Packed answers are not asked for: a token is small, and what is packed may unpack to any size.
        headers = {"Accept-Encoding": "identity"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        try:
            port = httpx.URL(self._url).port
            if port is not None and not 0 < port <= PORT_MAX:
                raise EngineError(f"base_url {self._url}: its port is not a number up to {PORT_MAX}", retryable=False)
            timeout = httpx.Timeout(self._silence_timeout_s, connect=CONNECT_TIMEOUT_S)
            return httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False)
        except httpx.InvalidURL as error:
            raise EngineError(f"base_url {self._url} is no URL: {self._words.why(error)}", retryable=False) from None
        except UnicodeEncodeError:
            raise EngineError(
                "the API key contains characters that no key can have; was it copied correctly?", retryable=False
            ) from None

    async def _ask(
        self, client: httpx.AsyncClient, request: StartInference, on_text: Callable[[str], None] | None
    ) -> InferenceResult:
        """Sends the chat and reads the answer. `on_text` is called with each piece of text."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        first_at: float | None = None
        references, tokens_cut = self._cut(request)
        reader = AnswerReader(self._words)
        reply = reader.reply
        body = self._body(request, references)
        try:
            async with (
                asyncio.timeout(self._silence_timeout_s) as patience,
                client.stream("POST", f"{self._url}/chat/completions", json=body) as response,
            ):
                if not response.is_success:
                    raise await self._words.refusal(response)
                async with aclosing(reader.pieces(response)) as pieces:
                    async for piece in pieces:
                        if reply.finished:
                            patience.reschedule(min(loop.time() + AFTER_END_S, patience.when() or math.inf))
                        elif piece.progress:
                            patience.reschedule(loop.time() + self._silence_timeout_s)
                        if piece.text:
                            first_at = first_at or loop.time()
                            if on_text is not None:
                                on_text(piece.text)
        except TimeoutError:
            if not reply.finished:
                raise self._words.silent(self._silence_timeout_s) from None
        except (httpx.HTTPError, EngineError):
            if not reply.finished:  # else the answer is here, and only its counts are not
                raise
        return self._result(request, references, reply, tokens_cut, (first_at or loop.time()) - started)

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
        self, request: StartInference, references: tuple[str, ...], reply: Reply, tokens_cut: int, first_s: float
    ) -> InferenceResult:
        """Token counts are the server's where it gives them, else estimates: pieces out, bytes in."""
        chat = build_chat(request.messages, references, self._instruction)
        estimate_in = sum(estimate_tokens(message.content) for message in chat)
        return InferenceResult(
            text="".join(reply.texts),
            input_tokens=reply.count("prompt_tokens", estimate_in),
            output_tokens=reply.count("completion_tokens", len(reply.texts)),
            input_tokens_cut=tokens_cut,
            time_to_first_token_s=first_s,
        )


def estimate_tokens(text: str) -> int:
    """Tokens of a text for a model whose tokenizer is not at hand; rather too many than too few."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)
