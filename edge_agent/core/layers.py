"""Runs one layer of a session: this device and k peers propose, and the layer joins when enough of them have.

Whatever a peer cannot do, a substitute is asked for, within bounds; after that the layer goes on with less.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.core.context import Context
from edge_agent.core.inference import InferenceServer
from edge_agent.core.membership import Membership
from edge_agent.core.messages import LayerProgress, Missing
from edge_agent.core.queue import Item
from edge_agent.core.requests import Requests
from edge_agent.core.session import LayerRound, PeerRequest, Response, Session
from edge_agent.core.states import SessionState
from edge_agent.core.timers import NEVER, TimerKind


class LayerRunner:
    """The origin's side of a layer. `on_joined(session, now)` is called once for each layer that was not abandoned."""

    __slots__ = ("_context", "_membership", "_on_joined", "_requests", "_server")

    def __init__(
        self,
        context: Context,
        server: InferenceServer,
        membership: Membership,
        requests: Requests,
        on_joined: Callable[[Session, float], None],
    ) -> None:
        self._context = context
        self._server = server
        self._membership = membership
        self._on_joined = on_joined
        self._requests = requests

    def start(self, session: Session, number: int, own_item: Item, now: float) -> None:
        """Begins layer `number`. What is left of the deadline is shared evenly among the stages left."""
        session.move(SessionState.PROPOSING)
        stages_left = session.layer_count - number + 2  # this layer, those after it, the aggregation
        deadline = now + (session.deadline - now) / stages_left
        own_id = self._context.identity.device_id
        layer = LayerRound(
            number, deadline, self._context.settings.substitutes_max, self, own_item=own_item.item_id, asked=[own_id]
        )
        session.round = layer
        if deadline < NEVER:
            self._context.timers.set((TimerKind.LAYER, session.key), deadline)
        for entry in self._membership.choose(session.fanout, layer.asked):
            self._requests.ask(session, layer, entry, now)
        reason = "no_peer_known" if len(self._membership.view) < session.fanout else "no_peer_chosen"
        for _ in range(session.fanout + 1 - len(layer.asked)):
            session.missing.append(Missing(number, "", reason))
        self._progress(session, layer)
        own_item.expires_at = deadline
        self._server.submit(own_item, now)

    def own_proposal(self, session: Session, response: Response | None, reason: str, now: float) -> None:
        """This device's own proposal has ended: with a response, or without one for `reason`."""
        layer = session.round
        if layer is None:
            return
        layer.own_item = None
        if response is not None:
            layer.joined.append(response)
        else:
            session.missing.append(Missing(layer.number, self._context.identity.device_id, reason))
        self._join_if_enough(session, layer, now)

    def request_answered(self, request: PeerRequest, response: Response, now: float) -> None:
        """A peer's proposal joins."""
        request.layer.joined.append(response)
        self._join_if_enough(request.session, request.layer, now)

    def request_gone(self, request: PeerRequest, reason: str, now: float) -> None:
        """A peer will not respond: asks another while that is allowed, else goes on with one less."""
        session, layer = request.session, request.layer
        if not self._requests.ask_instead(session, layer, request.device_id, reason, now):
            self._join_if_enough(session, layer, now)

    def layer_due(self, session: Session, now: float) -> None:
        """The layer's share of the time is used up: goes on with what is there."""
        if session.round is not None:
            self._join(session, session.round, "layer_deadline", now)

    def abandon(self, session: Session, reason: str, now: float) -> None:
        """The session ends: nothing of its layer is wanted any more."""
        if session.round is not None:
            self._close(session, session.round, reason, now)

    def _join_if_enough(self, session: Session, layer: LayerRound, now: float) -> None:
        wanted = session.prompt.options.join
        if self._context.policies.join.is_joined(len(layer.joined), layer.outstanding, wanted):
            self._join(session, layer, "not_waited_for", now)

    def _join(self, session: Session, layer: LayerRound, reason: str, now: float) -> None:
        self._close(session, layer, reason, now)
        self._progress(session, layer)
        session.join(tuple(layer.joined))
        session.round = None
        self._on_joined(session, now)

    def _close(self, session: Session, layer: LayerRound, reason: str, now: float) -> None:
        """Nothing more is waited for: the rest is cancelled, so that nobody works for nothing."""
        self._context.timers.clear((TimerKind.LAYER, session.key))
        for request in list(layer.requests.values()):
            self._requests.cancel(request, now)
            session.missing.append(Missing(layer.number, request.device_id, reason))
        if layer.own_item is not None:
            item_id, layer.own_item = layer.own_item, None
            session.missing.append(Missing(layer.number, self._context.identity.device_id, reason))
            self._server.cancel(item_id, now)

    def _progress(self, session: Session, layer: LayerRound) -> None:
        joined = tuple(contribution.device_id for _, contribution in layer.joined)
        progress = LayerProgress(
            session.prompt.prompt_id, layer.number, session.layer_count, tuple(layer.asked), joined
        )
        self._context.out += session.to_user(progress)
