"""What the child does with requests: makes prompts of chats, gives each a sequence, has all computed together."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import final

from edge_agent.adapters.llama.batching import Batcher, keep_only
from edge_agent.adapters.llama.chat_template import ChatTemplateProgram, TemplateBoundError
from edge_agent.adapters.llama.job import Job
from edge_agent.adapters.llama.model import Model
from edge_agent.adapters.llama.own_memory import OwnMemory
from edge_agent.adapters.llama.protocol import Cancelled, Failed, FromChild, Infer, Load
from edge_agent.adapters.llama.sequences import Sequences
from edge_agent.core.messages import ChatMessage, Role
from edge_agent.engines.fitting import FittedPrompt, PromptFitter

PLAIN_STOP = "\nUser:"
"""Ends the answer of a base model without chat template, which would go on to write the user's next turn."""


@final
class Generator:
    """A loaded model and the requests that it works on.

    send: takes each message for the parent; flush: has those that were sent go out.
    is_cancelled: whether the parent no longer wants a request.

    Raises:
        ValueError: the model does not load; one line says why.
    """

    def __init__(
        self,
        load: Load,
        memory: OwnMemory,
        send: Callable[[FromChild], None],
        flush: Callable[[], None],
        is_cancelled: Callable[[int], bool],
    ) -> None:
        self._model = Model(load)
        self.context_tokens = self._model.context_tokens
        self._template = ChatTemplate(self._model, memory)
        self._fitter = PromptFitter(self._template.tokenize, self._measure, load.instruction)
        self._sequences = Sequences(load.slots)
        self._batcher = Batcher(self._model, is_cancelled, flush)
        self._waiting: deque[Infer] = deque()
        self._send = send
        self._is_cancelled = is_cancelled

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._batcher.jobs or self._waiting)

    def add(self, request: Infer) -> None:
        """Takes a request; it joins the others as soon as a sequence is free. Exactly one of `Done`, `Cancelled` and
        `Failed` will be sent of it."""
        self._waiting.append(request)

    def step(self) -> list[int]:
        """Computes what is next of every request; returns the ids of those that have ended."""
        ended: list[int] = []
        while self._waiting and self._sequences.free:
            request = self._waiting.popleft()
            if self._is_cancelled(request.id):
                self._send(Cancelled(request.id))
                ended.append(request.id)
            elif not self._begin(request):
                ended.append(request.id)
        for job in self._batcher.step():
            self._sequences.give_back(job.sequence)
            ended.append(job.request.id)
        return ended

    def _begin(self, request: Infer) -> bool:
        """Makes a job of a request; false if it cannot be done, which was sent then."""
        try:
            prompt = self._prompt(request)
        except ValueError as error:
            self._send(Failed(request.id, str(error), retryable=False))
            return False
        except Exception as error:  # a defect in one request costs that one
            self._send(Failed(request.id, f"llama.cpp failed: {type(error).__name__}: {error}", retryable=True))
            return False
        # With a seed from an empty sequence, and an empty cache if nothing else runs: a common prefix computed in other
        # batches, or in other places of the cache, differs in its last bits, and so may the tokens drawn.
        if request.seed is not None and not self._batcher.jobs:
            self._model.clear()
            self._sequences.clear()
        sequence, kept = self._sequences.take(prompt.prompt, afresh=request.seed is not None)
        job = Job(request, prompt, sequence, kept, self._model, self._template.stops, self._send)
        keep_only(self._model, job, kept)
        self._batcher.add(job)
        return True

    def _prompt(self, request: Infer) -> FittedPrompt[list[int]]:
        chat = [ChatMessage(Role(role), content) for role, content in request.messages]
        return self._fitter.fit(chat, request.references, self.context_tokens, request.max_output_tokens)

    def _measure(self, text: str) -> int:
        return len(self._model.tokenize(_utf8(text), add_bos=False, special=False))


class ChatTemplate:
    """Turns a chat into tokens with the model's own template, or a plain one where the model has none.

    The plain one, for base models: the system text, then `User: ...` and `Assistant: ...` paragraphs.
    """

    def __init__(self, model: Model, memory: OwnMemory) -> None:
        self._model = model
        self._bos_text = model.bos_text()
        self._adds_bos = model.adds_bos()
        source = model.template_source()
        self._program = ChatTemplateProgram(source, model.eos_text(), self._bos_text, memory) if source else None
        self.stops = () if self._program else (PLAIN_STOP,)
        spelled = [re.escape(text) for text in model.control_texts() if len(text) > 1]
        self._control_text = re.compile("|".join(spelled)) if spelled else None

    def tokenize(self, chat: Sequence[ChatMessage]) -> list[int]:
        """Applies the template.

        Raises:
            ValueError: the template refuses this chat.
        """
        text = self._render([(message.role.value, self._defuse(message.content)) for message in chat])
        # Many templates write the begin-of-text token themselves; two of them make answers worse.
        add_bos = self._adds_bos and not (self._bos_text and text.startswith(self._bos_text))
        return self._model.tokenize(_utf8(text), add_bos=add_bos, special=True)

    def _defuse(self, content: str) -> str:
        """Breaks up control tokens spelled out in a text: a peer's response must not open turns of its own."""
        if self._control_text is None:
            return content
        return self._control_text.sub(lambda found: f"{found[0][0]} {found[0][1:]}", content)

    def _render(self, chat: Sequence[tuple[str, str]]) -> str:
        if self._program is None:
            return _render_plain(chat)
        try:
            return self._program.render([{"role": role, "content": content} for role, content in chat])
        except TemplateBoundError:
            raise
        except Exception as error:  # templates are programs that come with the model: they may raise anything
            if len(chat) > 1 and chat[0][0] == "system":
                # Some know no system role (Gemma 2): its text then leads the first turn.
                (_, system), (role, first), *rest = chat
                return self._render([(role, f"{system}\n\n{first}"), *rest])
            raise ValueError(f"the model's chat template refuses this chat: {error}") from error


def _render_plain(chat: Sequence[tuple[str, str]]) -> str:
    names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
    return "\n\n".join([names[role] + content for role, content in chat] + ["Assistant:"])


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # lone surrogates, which JSON lets through, become "?"
