"""What becomes of a layer's responses: which go on, and whether that was enough. Asks the policies, writes down why.

Where a judge is asked it is one LLM call at the origin after a layer: which responses are best, and is more work
needed? (SMoA, arXiv 2411.03284) If it fails, is too late or says something else than asked, all responses stay and the
layers go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.core.aggregation import cut_references
from edge_agent.core.context import Context
from edge_agent.core.inference import InferenceServer
from edge_agent.core.membership import Membership
from edge_agent.core.messages import FANOUT_MAX, ChatMessage, Contribution, Decision, Role, Sampling
from edge_agent.core.policies.judge import Judge, JudgeStop
from edge_agent.core.policies.response_features import ModelResponse
from edge_agent.core.queue import Item
from edge_agent.core.session import Session
from edge_agent.core.states import SessionState
from edge_agent.core.timers import NEVER, TimerKind

JUDGE_INSTRUCTION = """\
You are a judge. Below are a message and numbered answers to it by several assistants. Reply with a single line: the
numbers of the best answers, the best first, separated by commas; then the word DONE if the best answer is correct and
complete, else the word MORE. Do not write anything else.
How many numbers: {picks}"""
"""The judge's wording, with `{picks}` for the number of responses to keep."""

JUDGED_CHARACTERS_MAX = 6_000  # of all answers together: about 1,500 tokens, which leaves room in a context of 4,096
QUESTION_CHARACTERS_MAX = 2_000  # of the user's last message, its end: what is asked mostly stands there
_SAMPLING = Sampling(max_output_tokens=4 * (FANOUT_MAX + 1), temperature=0.0)  # a line of numbers; no dice


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the judge said: indices of responses, the best first, and whether the best needs no more work."""

    ranking: tuple[int, ...]
    done: bool


class Judging:
    """Between a joined layer and what comes after it. `on_judged(session, now)` is called once for each `start`, if
    the session lives so long."""

    __slots__ = ("_context", "_judge", "_judge_stops", "_membership", "_on_judged", "_server")

    def __init__(
        self,
        context: Context,
        server: InferenceServer,
        membership: Membership,
        on_judged: Callable[[Session, float], None],
    ) -> None:
        policies = context.policies
        self._context = context
        self._server = server
        self._membership = membership
        self._on_judged = on_judged
        self._judge = policies.response_selection if isinstance(policies.response_selection, Judge) else None
        self._judge_stops = isinstance(policies.early_stop, JudgeStop)

    def choose(self, session: Session) -> None:
        """Makes references of the last layer's responses; those of the layer before stay if it brought none."""
        responses = [
            ModelResponse(text, self._membership.parameter_count(work.device_id)) for text, work in session.responses
        ]
        if responses:
            chosen = self._context.policies.response_selection.choose(responses)
            self._take(session, chosen)
            if len(chosen) < len(responses):
                self._note(session, "response_selection", chosen)

    def stops(self, session: Session) -> bool:
        """Returns whether the layers left shall not be run."""
        layer = len(session.layers)
        if layer and not session.stops and self._context.policies.early_stop.stops(layer, session.references):
            session.stops = True
            session.decisions.append(Decision(layer, "early_stop", (), True, "", None))
        return session.stops

    def is_wanted(self, session: Session) -> bool:
        """Returns whether the last layer is still to be judged, and a judgement could change anything."""
        layer = len(session.layers)
        responses = len(session.responses)
        if not responses or session.judged == layer:
            return False
        picks = self._judge is not None and responses > self._judge.picks
        return picks or (self._judge_stops and layer < session.layer_count)

    def start(self, session: Session, item: Item, now: float) -> None:
        """Has the last layer judged: `item` gets a chat of its own, and its share of the time left."""
        session.move(SessionState.JUDGING)
        texts = [text for text, _ in session.responses]
        item.messages = judge_chat(session.prompt.messages[-1].content, texts, self._judge.picks if self._judge else 1)
        item.references = ()
        item.sampling = _SAMPLING
        stages_left = session.layer_count - len(session.layers) + 2  # the judge, the layers left, the aggregation
        item.expires_at = now + (session.deadline - now) / stages_left
        if item.expires_at < NEVER:
            self._context.timers.set((TimerKind.JUDGE, session.key), item.expires_at)
        session.item_id = item.item_id
        self._server.submit(item, now)

    def due(self, session: Session, now: float) -> None:
        """The judge's share of the time is used up: goes on without a judgement."""
        if session.state is SessionState.JUDGING and session.item_id is not None:
            item_id, session.item_id = session.item_id, None
            self._server.cancel(item_id, now)
            self._judged(session, None, "too late", None, now)

    def ended(self, session: Session, said: str | None, reason: str, work: Contribution, now: float) -> None:
        """The judge's item has ended: it said something, or nothing for `reason`."""
        session.item_id = None
        self._judged(session, said, reason, work, now)

    def _judged(self, session: Session, said: str | None, reason: str, work: Contribution | None, now: float) -> None:
        self._context.timers.clear((TimerKind.JUDGE, session.key))
        self._decide(session, said, reason, work)
        self._on_judged(session, now)

    def _decide(self, session: Session, said: str | None, reason: str, work: Contribution | None) -> None:
        """Acts on what the judge said; `None`, for `reason`, or anything unreadable leaves all responses in."""
        session.judged = len(session.layers)
        responses = session.responses
        judgement = None if said is None else read_judgement(said, len(responses))
        chosen: Sequence[int] = range(len(responses))
        detail = ""
        if judgement is None:
            detail = f"no judgement: {reason}" if said is None else "not understood, so all responses stay"
        elif self._judge is not None:
            chosen = judgement.ranking[: self._judge.picks]
            self._take(session, chosen)
        if judgement is not None and self._judge_stops and session.judged < session.layer_count:
            session.stops = judgement.done
        self._note(session, "judge", chosen, detail, work)

    def _take(self, session: Session, chosen: Sequence[int]) -> None:
        session.references = tuple(session.responses[index][0] for index in chosen)

    def _note(
        self, session: Session, kind: str, chosen: Sequence[int], detail: str = "", work: Contribution | None = None
    ) -> None:
        devices = tuple(session.responses[index][1].device_id for index in chosen)
        session.decisions.append(Decision(len(session.layers), kind, devices, session.stops, detail, work))


def judge_chat(
    question: str, texts: Sequence[str], picks: int, instruction: str = JUDGE_INSTRUCTION
) -> tuple[ChatMessage, ...]:
    """Returns the chat for the judge's inference; one message, since every chat template takes that."""
    shortened = cut_references([text.strip() for text in texts], JUDGED_CHARACTERS_MAX, len).texts
    listed = "\n\n".join(f"{number}. {text}" for number, text in enumerate(shortened, start=1))
    asked = instruction.format(picks=min(picks, len(texts)))
    message = f"{asked}\n\nMessage:\n{question[-QUESTION_CHARACTERS_MAX:].strip()}\n\nAnswers:\n{listed}"
    return (ChatMessage(Role.USER, message),)


def read_judgement(text: str, count: int) -> Judgement | None:
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
    return Judgement(ranking, words == ["done"])
