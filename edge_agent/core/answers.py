"""Finished answers, kept for a while so that a repeated prompt is answered without being worked on again."""

from __future__ import annotations

from collections import OrderedDict

from edge_agent.core.errors import InvariantError
from edge_agent.core.messages import Answer


class AnswersKept:
    """At most `count_max` answers, each for at most `kept_s` seconds, the oldest forgotten first."""

    __slots__ = ("_answers", "_count_max", "_kept_s")

    def __init__(self, count_max: int, kept_s: float) -> None:
        self._count_max = count_max
        self._kept_s = kept_s
        self._answers: OrderedDict[str, tuple[float, Answer]] = OrderedDict()

    def add(self, key: str, answer: Answer, now: float) -> None:
        """Keeps an answer from `now` on."""
        self._answers.pop(key, None)  # one past its time may still be there: the order is by when they came
        self._answers[key] = (now, answer)
        while len(self._answers) > self._count_max or next(iter(self._answers.values()))[0] <= now - self._kept_s:
            self._answers.popitem(last=False)

    def get(self, key: str, now: float) -> Answer | None:
        """Returns the answer of that key while it is kept."""
        kept = self._answers.get(key)
        return kept[1] if kept is not None and now < kept[0] + self._kept_s else None

    def check_invariants(self) -> None:
        """Raises `InvariantError` if there are more answers than may be kept."""
        if len(self._answers) > self._count_max:
            raise InvariantError("more answers are kept than may be")
