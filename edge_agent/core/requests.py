"""Proposals asked of peers, from the asking to the end of each.

A request that brings no receipt is sent once more, then its peer is suspected; how long that takes is learnt from the
receipts that come (`receipt_times`). A queued request is sent again after a
while (a probe; repeats are harmless), so that a peer that dies in silence is noticed without any help from the
broker. Every request ends in exactly one of: a response, gone (with a reason), cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edge_agent.core.context import Context
from edge_agent.core.effects import SendToDevice
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import SendFailed
from edge_agent.core.membership import Membership
from edge_agent.core.messages import (
    BusyReason,
    Missing,
    PeerEntry,
    ProposalRequest,
    ProposalResponse,
    RequestCancel,
    RequestReceipt,
    Substitute,
)
from edge_agent.core.receipt_times import ReceiptTimes
from edge_agent.core.role_sampling import proposal_sampling
from edge_agent.core.session import LayerRound, PeerRequest, Session, time_left
from edge_agent.core.sizes import fit_references
from edge_agent.core.states import REQUEST_TRANSITIONS, ItemOutcome, RequestState, advance
from edge_agent.core.timers import NEVER, TimerKind

_PROBE_STRETCH_MAX = 20  # probe intervals: a peer's word on its wait must not put off the question for ever


class Requests:
    """Every request whose response may still come, by id."""

    __slots__ = ("_context", "_crowds", "_membership", "_open", "_receipt_times")

    def __init__(self, context: Context, membership: Membership, crowds: Callable[[str], bool]) -> None:
        """crowds: whether a user has so much here that what is asked of others for it yields there."""
        self._context = context
        self._membership = membership
        self._crowds = crowds
        self._open: dict[str, PeerRequest] = {}
        self._receipt_times = ReceiptTimes(context.settings)

    def __len__(self) -> int:
        """The number of requests whose response may still come."""
        return len(self._open)

    def ask(self, session: Session, layer: LayerRound, entry: PeerEntry, now: float) -> None:
        """Asks a peer for a proposal in `layer`."""
        promise = self._membership.view.promise_of(entry)
        request = PeerRequest(
            self._context.new_id(), session, layer, entry.device_id, entry.home_broker, promise, asked_at=now
        )
        layer.asked.append(entry.device_id)
        layer.requests[request.request_id] = request
        self._open[request.request_id] = request
        self._send(request, now)

    def ask_instead(self, session: Session, layer: LayerRound, device_id: str, reason: str, now: float) -> bool:
        """Asks a peer in the place of a device that will not respond, within bounds; returns whether there was one."""
        may_ask = layer.substitutes_left and now < layer.deadline
        substitutes = self._membership.choose(1, layer.asked) if may_ask else []
        if not substitutes:
            session.missing.append(Missing(layer.number, device_id, reason))
            return False
        layer.substitutes_left -= 1
        session.substitutes.append(Substitute(layer.number, substitutes[0].device_id, device_id, reason))
        self.ask(session, layer, substitutes[0], now)
        return True

    def cancel(self, request: PeerRequest, now: float) -> None:
        """The response is not wanted any more; the peer is told, so that it does not work for nothing."""
        self._measure(request, now, finished=False)
        self._end(request, RequestState.CANCELLED)
        self._tell_cancelled(request)

    def receipt_received(self, receipt: RequestReceipt, now: float) -> None:
        """A peer has queued a request, or will not."""
        request = self._open.get(receipt.request_id)
        if request is None or request.device_id != receipt.device_id:
            self._context.counters.responses_unexpected += 1
            if self._receipt_times.came_late(receipt.request_id, receipt.device_id, now):
                self._membership.view.heard(receipt.device_id, now)
            return
        if request.sends:
            self._receipt_times.came(now - request.sent_at)
        self._heard(request, now)
        self._membership.view.set_load(request.device_id, receipt.requests_waiting)
        if receipt.busy is not None:
            if receipt.busy is BusyReason.UNABLE:
                self._membership.view.set_unable(request.device_id)
            self._end(request, RequestState.BUSY)
            request.layer.owner.request_gone(request, receipt.busy.value, now)
            return
        request.state = advance(REQUEST_TRANSITIONS, request.state, RequestState.QUEUED)
        request.sends = 0
        timer, probe_s = (TimerKind.REQUEST, request.request_id), self._context.settings.probe_interval_s
        if probe_s < NEVER:
            wait = max(probe_s, min(2 * (receipt.expected_wait_s or 0.0), _PROBE_STRETCH_MAX * probe_s))
            self._context.timers.set(timer, now + wait)
        else:
            self._context.timers.clear(timer)

    def response_received(self, response: ProposalResponse, now: float) -> None:
        """A peer's response, or its word that there will be none."""
        request = self._open.get(response.request_id)
        if request is None or request.device_id != response.contribution.device_id:
            self._context.counters.responses_unexpected += 1
            return
        self._heard(request, now)
        if response.outcome is ItemOutcome.COMPLETED and response.text.strip():
            self._measure(request, now, finished=True)
            self._end(request, RequestState.JOINED)
            text = self._context.fit_text(response.text)
            request.layer.owner.request_answered(request, (text, response.contribution), now)
        else:
            self._end(request, RequestState.FAILED)
            reason = "empty" if response.outcome is ItemOutcome.COMPLETED else response.outcome.value
            request.layer.owner.request_gone(request, reason, now)

    def send_failed(self, event: SendFailed, now: float) -> None:
        """A request could not be sent, by this device's own fault: another peer would be no better heard, nor worse."""
        request = self._open.get(event.message_id)
        if request is not None and request.device_id == event.device_id:
            self._end(request, RequestState.LOST)
            request.layer.owner.request_gone(request, "not_sent", now)

    def timer_due(self, request_id: str, now: float) -> None:
        """The one timer of a request: it waits for a receipt, or after that for the next probe."""
        if self._open[request_id].sends:
            self.receipt_due(request_id, now)
        else:
            self.probe_due(request_id, now)

    def receipt_due(self, request_id: str, now: float) -> None:
        """No receipt came in time: the request is sent again, or its peer is suspected."""
        request = self._open[request_id]
        if not self._context.connected:  # nobody can be heard just now; `reconnected` sends it again
            return
        if request.sends < self._context.settings.request_sends_max:
            self._send(request, now)
            return
        self._context.counters.receipts_timed_out += 1
        self._receipt_times.given_up(request_id, request.device_id, request.sent_at)
        self._end(request, RequestState.LOST)
        self._membership.suspect(request.device_id, now)
        self._tell_cancelled(request)  # it may be alive and only slow: then it need not do the work
        request.layer.owner.request_gone(request, "silent", now)

    def probe_due(self, request_id: str, now: float) -> None:
        """A queued request has not been heard of for long: asks whether it is still there."""
        self._send(self._open[request_id], now)

    def peer_lost(self, device_id: str, now: float) -> None:
        """A device died or restarted: what it had queued is gone."""
        for request in [request for request in self._open.values() if request.device_id == device_id]:
            if request.request_id in self._open:  # a join just now may have cancelled it
                self._end(request, RequestState.LOST)
                request.layer.owner.request_gone(request, "lost", now)

    def peer_suspected(self, device_id: str, now: float) -> None:
        """A device is silent: what is queued there is asked after at once, instead of at its next probe."""
        for request in list(self._open.values()):
            if request.device_id == device_id and request.state is RequestState.QUEUED and not request.sends:
                self._send(request, now)

    def reconnected(self, now: float) -> None:
        """The broker is back: whatever was under way may have been lost with it, and is asked for again."""
        for request in list(self._open.values()):
            request.sends, request.promise = 0, None  # how long it takes now is not the peer's doing
            self._send(request, now)

    def check_invariants(self, active: Iterable[Session]) -> None:
        """Raises `InvariantError` if a request is known here and not in its session's layer, or nothing can end it."""
        theirs = {request_id for session in active if session.round for request_id in session.round.requests}
        if theirs != self._open.keys():
            raise InvariantError("requests and layers disagree on what is outstanding")
        if self._context.connected and self._context.settings.probe_interval_s < NEVER:
            for request_id in self._open:
                if (TimerKind.REQUEST, request_id) not in self._context.timers:
                    raise InvariantError(f"nothing would ever end request {request_id}")

    def _send(self, request: PeerRequest, now: float) -> None:
        session, layer, context = request.session, request.layer, self._context
        if not request.sends:
            request.sent_at = now
        request.sends += 1
        session.messages_sent += 1
        wish = session.prompt.options.sampling
        expires_in_s = time_left(layer.deadline, now)
        message = ProposalRequest(
            request_id=request.request_id,
            origin=context.identity.device_id,
            origin_home=context.identity.home_broker,
            layer=layer.number,
            messages=session.prompt.messages,
            references=self._references(session, layer),
            sampling=proposal_sampling(wish, layer.number, request.device_id) if layer.proposes else wish,
            expires_in_s=expires_in_s,
            yields=self._yields(session),
        )
        context.out.append(SendToDevice(request.device_id, request.home_broker, message, expires_in_s))
        context.timers.set((TimerKind.REQUEST, request.request_id), now + self._receipt_times.timeout_s)

    def _yields(self, session: Session) -> bool:
        return self._crowds(session.reply.holder)

    def _references(self, session: Session, layer: LayerRound) -> tuple[str, ...]:
        """What peers are given: the session's references as far as they fit into a message of today's broker."""
        limit = self._context.message_bytes_max
        if layer.fitted_to != limit:
            layer.references, bytes_cut = fit_references(session.prompt.messages, session.references, limit)
            session.reference_bytes_cut += max(0, bytes_cut - layer.reference_bytes_cut)
            layer.fitted_to, layer.reference_bytes_cut = limit, max(bytes_cut, layer.reference_bytes_cut)
        return layer.references

    def _measure(self, request: PeerRequest, now: float, *, finished: bool) -> None:
        """Learns how long a peer took, against what it said of its load when it was asked."""
        if request.promise is not None and self._context.connected:
            taken_s = now - request.asked_at
            self._membership.view.measure(request.device_id, request.promise, taken_s, finished=finished)

    def _heard(self, request: PeerRequest, now: float) -> None:
        request.session.messages_received += 1
        self._membership.view.heard(request.device_id, now)

    def _end(self, request: PeerRequest, state: RequestState) -> None:
        request.state = advance(REQUEST_TRANSITIONS, request.state, state)
        del self._open[request.request_id]
        del request.layer.requests[request.request_id]
        self._context.timers.clear((TimerKind.REQUEST, request.request_id))

    def _tell_cancelled(self, request: PeerRequest) -> None:
        request.session.messages_sent += 1
        cancel = RequestCancel(request.request_id, self._context.identity.device_id)
        self._context.out.append(SendToDevice(request.device_id, request.home_broker, cancel))
