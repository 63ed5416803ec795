"""Makes a request fit a server's context: counted by a server that tells how it counts, else estimated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from edge_agent.core.aggregation import build_chat, cut_references
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.messages import ChatMessage
from edge_agent.engines.chat.counting import CHAT_OVERHEAD_TOKENS, TokenCounter, byte_count, estimate_tokens
from edge_agent.engines.fitting import PromptFitter, prompt_bounds
from edge_agent.engines.template_probe import as_it_is

Form = Callable[[Sequence[ChatMessage]], Sequence[ChatMessage]]

ATTEMPTS_MAX = 4  # of cutting to a length that the server counts after: the estimate is corrected each time


@final
@dataclass(frozen=True, slots=True)
class FittedChat:
    """What is sent. `tokens`: counted or estimated."""

    messages: tuple[ChatMessage, ...]
    tokens_cut: int
    tokens: int

    def __len__(self) -> int:
        return self.tokens


@final
class RequestFitter:
    """Fits requests for one server. What cannot be counted exactly costs references alone: an estimate may be too
    high, and a prompt that the server can't take it refuses itself.

    form: how a chat is given to this server.
    """

    def __init__(self, counter: TokenCounter, instruction: str, form: Form = as_it_is) -> None:
        self._counter = counter
        self._instruction = instruction
        self._form = form

    async def fit(self, request: StartInference, context_tokens: int | None) -> FittedChat:
        """Returns the chat to send, so that it and an answer fit into the context; `None`: nothing is cut.

        Raises:
            EngineError: nothing that is worth sending fits.
        """
        chat = self._build(request, request.references)
        if context_tokens is None:
            return FittedChat(chat, 0, _texts(chat))
        roomy, tight = prompt_bounds(context_tokens, request.sampling.max_output_tokens)
        if _most(chat) <= roomy:  # whatever its tokenizer
            return FittedChat(chat, 0, _texts(chat))
        counted = await self._counter.count(chat)
        if counted is None:
            return self._cut_references(request, roomy)
        if counted <= (roomy if request.references else tight):
            return FittedChat(chat, 0, counted)
        return await self._cut_as_counted(request, counted, counted / max(1, _estimate(chat)), context_tokens)

    def _cut_references(self, request: StartInference, roomy: int) -> FittedChat:
        empty = self._build(request, [""] * len(request.references))
        cut = cut_references(request.references, roomy - _estimate(empty), estimate_tokens)
        chat = self._build(request, cut.texts)
        return FittedChat(chat, cut.tokens_cut, _texts(chat))

    async def _cut_as_counted(
        self, request: StartInference, counted: int, scale: float, context_tokens: int
    ) -> FittedChat:
        """Cuts by estimates, which are corrected by what the server counts. `scale`: its tokens to one estimated."""
        output_max = request.sampling.max_output_tokens
        roomy, tight = prompt_bounds(context_tokens, output_max)
        spare = 0
        for _ in range(ATTEMPTS_MAX):
            try:
                fitted = self._fitter(scale).fit(
                    request.messages, request.references, context_tokens - spare, output_max
                )
            except ValueError as error:
                raise EngineError(str(error), retryable=False) from None
            messages = fitted.prompt.messages
            tokens = await self._counter.count(messages)
            if tokens is None:
                break
            if tokens <= tight:
                return FittedChat(messages, max(0, counted - tokens), tokens)
            spare += tokens - roomy
        raise EngineError(f"no prompt fits into the {context_tokens} tokens of the server's context", retryable=False)

    def _build(self, request: StartInference, references: Sequence[str]) -> tuple[ChatMessage, ...]:
        return tuple(self._form(build_chat(request.messages, references, self._instruction)))

    def _fitter(self, scale: float) -> PromptFitter[FittedChat]:
        def render(chat: Sequence[ChatMessage]) -> FittedChat:
            formed = tuple(self._form(chat))
            return FittedChat(formed, 0, math.ceil(scale * _estimate(formed)))

        def measure(text: str) -> int:
            return math.ceil(scale * estimate_tokens(text))

        return PromptFitter(render, measure, self._instruction)


def _texts(chat: Sequence[ChatMessage]) -> int:
    return sum(estimate_tokens(message.content) for message in chat)


def _estimate(chat: Sequence[ChatMessage]) -> int:
    """With the template around them."""
    return _texts(chat) + CHAT_OVERHEAD_TOKENS * len(chat)


def _most(chat: Sequence[ChatMessage]) -> int:
    """Tokens that a chat has at most."""
    return sum(byte_count(message.content) + CHAT_OVERHEAD_TOKENS for message in chat)
