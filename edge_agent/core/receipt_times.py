"""How long this device waits for a peer's receipt: learnt from the receipts that came, within the settings' bounds."""

from __future__ import annotations

from collections import OrderedDict, deque

from edge_agent.core.settings import AgentSettings

_RECENT = 32  # receipts remembered: some prompts' worth, so that one slow moment is forgotten within minutes
_SLACK = 4.0  # times the slowest of them: a peer is taken for silent when it is far slower than any was of late
_LATE_MAX = 64  # requests given up whose receipt may still come, and then shows that the wait was too short


class ReceiptTimes:
    """The wait for a receipt, in seconds.

    The slowest of the last receipts is what counts, not a mean and a deviation as for TCP (RFC 6298): receipts that
    are quick nearly always and slow at times, on a device whose cores are full, would be given up at each slow time.
    """

    __slots__ = ("_late", "_max_s", "_min_s", "_recent")

    def __init__(self, settings: AgentSettings) -> None:
        self._max_s = settings.receipt_timeout_s
        self._min_s = min(settings.receipt_timeout_min_s, self._max_s)
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._late: OrderedDict[str, tuple[str, float]] = OrderedDict()

    @property
    def timeout_s(self) -> float:
        """The wait for the next receipt; the longest allowed one before any has come."""
        if not self._recent:
            return self._max_s
        return min(max(_SLACK * max(self._recent), self._min_s), self._max_s)

    def came(self, waited_s: float) -> None:
        """A receipt came, `waited_s` after its request was first sent: of a repeated one the longest it can have
        taken."""
        self._recent.append(waited_s)

    def given_up(self, request_id: str, device_id: str, sent_at: float) -> None:
        """No receipt came in time."""
        self._late[request_id] = (device_id, sent_at)
        if len(self._late) > _LATE_MAX:
            self._late.popitem(last=False)

    def came_late(self, request_id: str, device_id: str, now: float) -> bool:
        """A receipt came of a request that is not waited for; returns whether it had been given up for its silence."""
        given_up = self._late.get(request_id)
        if given_up is None or given_up[0] != device_id:
            return False
        del self._late[request_id]
        self.came(now - given_up[1])
        return True
