"""One LLM call at the origin after a layer: which responses are best, and is more work needed? (SMoA, arXiv 2411.03284)

The same call serves the response selection `judge(s)` and the early stop `judge`. Both are neutral without a verdict:
if the judge fails, is too late or says something else than asked, all responses stay and the layers go on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.core.aggregation import cut_references
from edge_agent.core.messages import FANOUT_MAX, ChatMessage, Role, Sampling
from edge_agent.core.policies.arguments import expect_none, parse_count

JUDGE_INSTRUCTION = """\
You are a judge. Below are a message and numbered answers to it by several assistants. Reply with a single line: the
numbers of the best answers, the best first, separated by commas; then the word DONE if the best answer is correct and
complete, else the word MORE. Do not write anything else.
How many numbers: {picks}"""
"""The judge's wording, with `{picks}` for the number of responses to keep."""

JUDGED_CHARACTERS_MAX = 6_000  # of all answers together: about 1,500 tokens, which leaves room in a context of 4,096
QUESTION_CHARACTERS_MAX = 2_000  # of the user's last message, its end: what is asked mostly stands there
_JUDGE_SAMPLING = Sampling(max_output_tokens=4 * (FANOUT_MAX + 1), temperature=0.0)  # a line of numbers; no dice


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge said: indices of responses, the best first, and whether the best needs no more work."""

    ranking: tuple[int, ...]
    done: bool


class Judge:
    """Response selection `judge(s)`: the s responses that the judge ranks first."""

    def __init__(self, picks: int) -> None:
        self.picks = picks

    @classmethod
    def from_argument(cls, argument: str) -> Judge:
        """Takes s."""
        return cls(parse_count(argument, what="s, the responses to keep", example="judge(2)", count_max=FANOUT_MAX + 1))

    def choose(self, texts: Sequence[str]) -> list[int]:
        """Returns every index: what holds until, and without, a verdict."""
        return list(range(len(texts)))


class JudgeStop:
    """Early stop `judge`: no more layers once the judge calls the best response correct and complete."""

    @classmethod
    def from_argument(cls, argument: str) -> JudgeStop:
        """Takes no argument."""
        expect_none("judge", argument)
        return cls()

    def stops(self, layer: int, references: Sequence[str]) -> bool:
        """Returns `False`: what holds without a verdict."""
        return False


def judge_chat(
    question: str, texts: Sequence[str], picks: int, instruction: str = JUDGE_INSTRUCTION
) -> tuple[ChatMessage, ...]:
    """Returns the chat for the judge's inference; one message, since every chat template takes that."""
    shortened = cut_references([text.strip() for text in texts], JUDGED_CHARACTERS_MAX, len).texts
    listed = "\n\n".join(f"{number}. {text}" for number, text in enumerate(shortened, start=1))
    asked = instruction.format(picks=min(picks, len(texts)))
    message = f"{asked}\n\nMessage:\n{question[-QUESTION_CHARACTERS_MAX:].strip()}\n\nAnswers:\n{listed}"
    return (ChatMessage(Role.USER, message),)


def judge_sampling() -> Sampling:
    """Returns how the judge's line is drawn: greedily, and short."""
    return _JUDGE_SAMPLING


def read_verdict(text: str, count: int) -> Verdict | None:
    """Reads the judge's first line of text; `None` if it is not what was asked for.

    Strict: a number that stands for no response, or a word beside DONE and MORE, makes the whole line worthless. A
    model that chats about "answer 2 because of 3 reasons" must not choose answer 3.
    """
    line = next((line for line in text.casefold().splitlines() if line.strip()), "")
    parts = re.findall(r"\d+|[^\W\d_]+", line)
    words = [part for part in parts if not part.isdigit()]
    numbers = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) <= 3]
    if len(words) + len(numbers) != len(parts) or not set(words) <= {"done", "more"} or len(words) > 1:
        return None
    if not numbers or not all(1 <= number <= count for number in numbers):
        return None
    ranking = tuple(dict.fromkeys(number - 1 for number in numbers))
    return Verdict(ranking, words == ["done"])
