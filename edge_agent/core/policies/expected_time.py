"""What is to be expected of a peer, from what it last told of itself.

The time until its response, (waiting items + 1) x mean service time: design.md's wait, plus the item's own service.
Without that "plus 1" every idle peer looks the same, and a device three times slower wins half of its ties. News does
not say whether an item is running, so the residual service is left out for all alike.

**Unknown speed** (a peer that has not inferred yet, or whose news is older than its first inference) counts as the mean
of the speeds that are known among those compared: neither attractive nor repulsive. Its queue still counts: a
newcomer is asked and tells its speed soon after; a device that takes items and finishes none is avoided.

**Old news** is the danger in every comparison: whoever looks best is chosen by all until the next news (paper.md's
figures: always the least loaded of all, 42.7 α with news 10 α old, against 9.3 α when fresh). So the policies here
compare few peers at a time or choose at random among all that are good enough. A peer's receipt tells its queue with
the item just asked for, so a device's own requests in flight are counted where it has asked lately.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.messages import PeerEntry

_SERVICE_TIME_MIN_S = 1e-6  # no inference is quicker: a peer that says 0 must not be worth infinitely much
_SERVICE_TIME_MAX_S = 1e6  # nor one that says 1e308 make sums overflow: worse than this makes no difference


def expected_times_s(entries: Sequence[PeerEntry]) -> list[float] | None:
    """Returns the seconds until a response from each, or `None` if no speed is known at all."""
    means = [_within_reason(entry.service_time_s_mean) for entry in entries]
    known = [mean for mean in means if mean is not None]
    if not known:
        return None
    typical = sum(known) / len(known)
    return [
        (entry.requests_waiting + 1) * (typical if mean is None else mean)
        for entry, mean in zip(entries, means, strict=True)
    ]


def _within_reason(service_time_s: float | None) -> float | None:
    return None if service_time_s is None else min(max(service_time_s, _SERVICE_TIME_MIN_S), _SERVICE_TIME_MAX_S)
