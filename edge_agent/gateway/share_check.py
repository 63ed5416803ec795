"""Who has its share of the gateway already is told so, the same wherever it is counted."""

from __future__ import annotations

from edge_agent.core.shares import Shares, Shortage
from edge_agent.gateway.errors import too_many

RETRY_AFTER_S = 1.0


def check_share(shares: Shares, holder: str) -> None:
    """Raises:
    ApiError: there is no room, or none for this holder.
    """
    match shares.shortage(holder):
        case Shortage.FULL:
            said = f"rate limit: {shares.used[0]} requests are open here already"
            raise too_many(said, "too_many_requests", RETRY_AFTER_S)
        case Shortage.SHARE:
            said = f"rate limit: {shares.holds(holder)} of your requests are open here already"
            raise too_many(f"{said}; the rest is kept for others", "over_share", RETRY_AFTER_S)
