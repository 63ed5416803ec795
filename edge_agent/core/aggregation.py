"""Builds the chat for an inference from a prompt and the responses of the layer before (text only).

The responses stand as a numbered list in a system message before the chat, as in the original Mixture-of-Agents
(arXiv 2406.04692): small models keep answering the user's own words, which then come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.core.messages import ChatMessage, Role

AGGREGATION_INSTRUCTION = """\
Below are answers that several assistants gave to the latest message of this conversation. Write one better answer.
Keep what is correct and useful in them. Leave out what is wrong, invented or repeated; several of them may share the
same mistake. Reply to the user directly, in the user's language, complete and well ordered. Do not mention these
answers or that there were any."""
"""The wording given with references. Engines take another one as an argument, so that a user can replace it."""

MeasureText = Callable[[str], int]
"""Length of a text in tokens of the model at hand."""


@dataclass(frozen=True, slots=True)
class CutReferences:
    """References that fit a budget, in their order; those cut to nothing are left out."""

    texts: tuple[str, ...]
    tokens_cut: int


def build_chat(
    messages: Sequence[ChatMessage], references: Sequence[str], instruction: str = AGGREGATION_INSTRUCTION
) -> tuple[ChatMessage, ...]:
    """Returns the chat to infer: unchanged without references, else with instruction and references before it.

    A system message of the user's stays first in the common system message: chat templates allow only one.
    """
    if not references:
        return tuple(messages)
    listed = "\n\n".join(f"{number}. {text.strip()}" for number, text in enumerate(references, start=1))
    block = f"{instruction.strip()}\n\n{listed}"
    if messages and messages[0].role is Role.SYSTEM:
        merged = ChatMessage(Role.SYSTEM, f"{messages[0].content}\n\n{block}")
        return (merged, *messages[1:])
    return (ChatMessage(Role.SYSTEM, block), *messages)


def cut_references(references: Sequence[str], budget_tokens: int, measure: MeasureText) -> CutReferences:
    """Cuts references to a token budget so that the longest give first; each keeps its beginning.

    No reference is cut while a longer one keeps more than it: like water filling vessels up to a common level.
    """
    sizes = [measure(text) for text in references]
    shares = _fill_evenly(sizes, max(0, budget_tokens))
    kept: list[str] = []
    tokens_kept = 0
    for text, size, share in zip(references, sizes, shares, strict=True):
        shorter = text if share >= size else keep_start(text, share, measure)
        if shorter.strip():
            kept.append(shorter)
            tokens_kept += size if shorter is text else measure(shorter)
    return CutReferences(tuple(kept), max(0, sum(sizes) - tokens_kept))


def keep_start(text: str, budget_tokens: int, measure: MeasureText) -> str:
    """Returns the longest beginning of `text` of at most `budget_tokens` tokens."""
    return text[: _longest_fitting(len(text), lambda length: measure(text[:length]) <= budget_tokens)]


def keep_end(text: str, budget_tokens: int, measure: MeasureText) -> str:
    """Returns the longest end of `text` of at most `budget_tokens` tokens."""
    length = _longest_fitting(len(text), lambda length: measure(text[len(text) - length :]) <= budget_tokens)
    return text[len(text) - length :]


def _longest_fitting(length_max: int, fits: Callable[[int], bool]) -> int:
    """The largest length that fits, by bisection: token counts grow with length, but for a token or so at a cut."""
    low, high = 0, length_max
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _fill_evenly(sizes: Sequence[int], budget: int) -> list[int]:
    """How much of each size fits: the smallest are served in full first, the rest share what is left equally."""
    shares = [0] * len(sizes)
    left = budget
    smallest_first = sorted(range(len(sizes)), key=lambda index: (sizes[index], index))
    for served, index in enumerate(smallest_first):
        shares[index] = min(sizes[index], left // (len(sizes) - served))
        left -= shares[index]
    return shares
