"""Makes prompt and references fit the context of the model, giving up the least useful text first. Pure.

In this order: the ends of references, the longest first; all references; the oldest turns of the chat; the beginning of
the last turn; the end of an oversized system message. The system message and what the user asked last stay longest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edge_agent.core.aggregation import MeasureText, build_chat, cut_references, keep_end, keep_start
from edge_agent.core.messages import ChatMessage, Role

TokenizeChat = Callable[[Sequence[ChatMessage]], list[int]]
"""Applies the chat template and returns the prompt's tokens."""

ATTEMPTS_MAX = 8  # tokens of parts don't add up exactly; the excess is a few tokens and is gone after one or two tries
SYSTEM_SHARE_MAX = 0.5  # of the context for a system message, once it has to give: the user's words need the rest


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """Tokens ready to infer, and how many more the uncut prompt would have had."""

    tokens: list[int]
    tokens_cut: int


@dataclass(frozen=True, slots=True)
class PromptFitter:
    """Cuts for one model and one instruction."""

    tokenize_chat: TokenizeChat
    measure: MeasureText
    instruction: str

    def fit(self, chat: Sequence[ChatMessage], references: Sequence[str], budget_tokens: int) -> FittedPrompt:
        """Returns the prompt in at most `budget_tokens` tokens.

        Raises:
            ValueError: the chat is empty, or not even its template fits the budget.
        """
        if not chat:
            raise ValueError("the prompt has no messages")
        full = self.tokenize_chat(build_chat(chat, references, self.instruction))
        if len(full) <= budget_tokens:
            return FittedPrompt(full, 0)
        for shorten in (self._shorten_references, self._drop_oldest_turns, self._shorten_last_turn):
            tokens = shorten(chat, references, budget_tokens)
            if tokens is not None:
                return FittedPrompt(tokens, max(0, len(full) - len(tokens)))
        raise ValueError(f"no prompt fits into the {budget_tokens} tokens that the context leaves for it")

    def _shorten_references(
        self, chat: Sequence[ChatMessage], references: Sequence[str], budget: int
    ) -> list[int] | None:
        if not references:
            return None

        def with_references_of(left: int) -> list[int]:
            texts = cut_references(references, left, self.measure).texts
            return self.tokenize_chat(build_chat(chat, texts, self.instruction))

        frame = self.tokenize_chat(build_chat(chat, [""] * len(references), self.instruction))
        return _shrink(with_references_of, budget - len(frame), budget)

    def _drop_oldest_turns(
        self, chat: Sequence[ChatMessage], references: Sequence[str], budget: int
    ) -> list[int] | None:
        del references  # given up before any of the chat is
        system, turns = _split_system(chat)
        # A chat begins with the user: templates insist on it.
        starts = [index for index, turn in enumerate(turns) if turn.role is Role.USER] or [len(turns) - 1]
        low, high = 0, len(starts)
        while low < high:  # the fewest dropped turns that fit, by bisection: a chat may have thousands of turns
            middle = (low + high) // 2
            if len(self.tokenize_chat([*system, *turns[starts[middle] :]])) <= budget:
                high = middle
            else:
                low = middle + 1
        return self.tokenize_chat([*system, *turns[starts[low] :]]) if low < len(starts) else None

    def _shorten_last_turn(
        self, chat: Sequence[ChatMessage], references: Sequence[str], budget: int
    ) -> list[int] | None:
        del references
        system, turns = _split_system(chat)
        last = next((turn for turn in reversed(turns) if turn.role is Role.USER), turns[-1])
        system_max = int(budget * SYSTEM_SHARE_MAX)
        if system and self.measure(system[0].content) > system_max:
            system = [replace(system[0], content=keep_start(system[0].content, system_max, self.measure))]

        def with_end_of(left: int) -> list[int]:
            return self.tokenize_chat([*system, replace(last, content=keep_end(last.content, left, self.measure))])

        frame = self.tokenize_chat([*system, replace(last, content="")])
        return _shrink(with_end_of, budget - len(frame), budget)


def _split_system(chat: Sequence[ChatMessage]) -> tuple[list[ChatMessage], list[ChatMessage]]:
    """The system message, if any, and the turns; a chat of a system message alone counts as a turn."""
    if len(chat) > 1 and chat[0].role is Role.SYSTEM:
        return [chat[0]], list(chat[1:])
    return [], list(chat)


def _shrink(tokens_for: Callable[[int], list[int]], left: int, budget: int) -> list[int] | None:
    """Tries `left` tokens for the variable part, and less by the excess until the whole fits the budget."""
    for _ in range(ATTEMPTS_MAX):
        if left <= 0:
            return None
        tokens = tokens_for(left)
        if len(tokens) <= budget:
            return tokens
        left -= len(tokens) - budget
    return None
