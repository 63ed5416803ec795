"""What becomes of a layer's responses: which go on, and whether that was enough. Asks the policies, writes down why.

Pure decisions on a session; `sessions` moves it and queues the judge's item.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.context import Context
from edge_agent.core.messages import Contribution, Decision
from edge_agent.core.policies.judge import Judge, JudgeStop, judge_chat, judge_sampling, read_verdict
from edge_agent.core.queue import Item
from edge_agent.core.session import Session


class Judging:
    """Between a joined layer and what comes after it."""

    __slots__ = ("_context", "_judge", "_judge_stops")

    def __init__(self, context: Context) -> None:
        policies = context.policies
        self._context = context
        self._judge = policies.response_selection if isinstance(policies.response_selection, Judge) else None
        self._judge_stops = isinstance(policies.early_stop, JudgeStop)

    def choose(self, session: Session) -> None:
        """Makes references of the last layer's responses; those of the layer before stay if it brought none."""
        texts = [text for text, _ in session.responses]
        if texts:
            chosen = self._context.policies.response_selection.choose(texts)
            self._take(session, chosen)
            if len(chosen) < len(texts):
                self._note(session, "response_selection", chosen)

    def stops(self, session: Session) -> bool:
        """Returns whether the layers left shall not be run."""
        layer = len(session.layers)
        if layer and not session.stops and self._context.policies.early_stop.stops(layer, session.references):
            session.stops = True
            session.decisions.append(Decision(layer, "early_stop", (), True, "", None))
        return session.stops

    def is_wanted(self, session: Session) -> bool:
        """Returns whether the last layer is still to be judged, and a verdict could change anything."""
        layer = len(session.layers)
        responses = len(session.responses)
        if not responses or session.judged == layer:
            return False
        picks = self._judge is not None and responses > self._judge.picks
        return picks or (self._judge_stops and layer < session.layer_count)

    def prepare(self, session: Session, item: Item, now: float) -> None:
        """Makes `item` the judge's: its own chat, and its share of the time left."""
        texts = [text for text, _ in session.responses]
        item.messages = judge_chat(session.prompt.messages[-1].content, texts, self._judge.picks if self._judge else 1)
        item.references = ()
        item.sampling = judge_sampling()
        stages_left = session.layer_count - len(session.layers) + 2  # the judge, the layers left, the aggregation
        item.expires_at = now + (session.deadline - now) / stages_left

    def decide(self, session: Session, said: str | None, reason: str, work: Contribution | None) -> None:
        """Acts on what the judge said; `None`, for `reason`, or anything unreadable leaves all responses in."""
        session.judged = len(session.layers)
        responses = session.responses
        verdict = None if said is None else read_verdict(said, len(responses))
        chosen: Sequence[int] = range(len(responses))
        detail = ""
        if verdict is None:
            detail = f"no judgement: {reason}" if said is None else "not understood, so all responses stay"
        elif self._judge is not None:
            chosen = verdict.ranking[: self._judge.picks]
            self._take(session, chosen)
        if verdict is not None and self._judge_stops and session.judged < session.layer_count:
            session.stops = verdict.done
        self._note(session, "judge", chosen, detail, work)

    def _take(self, session: Session, chosen: Sequence[int]) -> None:
        session.references = tuple(session.responses[index][0] for index in chosen)

    def _note(
        self, session: Session, kind: str, chosen: Sequence[int], detail: str = "", work: Contribution | None = None
    ) -> None:
        devices = tuple(session.responses[index][1].device_id for index in chosen)
        session.decisions.append(Decision(len(session.layers), kind, devices, session.stops, detail, work))
