"""The one door into the core: what happened goes in, what is to be done comes out.

    effects = agent.handle(event, now)
    wake_at = agent.next_deadline()

`now` is any monotonic clock in seconds. After each `handle` the caller carries out the effects in their order and,
once the clock passes `next_deadline()`, hands in `DeadlineReached`. There is no other way in and no other way out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_agent.core.context import Context, Counters, RandomStreams
from edge_agent.core.effects import Effect, PublishPresence, PublishStatus
from edge_agent.core.ends import TIMER as OWED_TIMER
from edge_agent.core.events import (
    AnswerSent,
    AnswersQueryReceived,
    BadInputReceived,
    ConnectionChanged,
    DeadlineReached,
    Event,
    HealthChanged,
    InferenceCompleted,
    InferenceFailed,
    OverRate,
    OwnPresenceReceived,
    PeerDiscovered,
    PeerMessageReceived,
    PromptCancelReceived,
    PromptReceived,
    RecordWritten,
    SendFailed,
    SessionsRestored,
    Started,
    StopRequested,
    TextGenerated,
)
from edge_agent.core.health import Problem
from edge_agent.core.inference import TIMER as ITEM_TIMER
from edge_agent.core.inference import InferenceServer
from edge_agent.core.lookup import Lookup
from edge_agent.core.membership import Membership
from edge_agent.core.messages import (
    DeviceStatus,
    Presence,
    PresenceState,
    ProposalRequest,
    ProposalResponse,
    RequestCancel,
    RequestReceipt,
    ViewExchange,
)
from edge_agent.core.peer_service import PeerService
from edge_agent.core.peers import PeerView
from edge_agent.core.policies import Policies, make_policies
from edge_agent.core.queue import InferenceQueue
from edge_agent.core.reception import Reception
from edge_agent.core.refusals import Refusals
from edge_agent.core.requests import TIMER as REQUEST_TIMER
from edge_agent.core.sessions import Sessions
from edge_agent.core.settings import AgentSettings, DeviceIdentity
from edge_agent.core.twins import TWIN_TIMER

_STATUS = ("status", "")


class Agent:
    """A device's protocol, free of input and output, clock and randomness of its own.

    Args:
        identity: who this device is.
        settings: how it behaves.
        streams: its sources of randomness.
        policies: those that `settings` names if not given.
        seeds: (device id, home broker) of devices to ask for a first view.
        view: its peer view; a simulation of many devices may share what a view of its own would repeat.
    """

    __slots__ = (
        *("_context", "_handlers", "_membership", "_peer_handlers", "_peers", "_reception", "_server", "_sessions"),
    )

    def __init__(
        self,
        identity: DeviceIdentity,
        settings: AgentSettings,
        streams: RandomStreams,
        policies: Policies | None = None,
        seeds: tuple[tuple[str, str], ...] = (),
        view: PeerView | None = None,
    ) -> None:
        context = self._context = Context(identity, settings, streams, policies or make_policies(settings))
        self._server = InferenceServer(context)
        view = view if view is not None else PeerView(identity.device_id, settings.view_size_max)
        self._membership = Membership(
            context, view, self._server, seeds, self._peer_lost, self._peers_found, self._peer_suspected
        )
        self._sessions = Sessions(context, self._server, self._membership)
        self._peers = PeerService(context, self._server)
        refusals = Refusals()
        reception = Reception(context, self._server, self._membership, self._sessions, refusals)
        self._reception = reception
        server, requests = self._server, self._sessions.requests
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            Started: self._started,
            PromptReceived: reception.prompt_received,
            PromptCancelReceived: reception.cancel_received,
            AnswersQueryReceived: Lookup(context, self._membership, self._sessions, refusals).query_received,
            PeerMessageReceived: self._peer_message,
            OwnPresenceReceived: self._own_presence,
            PeerDiscovered: lambda event, now: self._membership.discovered(event.device_id, event.home_broker),
            OverRate: self._over_rate,
            BadInputReceived: lambda event, now: reception.bad_input_received(event),
            TextGenerated: lambda event, now: server.text_generated(event),
            InferenceCompleted: server.completed,
            InferenceFailed: server.failed,
            HealthChanged: self._health_changed,
            SendFailed: requests.send_failed,
            ConnectionChanged: self._connection_changed,
            SessionsRestored: reception.restored,
            RecordWritten: reception.record_written,
            AnswerSent: reception.answer_sent,
            DeadlineReached: self._deadline_reached,
            StopRequested: self._stop_requested,
        }
        self._peer_handlers: dict[type, Callable[[Any, float], None]] = {
            ProposalRequest: self._peers.request_received,
            RequestCancel: self._peers.cancel_received,
            RequestReceipt: requests.receipt_received,
            ProposalResponse: requests.response_received,
            ViewExchange: self._membership.view_received,
            Presence: self._membership.presence_received,
        }

    @property
    def counters(self) -> Counters:
        """Totals of what went by that no answer shows."""
        return self._context.counters

    @property
    def view(self) -> PeerView:
        """The peers known. For looking, not for changing."""
        return self._membership.view

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with this device, by the last word of each part."""
        return self._context.health.problems()

    @property
    def is_connected(self) -> bool:
        """Whether the home broker is connected, by the last word on it."""
        return self._context.connected

    @property
    def queue(self) -> InferenceQueue:
        """The inference queue. For looking, not for changing."""
        return self._server.queue

    def outstanding(self) -> dict[str, int]:
        """Returns how much of each kind is still to end; all zero when nothing is left to do."""
        return {
            "sessions": len(self._sessions),
            "requests": len(self._sessions.requests),
            "work for others": len(self._peers),
            "places": self._server.queue.places_used,
            "waiting": len(self._server.queue.waiting),
            "running": len(self._server.queue.running),
            "ends to tell": self._sessions.ends.outstanding,
        }

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Takes in one event at time `now` (seconds, never less than before) and returns what is to be done.

        Raises:
            InvariantError: a defect in the core. Nothing that comes from outside can cause it.
        """
        self._handlers[type(event)](event, now)
        effects = self._context.out
        self._context.out = []
        return effects

    def next_deadline(self) -> float | None:
        """Returns when `DeadlineReached` is due next, `None` if nothing waits for time to pass."""
        return self._context.timers.next_deadline()

    def last_will(self) -> Presence:
        """Returns the message that the broker shall publish when this device is gone without a word."""
        return self._membership.presence(PresenceState.OFFLINE)

    def check_invariants(self, now: float) -> None:
        """Raises `InvariantError` if any promise that the core makes about itself does not hold."""
        self._server.check_invariants()
        self._peers.check_invariants()
        self._sessions.check_invariants(now)
        self._membership.view.check_invariants()

    def _started(self, event: Started, now: float) -> None:
        self._server.meter.start(now)
        self._membership.start(event.incarnation, now)
        interval = self._context.settings.status_interval_s
        if interval is not None:
            self._context.timers.set(_STATUS, now + interval)

    def _own_presence(self, event: OwnPresenceReceived, now: float) -> None:
        self._membership.twins.heard(event.presence, event.retained, now)

    def _peer_message(self, event: PeerMessageReceived, now: float) -> None:
        handler = self._peer_handlers.get(type(event.message))
        if handler is None:  # a valid message of a kind that no device sends to another
            self._context.counters.bad_input += 1
            return
        handler(event.message, now)

    def _over_rate(self, event: OverRate, now: float) -> None:
        self._context.counters.over_rate += 1
        if event.reply is not None:
            self._reception.over_rate(event.reply, event.message_id)
        else:
            peer = self._membership.view.get(event.device_id)
            self._peers.over_rate(event.device_id, peer.entry.home_broker if peer else "", event.message_id)

    def _connection_changed(self, event: ConnectionChanged, now: float) -> None:
        if event.connected:  # until then the last broker's bound holds: it will most likely be the next one's
            self._context.broker_bytes_max = event.message_bytes_max
        self._membership.connection_changed(event.connected, now)
        if event.connected:
            self._sessions.requests.reconnected(now)
            self._sessions.ends.send_owed()

    def _health_changed(self, event: HealthChanged, now: float) -> None:
        health = self._context.health
        was_able, was_durable = health.able, health.durable
        health.note(event.part, event.detail)
        if health.able is not was_able:
            self._membership.ability_changed()
            self._server.ability_changed(now)
        if health.durable is not was_durable:
            self._sessions.durability_changed(health.durable, now)

    def _stop_requested(self, event: StopRequested, now: float) -> None:
        self._context.stopping = True
        self._context.out.append(PublishPresence(self._membership.presence(PresenceState.STOPPED)))

    def _deadline_reached(self, event: DeadlineReached, now: float) -> None:
        requests = self._sessions.requests
        while (key := self._context.timers.pop_due(now)) is not None:
            kind, name = key
            if kind == REQUEST_TIMER:
                requests.timer_due(name, now)
            elif kind == ITEM_TIMER:
                self._server.item_due(name, now)
            elif kind == OWED_TIMER[0]:
                self._sessions.ends.send_owed()
            elif kind == "gossip":
                self._membership.tick(now)
            elif kind == "status":
                self._report_status(now)
            elif kind == TWIN_TIMER[0]:
                self._membership.twins.due()
            else:
                self._session_due(kind, name, now)

    def _session_due(self, kind: str, key: str, now: float) -> None:
        session = self._sessions.find(key)
        if session is None:
            return
        if kind == "layer":
            self._sessions.layers.layer_due(session, now)
        elif kind == "session":
            self._sessions.deadline_reached(session, now)
        elif kind == "judge":
            self._sessions.judge_due(session, now)
        else:
            self._sessions.resume(session, now)

    def _report_status(self, now: float) -> None:
        settings, identity, queue = self._context.settings, self._context.identity, self._server.queue
        if settings.status_interval_s is None:
            return
        self._context.timers.set(_STATUS, now + settings.status_interval_s)
        self._server.advance(now)
        figures = self._server.meter.read(now, settings.stability_target, settings.queue_capacity)
        status = DeviceStatus(
            device_id=identity.device_id,
            model=identity.model,
            synthetic=identity.synthetic,
            requests_waiting=len(queue.waiting),
            requests_running=len(queue.running),
            queue_capacity=settings.queue_capacity,
            sessions_active=len(self._sessions),
            peers_alive=len(self._membership.view),
            bad_input=self._context.counters.bad_input,
            able=self._context.health.able,
            durable=self._context.health.durable,
            problems=self._context.health.problems(),
            interval_s=figures.interval_s,
            requests_waiting_mean=figures.requests_waiting_mean,
            requests_waiting_predicted=figures.requests_waiting_predicted,
            arrival_rate_hz=figures.arrival_rate_hz,
            service_time_s_mean=figures.service_time_s_mean,
            service_time_scv=figures.service_time_scv,
            utilisation=figures.utilisation,
            offered_load=figures.offered_load,
            stability_margin=figures.stability_margin,
            **self._server.meter.totals,
        )
        self._context.out.append(PublishStatus(status))

    def _peer_lost(self, device_id: str, now: float) -> None:
        self._sessions.requests.peer_lost(device_id, now)
        self._peers.origin_lost(device_id, now)

    def _peer_suspected(self, device_id: str, now: float) -> None:
        self._sessions.requests.peer_suspected(device_id, now)

    def _peers_found(self, now: float) -> None:
        self._sessions.peers_found(now)
