"""What a peer says of its load, weighed against what this device itself measured of it.

Its figures promise a response in (waiting + 1) x service time (`policies.expected_time`); how long its responses really
took is known here. Honest figures are off, too: news is old, prompts are longer than the mean, an item may be running.
But so are everybody's, and alike. So a peer's measure is divided by what is usual among the peers, and only who is then
further off than honest ones get is believed no longer: in the place of its word stands the measure. A peer that keeps
more than it promises is left alone, since it only gets less to do.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import final

MEASURED_MAX = 256  # peers: twice a view
RESPONSES_MIN = 3  # measured before a word is doubted: one slow response is an accident
MEMORY = 16  # responses: what is older counts less and less, so that a device that has mended its figures is believed
DOUBT_FROM = 2.0  # how far off is still honest: in simulations at 0.85 of the bound honest peers differ by less
USUAL_MAX = 4.0  # however far off all seem: if most of them lie, that must not become the measure

_PROMISED_MIN_S = 1e-6  # who promises nothing must not make ratios infinite


@final
@dataclass(frozen=True, slots=True)
class Promise:
    """What a peer's own figures said when it was asked."""

    waiting: int
    service_time_s: float | None

    @property
    def response_s(self) -> float | None:
        """Seconds until a response, by these figures; `None` if it has not told its speed."""
        if self.service_time_s is None:
            return None
        return max((self.waiting + 1) * self.service_time_s, _PROMISED_MIN_S)


@dataclass(slots=True)
class _Record:
    """How many responses there were, and sums that fade: of the items that they stood behind, of the seconds that they
    took, and of the seconds taken and promised where something was promised."""

    count: int = 0
    items: float = 0.0
    taken_s: float = 0.0
    taken_of_promised_s: float = 0.0
    promised_s: float = 0.0

    @property
    def off(self) -> float | None:
        """How many times longer than promised it took; `None` if too little is known."""
        if self.count < RESPONSES_MIN or not self.promised_s:
            return None
        return self.taken_of_promised_s / self.promised_s


class Measured:
    """The measures of peers by id."""

    __slots__ = ("_records", "_usual")

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._usual = 1.0

    def note(self, device_id: str, promise: Promise, taken_s: float, *, finished: bool) -> None:
        """Takes in a response after `taken_s` seconds; or, not `finished`, that there was none so far, which counts
        only once it has taken longer than promised."""
        promised_s = promise.response_s
        if not finished and (promised_s is None or taken_s <= promised_s):
            return
        record = self._records.setdefault(device_id, _Record())
        self._records.move_to_end(device_id)
        if len(self._records) > MEASURED_MAX:
            self._records.popitem(last=False)
        fade = 1.0 - 1.0 / MEMORY
        record.count = min(record.count + 1, MEMORY)
        record.items = record.items * fade + promise.waiting + 1
        record.taken_s = record.taken_s * fade + taken_s
        if promised_s is not None:
            record.taken_of_promised_s = record.taken_of_promised_s * fade + taken_s
            record.promised_s = record.promised_s * fade + promised_s
        off = sorted(known for one in self._records.values() if (known := one.off) is not None)
        self._usual = min(max(off[(len(off) - 1) // 2], 1.0), USUAL_MAX) if off else 1.0

    def believed_s(self, device_id: str, told_s: float | None) -> float | None:
        """Returns the service time to expect of a peer that tells `told_s` (`None`: has not told)."""
        record = self._records.get(device_id)
        if record is None or record.count < RESPONSES_MIN:
            return told_s
        measured_s = record.taken_s / record.items / self._usual
        if told_s is None or measured_s > DOUBT_FROM * told_s:
            return measured_s
        return told_s
