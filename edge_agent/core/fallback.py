"""When this device cannot aggregate: another is asked to, and if none can, the best proposal is the answer.

A peer aggregates as it proposes: it is given the prompt with the last layer's references. Provenance tells who did it.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.core.context import Context
from edge_agent.core.messages import LAYERS_MAX
from edge_agent.core.policies.text_similarity import similarities
from edge_agent.core.requests import Requests
from edge_agent.core.session import LayerRound, PeerRequest, Response, Session

OnEnd = Callable[[Session, Response | None, str, float], None]
"""Called with (session, the aggregation or `None`, why this device did not aggregate, now)."""


class Fallback:
    """Asks peers, one after the other within `substitutes_max`, to aggregate; tells how that ended."""

    __slots__ = ("_context", "_on_end", "_requests")

    def __init__(self, context: Context, requests: Requests, on_end: OnEnd) -> None:
        self._context = context
        self._requests = requests
        self._on_end = on_end

    def start(self, session: Session, reason: str, now: float) -> None:
        """This device's own aggregation came to nothing, for `reason`."""
        own_id = self._context.identity.device_id
        number = min(len(session.layers) + 1, LAYERS_MAX)
        left = self._context.settings.substitutes_max
        layer = LayerRound(number, session.deadline, left, self, proposes=False, asked=[own_id])
        session.failure = reason
        session.round = layer
        self._ask_next(session, layer, own_id, "failed", now)

    def request_answered(self, request: PeerRequest, response: Response, now: float) -> None:
        """A peer has aggregated."""
        request.session.round = None
        self._on_end(request.session, response, request.session.failure, now)

    def request_gone(self, request: PeerRequest, reason: str, now: float) -> None:
        """This peer will not aggregate: the next one is asked."""
        self._ask_next(request.session, request.layer, request.device_id, reason, now)

    def _ask_next(self, session: Session, layer: LayerRound, instead_of: str, reason: str, now: float) -> None:
        if not self._requests.ask_instead(session, layer, instead_of, reason, now):
            session.round = None
            self._on_end(session, None, session.failure, now)


def best_of(proposals: tuple[Response, ...]) -> Response | None:
    """Returns the proposal that agrees most with the others, the first of equals; `None` if there is none."""
    if not proposals:
        return None
    agreement = [sum(row) for row in similarities([text for text, _ in proposals])]
    return proposals[max(range(len(proposals)), key=lambda index: (agreement[index], -index))]
