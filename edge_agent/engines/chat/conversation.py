"""A server of OpenAI's kind, asked for inferences: requests made to fit its context, and what comes of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, final

import httpx

from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.messages import ChatMessage
from edge_agent.engines.chat.address import ServerAddress
from edge_agent.engines.chat.answer import AnswerReader, Reply
from edge_agent.engines.chat.counting import TokenCounter, told_context
from edge_agent.engines.chat.defusing import Defuser
from edge_agent.engines.chat.fitting import FittedChat, Form, RequestFitter
from edge_agent.engines.template_probe import PROBE, as_it_is, fold_system, shows_system
from edge_agent.engines.thoughts import CLOSING
from edge_agent.ports import InferenceResult

log = logging.getLogger(__name__)

AFTER_END_S = 2.0  # for the counts that follow an answer's end; the answer is here, so nobody waits longer


@final
class Conversation:
    """Infers through `/chat/completions` of one server, streaming.

    client: from `address.connect`; whoever made it closes it.
    model: the server's name for it.
    context_tokens: prompt and references are cut so that they and an answer fit (`fitting`). `None`: nothing is cut.
    more: further fields of each request's body.
    heard: called whenever something has come of an inference.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        address: ServerAddress,
        model: str,
        *,
        context_tokens: int | None,
        instruction: str,
        silence_timeout_s: float,
        more: Callable[[StartInference], Mapping[str, Any]] = lambda request: {},
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._url = address.api
        self._words = address.words
        self._model = model
        self.context_tokens = context_tokens
        self._silence_timeout_s = silence_timeout_s
        self._more = more
        self._heard = heard
        self._counter = TokenCounter(client, address.root)
        self._defuser = Defuser(self._counter.is_control)
        self._instruction = instruction
        self._form: Form | None = None

    async def ask(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        """Infers one item; `on_text` is called with each piece of text. Cancelling closes the connection, which makes
        these servers stop generating.

        Raises:
            EngineError: the server refuses (retryable if it was busy), failed, or is not understood.
            httpx.HTTPError, httpx.StreamError: it was not reached, or the connection broke.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        first_at: float | None = None
        form = self._form or await self._find_form()
        if self._counter.tells is not None:  # else something went wrong: it is tried at the next one again
            self._form = form
        fitted = await RequestFitter(self._counter, self._instruction, form).fit(request, self.context_tokens)
        messages = await self._defuser.defuse(fitted.messages)
        reader = AnswerReader(self._words)
        reply = reader.reply
        body = self._body(request, messages)
        try:
            async with (
                asyncio.timeout(self._silence_timeout_s) as patience,
                self._client.stream("POST", f"{self._url}/chat/completions", json=body) as response,
            ):
                if not response.is_success:
                    raise await self._words.refusal(response)
                async with aclosing(reader.pieces(response)) as pieces:
                    async for piece in pieces:
                        self._heard()
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
        return _result(fitted, reply, (first_at or loop.time()) - started, streamed=on_text is not None)

    async def learn_context(self) -> None:
        """Asks the server which context it has, and takes it where it is the smaller one.

        Raises:
            httpx.HTTPError, httpx.StreamError: it was not reached.
        """
        answer = await self._client.get(f"{self._url}/models")
        with contextlib.suppress(ValueError, RecursionError):
            told = told_context(answer.json(), self._model)
            if told is not None and self.context_tokens is not None:
                self.context_tokens = min(told, self.context_tokens)

    async def _find_form(self) -> Form:
        """How a chat is to be given so that the model's template shows all of it, where the server tells."""
        shown = await self._counter.render(PROBE)
        if self._counter.tells is not True and shown is None:
            return as_it_is
        if shown is not None and shows_system(shown):
            return as_it_is
        folded = await self._counter.render(fold_system(PROBE))
        if folded is None or not shows_system(folded):
            return as_it_is  # it does not tell, or nothing helps
        log.warning("%s: its chat template leaves system messages out; they lead the first turn", self._words.where)
        return fold_system

    def _body(self, request: StartInference, chat: Sequence[ChatMessage]) -> dict[str, Any]:
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
        return body | dict(self._more(request))


def _result(fitted: FittedChat, reply: Reply, first_s: float, *, streamed: bool) -> InferenceResult:
    """Token counts are the server's where it gives them, else estimates: pieces out, bytes in."""
    text, thoughts = "".join(reply.texts), reply.thoughts.text
    if not streamed and not thoughts and CLOSING in text:  # its template has the opening mark; nobody has read it yet
        thoughts, _, text = (part.strip() for part in text.partition(CLOSING))
    return InferenceResult(
        text=text,
        input_tokens=reply.count("prompt_tokens", fitted.tokens),
        output_tokens=reply.count("completion_tokens", len(reply.texts)),
        input_tokens_cut=fitted.tokens_cut,
        time_to_first_token_s=first_s,
        finish_reason=reply.finish_reason,
        reasoning=thoughts,
    )
