"""Whether somebody else runs under this device's id: a cloned card, or a second installation of the same name.

What a broker tells of it differs: it ends the one session for the other's (and mosquitto 2.0 says no reason), or lets
both in. But presence is this device's alone to write. So whatever stands there of another run is another's doing: at
once if it is said while this device listens, and if it was kept, only what came after this device had said its own, and
twice: a broker that crashed may have come back with what it kept of this device's former self.

Then both are named, on both sides, and exactly one goes on: the one that started later stands aside, and looks again
ever more seldom whether the other is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from edge_agent.core.context import Context
from edge_agent.core.effects import PublishPresence, TwinFound
from edge_agent.core.health import Part
from edge_agent.core.messages import Presence, PresenceState
from edge_agent.core.timers import TimerKind

_TIMER = (TimerKind.TWIN, "")
_SURE = 2  # findings: one said live, or two that the broker kept
_FORGOTTEN_S = 900.0  # without a further finding it is over
_ASIDE_MIN_S = 60.0
_ASIDE_MAX_S = 600.0  # so long a device may be away whose twin has gone
_ANSWER_EVERY_S = 5.0  # between two words to a twin, so that two do not talk for ever
_NEVER = 2**63  # when what is no run began: nobody stands aside for it
_RUN = re.compile(r"([0-9]{1,16})-[0-9a-z]{0,16}")


class Twins:
    """Hears what presence says of this device's own id. `presence` makes this device's own."""

    __slots__ = ("_answered_at", "_aside_s", "_births", "_context", "_findings", "_found_in", "_presence")

    def __init__(self, context: Context, presence: Callable[[PresenceState], Presence]) -> None:
        self._context = context
        self._presence = presence
        self._births = 0
        self._findings = 0
        self._found_in = 0
        self._answered_at = float("-inf")
        self._aside_s = _ASIDE_MIN_S

    def connected(self) -> None:
        """This device has said its birth over a new connection."""
        self._births += 1

    def heard(self, presence: Presence, retained: bool, now: float) -> None:
        """Takes what stands on this device's own presence topic. `retained`: the broker had kept it."""
        own, other = self._presence(PresenceState.ONLINE), presence
        if not other.run or other.run == own.run or self._context.stopping:
            return
        if retained and (self._births <= 1 or self._found_in == self._births):
            return  # of this device's former self, or told of already
        if not retained and other.state is not PresenceState.ONLINE:
            return  # a late will or farewell is of the former self, and a twin that goes is gone
        self._found_in = self._births
        self._findings += 1 if retained else _SURE
        if self._findings < _SURE:
            return
        self._context.timers.set(_TIMER, now + _FORGOTTEN_S)
        later = _order(own.run) > _order(other.run)
        self._name(own, other, later=later)
        if not later and not retained and now - self._answered_at >= _ANSWER_EVERY_S:
            self._answered_at = now
            self._context.out.append(PublishPresence(own))  # the other is to hear it while it listens

    def due(self) -> None:
        """Nothing was heard of another for long enough."""
        self._findings, self._aside_s = 0, _ASIDE_MIN_S
        self._context.health.note(Part.IDENTITY, "")

    def _name(self, own: Presence, other: Presence, *, later: bool) -> None:
        device = own.entry.device_id
        what = (
            f"a copy of it (a cloned card or data folder, installation {own.install})"
            if own.install == other.install
            else f"another installation, {other.install[:8] or 'unnamed'} (this one is {own.install})"
        )
        aside = "this one started later and stands aside" if later else "that one started later and is to stand aside"
        detail = f"{what} runs as {device}, too: {aside}; stop one, or give one another id"
        known = self._context.health.of(Part.IDENTITY) != ""
        self._context.health.note(Part.IDENTITY, detail)
        if later:
            self._context.out.append(TwinFound(detail, self._aside_s))
            self._aside_s = min(2 * self._aside_s, _ASIDE_MAX_S)
            self._findings = 0  # what is kept when it comes back may be the last word of one that has gone
        elif not known:
            self._context.out.append(TwinFound(detail, None))


def _order(run: str) -> tuple[int, str]:
    """Which of two runs came first, the same on both sides."""
    found = _RUN.fullmatch(run)
    return (int(found[1]) if found else _NEVER, run)
