"""Makes prompt and references fit the context of the model, giving up the least useful text first. Pure.

In this order: the ends of references, the longest first; all references; the oldest turns of the chat; the beginning of
the last turn; the end of an oversized system message. The system message and what the user asked last stay longest.

A chat that fits is never cut for the sake of a longer answer: the answer has what is left, down to `ANSWER_TOKENS_MIN`.
Only what has to be cut anyway, and references, leave room for as much as was asked for, up to half of the context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, final

from edge_agent.core.aggregation import MeasureText, build_chat, cut_references, keep_end, keep_start
from edge_agent.core.messages import ChatMessage, Role

Rendered = TypeVar("Rendered", bound=Sized)
"""A chat as a model is given it; its length is what it takes of the context, in tokens."""

ANSWER_TOKENS_MIN = 64  # of an answer that was asked to be as long: a short paragraph
ANSWER_SHARE_MAX = 0.5  # of the context for the answer, where prompt and answer do not both fit
ATTEMPTS_MAX = 8  # tokens of parts don't add up exactly; the excess is a few tokens and is gone after one or two tries
SYSTEM_SHARE_MAX = 0.5  # of the context for a system message, once it has to give: the user's words need the rest


@final
@dataclass(frozen=True, slots=True)
class FittedPrompt(Generic[Rendered]):
    """A prompt ready to infer, and how many more tokens it would have had uncut."""

    prompt: Rendered
    tokens_cut: int


@dataclass(frozen=True, slots=True)
class PromptFitter(Generic[Rendered]):
    """Cuts for one model and one instruction.

    render: applies the chat template.
    """

    render: Callable[[Sequence[ChatMessage]], Rendered]
    measure: MeasureText
    instruction: str

    def fit(
        self, chat: Sequence[ChatMessage], references: Sequence[str], context_tokens: int, output_tokens_max: int
    ) -> FittedPrompt[Rendered]:
        """Returns the prompt so that at most `output_tokens_max` tokens of answer fit beside it into the context, or
        some of them.

        Raises:
            ValueError: the chat is empty, or not even its template fits.
        """
        if not chat:
            raise ValueError("the prompt has no messages")
        roomy, tight = prompt_bounds(context_tokens, output_tokens_max)
        full = self.render(build_chat(chat, references, self.instruction))
        for prompt in self._forms(chat, references, full, roomy, tight):
            if prompt is not None:
                return FittedPrompt(prompt, max(0, len(full) - len(prompt)))
        raise ValueError(f"no prompt fits into the {roomy} tokens that the context leaves for it")

    def _forms(
        self, chat: Sequence[ChatMessage], references: Sequence[str], full: Rendered, roomy: int, tight: int
    ) -> Iterator[Rendered | None]:
        """Shorter and shorter ones; `None` where a way of cutting comes to nothing."""
        yield full if len(full) <= (roomy if references else tight) else None
        if references:
            yield self._shorten_references(chat, references, roomy)
            yield self._shorten_references(chat, references, tight)
            bare = self.render(chat)
            yield bare if len(bare) <= tight else None
        yield self._drop_oldest_turns(chat, roomy)
        yield self._shorten_last_turn(chat, roomy)

    def _shorten_references(
        self, chat: Sequence[ChatMessage], references: Sequence[str], budget: int
    ) -> Rendered | None:
        def with_references_of(left: int) -> Rendered:
            texts = cut_references(references, left, self.measure).texts
            return self.render(build_chat(chat, texts, self.instruction))

        frame = self.render(build_chat(chat, [""] * len(references), self.instruction))
        return _shrink(with_references_of, budget - len(frame), budget)

    def _drop_oldest_turns(self, chat: Sequence[ChatMessage], budget: int) -> Rendered | None:
        system, turns = _split_system(chat)
        # A chat begins with the user: templates insist on it.
        starts = [index for index, turn in enumerate(turns) if turn.role is Role.USER] or [len(turns) - 1]
        low, high = 0, len(starts)
        while low < high:  # the fewest dropped turns that fit, by bisection: a chat may have thousands of turns
            middle = (low + high) // 2
            if len(self.render([*system, *turns[starts[middle] :]])) <= budget:
                high = middle
            else:
                low = middle + 1
        return self.render([*system, *turns[starts[low] :]]) if low < len(starts) else None

    def _shorten_last_turn(self, chat: Sequence[ChatMessage], budget: int) -> Rendered | None:
        system, turns = _split_system(chat)
        last = next((turn for turn in reversed(turns) if turn.role is Role.USER), turns[-1])
        system_max = int(budget * SYSTEM_SHARE_MAX)
        if system and self.measure(system[0].content) > system_max:
            system = [replace(system[0], content=keep_start(system[0].content, system_max, self.measure))]

        def with_end_of(left: int) -> Rendered:
            return self.render([*system, replace(last, content=keep_end(last.content, left, self.measure))])

        frame = self.render([*system, replace(last, content="")])
        return _shrink(with_end_of, budget - len(frame), budget)


def prompt_bounds(context_tokens: int, output_tokens_max: int) -> tuple[int, int]:
    """Returns how many tokens a prompt may have that leaves room for the answer asked for (up to half of the context),
    and one that leaves the least room that an answer is given."""
    wanted = min(output_tokens_max, int(context_tokens * ANSWER_SHARE_MAX))
    return context_tokens - wanted, context_tokens - min(wanted, ANSWER_TOKENS_MIN)


def _split_system(chat: Sequence[ChatMessage]) -> tuple[list[ChatMessage], list[ChatMessage]]:
    """The system message, if any, and the turns; a chat of a system message alone counts as a turn."""
    if len(chat) > 1 and chat[0].role is Role.SYSTEM:
        return [chat[0]], list(chat[1:])
    return [], list(chat)


def _shrink(rendered_for: Callable[[int], Rendered], left: int, budget: int) -> Rendered | None:
    """Tries `left` tokens for the variable part, and less by the excess until the whole fits the budget."""
    for _ in range(ATTEMPTS_MAX):
        if left <= 0:
            return None
        rendered = rendered_for(left)
        if len(rendered) <= budget:
            return rendered
        left -= len(rendered) - budget
    return None
