"""What a connection says when something is wrong with its broker: each thing once, and when it is well again.

A broker that is away for a night, or refuses a device for a week, is one line in the log. What is said next to people
(`HealthChanged`) is what is wrong now.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence

from edge_agent.mqtt import BrokerLimits, Trouble
from edge_agent.wire.codec import BODY_BYTES_MAX

_log = logging.getLogger(__name__)

SAID_MAX = 32  # different things said of one outage; a broker that finds ever new words is silenced


class Troubles:
    """Keeps what is wrong with one broker. `changed` is called with the one line for people, "" when all is well."""

    def __init__(
        self,
        name: Callable[[], str],
        changed: Callable[[str], None] | None,
        *,
        steady_s: float,
        refused_steady_s: float,
    ) -> None:
        self._name = name
        self._changed = changed
        self._steady_s = steady_s
        self._refused_steady_s = refused_steady_s
        self._said: set[str] = set()
        self._notes: set[str] = set()
        self._outage = ""
        self._lasting = False
        self._sticky = False
        self._back_said = False
        self._standing: dict[str, str] = {}
        self._told = ""

    @property
    def lasting(self) -> bool:
        """Whether this outage has a reason that only somebody can mend: it is to be tried again slowly."""
        return self._lasting

    @property
    def steady_s(self) -> float:
        """How long a connection must hold to show that what was wrong is over."""
        return self._refused_steady_s if self._sticky else self._steady_s

    def failed(self, trouble: Trouble, *, steady: bool) -> None:
        """A try failed, or a connection was lost; `steady` says that it had held for `steady_s`."""
        if steady:
            self._over()
        self._lasting = self._lasting or trouble.lasting
        # Whom a broker lets in and then throws out, it throws out again: such as two clones, one after the other.
        self._sticky = self._sticky or trouble.recurs
        self._outage = trouble.detail
        self._say(trouble.detail)
        self._tell()

    def connected(self, limits: BrokerLimits, refused: Sequence[tuple[str, str]]) -> None:
        """It is let in, but for `refused`, pairs of filter and reason. A sticky trouble stays told until `steady`."""
        self._standing.clear()
        if self._said and not self._back_said:
            self._back_said = True
            _log.info("broker %s: connected again", self._name())
        for note in limits.notes(BODY_BYTES_MAX):
            self._say(note, logging.INFO)
        if not self._sticky:
            self._outage, self._lasting = "", False
        if limits.hindrance:
            self.stand("limits", limits.hindrance)
        for topic, why in refused:
            self.stand(f"read {topic}", why)
        self._tell()

    def steady(self) -> None:
        """The connection has held for `steady_s`: what was wrong is over."""
        self._over()
        self._tell()

    def stand(self, key: str, detail: str) -> None:
        """Something is wrong that does not end the connection, until `settle` or the next connect."""
        if key not in self._standing and len(self._standing) < SAID_MAX:
            self._standing[key] = detail
            self._say(detail)
            self._tell()

    def remark(self, detail: str) -> None:
        """Something came to nothing, which says little about the broker: a line in the log, once."""
        self._say(detail)

    def settle(self, key: str) -> None:
        """It is well again."""
        if self._standing.pop(key, None) is not None:
            self._tell()

    def _say(self, detail: str, level: int = logging.WARNING) -> None:
        said, what = self._notes if level == logging.INFO else self._said, _but_for_numbers(detail)
        if what not in said and len(said) < SAID_MAX:
            said.add(what)
            _log.log(level, "broker %s: %s", self._name(), detail)

    def _over(self) -> None:
        self._said = {_but_for_numbers(detail) for detail in self._standing.values()}
        self._outage, self._lasting, self._sticky, self._back_said = "", False, False, False

    def _tell(self) -> None:
        wrong = self._outage or next(iter(self._standing.values()), "")
        line = f"broker {self._name()}: {wrong}" if wrong else ""
        what = _but_for_numbers(line)
        if what != self._told and self._changed is not None:
            self._told = what
            self._changed(line)


def _but_for_numbers(detail: str) -> str:
    """What is the same trouble though it names another time, size or port of ours."""
    return re.sub(r"\d+", "#", detail)
