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
from edge_agent.core.effects import Effect, PublishPresence
from edge_agent.core.ends import Ends
from edge_agent.core.errors import SettingsError
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
from edge_agent.core.inference import InferenceServer
from edge_agent.core.lookup import Lookup
from edge_agent.core.membership import Membership
from edge_agent.core.messages import (
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
from edge_agent.core.requests import Requests
from edge_agent.core.session import Session
from edge_agent.core.sessions import Sessions
from edge_agent.core.settings import AgentSettings, DeviceIdentity
from edge_agent.core.status import StatusReports
from edge_agent.core.timers import TimerKind


class Agent:
    """A device's protocol, free of input and output, clock and randomness of its own.

    Args:
        identity: who this device is.
        settings: how it behaves.
        streams: its sources of randomness.
        policies: those that `settings` names if not given.
        seeds: (device id, home broker) of devices to ask for a first view.
        view: its peer view; a simulation of many devices may share what a view of its own would repeat.
        slots: items that its engine works on at once, at least 1.
    """

    __slots__ = (
        *("_context", "_due", "_ends", "_handlers", "_membership", "_peer_handlers", "_peers", "_reception"),
        *("_requests", "_server", "_sessions", "_status"),
    )

    def __init__(
        self,
        identity: DeviceIdentity,
        settings: AgentSettings,
        streams: RandomStreams,
        policies: Policies | None = None,
        seeds: tuple[tuple[str, str], ...] = (),
        view: PeerView | None = None,
        slots: int = 1,
    ) -> None:
        if slots < 1:
            raise SettingsError(f"an engine has at least one slot, not {slots}")
        context = self._context = Context(identity, settings, streams, policies or make_policies(settings), slots)
        self._server = InferenceServer(context)
        view = view if view is not None else PeerView(identity.device_id, settings.view_size_max)
        self._membership = Membership(
            context, view, self._server, seeds, self._peer_lost, self._peers_found, self._peer_suspected
        )
        self._requests = Requests(context, self._membership, self._server.queue.shares.crowds)
        self._ends = Ends(context)
        self._sessions = Sessions(context, self._server, self._membership, self._requests, self._ends)
        self._status = StatusReports(context, self._server, self._sessions, view)
        self._peers = PeerService(context, self._server)
        refusals = Refusals()
        lookup = Lookup(context, self._membership, self._sessions, self._ends, refusals)
        reception = Reception(context, self._server, self._membership, self._sessions, self._ends, refusals)
        self._reception = reception
        server, requests = self._server, self._requests
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            Started: self._started,
            PromptReceived: reception.prompt_received,
            PromptCancelReceived: reception.cancel_received,
            AnswersQueryReceived: lookup.query_received,
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
        self._due = self._what_is_due()

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
    def slots(self) -> int:
        """Items that the engine works on at once."""
        return self._context.slots

    @property
    def queue(self) -> InferenceQueue:
        """The inference queue. For looking, not for changing."""
        return self._server.queue

    def outstanding(self) -> dict[str, int]:
        """Returns how much of each kind is still to end; all zero when nothing is left to do."""
        return {
            "sessions": len(self._sessions),
            "requests": len(self._requests),
            "work for others": len(self._peers),
            "places": self._server.queue.places_used,
            "waiting": len(self._server.queue.waiting),
            "running": len(self._server.queue.running),
            "ends to tell": self._ends.outstanding,
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
        self._requests.check_invariants(self._sessions)
        self._ends.check_invariants()
        self._membership.view.check_invariants()

    def _started(self, event: Started, now: float) -> None:
        self._membership.start(event.incarnation, now)
        self._status.start(now)

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
            self._requests.reconnected(now)
            self._ends.send_owed()

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

    def _what_is_due(self) -> dict[TimerKind, Callable[[str, float], None]]:
        """What is done at a deadline of each kind, given its id and the time."""
        membership, stages = self._membership, self._sessions.stages

        def of_session(handle: Callable[[Session, float], None]) -> Callable[[str, float], None]:
            def due(key: str, now: float) -> None:
                session = self._sessions.find(key)
                if session is not None:
                    handle(session, now)

            return due

        return {
            TimerKind.GOSSIP: lambda _, now: membership.tick(now),
            TimerKind.STATUS: lambda _, now: self._status.due(now),
            TimerKind.TWIN: lambda _, now: membership.twins.due(),
            TimerKind.OWED: lambda _, now: self._ends.send_owed(),
            TimerKind.REQUEST: self._requests.timer_due,
            TimerKind.ITEM: self._server.item_due,
            TimerKind.RESUME: of_session(stages.resume),
            TimerKind.LAYER: of_session(stages.layers.layer_due),
            TimerKind.JUDGE: of_session(stages.judging.due),
            TimerKind.SESSION: of_session(self._sessions.deadline_reached),
        }

    def _deadline_reached(self, event: DeadlineReached, now: float) -> None:
        while (key := self._context.timers.pop_due(now)) is not None:
            kind, name = key
            self._due[kind](name, now)

    def _peer_lost(self, device_id: str, now: float) -> None:
        self._requests.peer_lost(device_id, now)
        self._peers.origin_lost(device_id, now)

    def _peer_suspected(self, device_id: str, now: float) -> None:
        self._requests.peer_suspected(device_id, now)

    def _peers_found(self, now: float) -> None:
        self._sessions.peers_found(now)
