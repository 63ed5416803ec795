"""A line in the log for what arrived and is no message: one for each kind and topic, however many come."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from edge_agent.core.events import BadInputReceived

_log = logging.getLogger(__name__)

SAID_AGAIN_S = 600.0  # a client that has been wrong all night is a line every ten minutes
KINDS_MAX = 64  # kinds told apart; the presence of invented devices must not fill a log, nor our memory
_TOPIC_SHOWN = 120  # characters: our longest topics have some 200, of which ids are most


@dataclass(slots=True)
class _Kind:
    said_at: float
    since: int = 0


class BadInputLog:
    """Says what was wrong. `now` is any monotonic clock in seconds."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def note(self, topic: str, size: int, event: BadInputReceived, now: float) -> None:
        """Logs it, or counts it for the next line of its kind."""
        told = "; its sender is notified" if event.reply is not None else ""
        self._say(topic, event.detail, f"no message: {size} bytes on", told, now)

    def note_over_rate(self, topic: str, now: float) -> None:
        """Logs that too many come on a topic, or counts it for the next line."""
        self._say(topic, "more than its rate allows", "not read: messages on", "; their sender is notified", now)

    def _say(self, topic: str, detail: str, what: str, told: str, now: float) -> None:
        key = (topic, _kind_of(detail))
        if key not in self._kinds and len(self._kinds) >= KINDS_MAX:
            key = ("other topics", "")
        kind = self._kinds.get(key)
        if kind is not None and now - kind.said_at < SAID_AGAIN_S:
            kind.since += 1
            return
        more = f", and {kind.since} more like it" if kind is not None and kind.since else ""
        self._kinds[key] = _Kind(now)
        _log.warning("%s %s: %s%s%s", what, _shown(topic), detail, more, told)


def _kind_of(detail: str) -> str:
    """What is wrong, without where and how much: `body: not JSON`, `options.layers`."""
    return re.sub(r"\d+", "#", ":".join(re.split(r"[:;]", detail)[:2]))


def _shown(topic: str) -> str:
    printable = "".join(letter if letter.isprintable() else "?" for letter in topic[: _TOPIC_SHOWN + 1])
    return printable if len(topic) <= _TOPIC_SHOWN else f"{printable[:_TOPIC_SHOWN]}..."
