"""The engine as the runtime sees it: somebody else's server, which may be away, and come back."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from edge_agent.core.aggregation import AGGREGATION_INSTRUCTION
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.engines.chat import Conversation, ServerAddress, ServerWatch
from edge_agent.engines.chat.counting import told_context
from edge_agent.ports import InferenceResult, ModelCard
from edge_agent.tasks import TaskSupervisor

SILENCE_TIMEOUT_S = 300.0  # between two pieces of an answer; reading a long prompt in makes the first one late


class OpenAIEngine:
    """Infers through `/chat/completions` of a server, streaming.

    base_url: such as `http://127.0.0.1:8080` or `http://127.0.0.1:8080/v1`.
    model: the server's name for it.
    api_key: sent as a bearer token; in no message, log or error of ours.
    context_tokens: prompt and references are cut so that they and an answer fit this context, or the server's where it
        tells that it has less (see `engines.chat.Conversation`). `None`: nothing is cut.
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
        self._address = ServerAddress(base_url, api_key or "")
        self._model = model
        self._card = ModelCard(name=model, family=family)
        self._context_tokens = context_tokens
        self._instruction = instruction
        self._silence_timeout_s = silence_timeout_s
        self.slots = slots
        self._words = self._address.words
        self._on_health: Callable[[str], None] = lambda detail: None
        self._client: httpx.AsyncClient | None = None
        self._conversation: Conversation | None = None
        self._watch: ServerWatch | None = None
        self._tasks = TaskSupervisor("server of the engine")
        self._running = 0

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
        client = self._address.connect(self._silence_timeout_s)
        watch = ServerWatch(client, self._address.api, self._words, lambda: self._running > 0, self._on_health)
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
        self._conversation = Conversation(
            client,
            self._address,
            self._model,
            context_tokens=self._context_tokens,
            instruction=self._instruction,
            silence_timeout_s=self._silence_timeout_s,
        )
        self._tasks.keep("watch", watch.run)

    async def infer(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        """Infers one item.

        Raises:
            EngineError: retryable if the server was not reached, was busy, failed or broke off; else its refusal, or
                that it is known to be away.
        """
        conversation, watch = self._conversation, self._watch
        if conversation is None or watch is None:
            raise EngineError("the engine is not running", retryable=False)
        if watch.trouble:
            raise EngineError(watch.trouble, retryable=False)
        if self._context_tokens is not None:
            told = told_context(watch.models, self._model)
            conversation.context_tokens = min(self._context_tokens, told or self._context_tokens)
        self._running += 1
        try:
            result = await conversation.ask(request, on_text if request.stream else None)
        except httpx.ConnectError as error:
            refused = self._words.absent(error)
            watch.tell(refused.detail)
            raise refused from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._words.broke_off(error) from error
        finally:
            self._running -= 1
        watch.answered()
        return result

    async def stop(self) -> None:
        """Ends the watch and closes the connections."""
        await self._tasks.stop()
        client, self._client, self._conversation, self._watch = self._client, None, None, None
        if client is not None:
            await client.aclose()
