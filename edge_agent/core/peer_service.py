"""What a device does for others: takes proposal requests, answers each at once with a receipt, later with a response.

Repeats are harmless: a request that is waiting, running or lately finished is never queued again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import replace

from edge_agent.core.context import Context
from edge_agent.core.effects import SendToDevice
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import InferenceCompleted
from edge_agent.core.inference import InferenceServer
from edge_agent.core.messages import (
    LAYERS_MAX,
    BusyReason,
    ProposalRequest,
    ProposalResponse,
    RequestCancel,
    RequestReceipt,
)
from edge_agent.core.queue import Item
from edge_agent.core.shares import device_holder
from edge_agent.core.sizes import size_of
from edge_agent.core.states import ItemOutcome, ItemRole
from edge_agent.core.timers import NEVER
from edge_agent.core.work import contribution_of


class PeerService:
    """The proposer's side of a proposal."""

    __slots__ = ("_context", "_finished", "_open", "_server")

    def __init__(self, context: Context, server: InferenceServer) -> None:
        self._context = context
        self._server = server
        self._open: dict[str, tuple[str, str]] = {}  # item id -> (origin, its home broker)
        self._finished: OrderedDict[str, ProposalResponse] = OrderedDict()

    def __len__(self) -> int:
        """The number of other devices' requests that wait or run here."""
        return len(self._open)

    def request_received(self, request: ProposalRequest, now: float) -> None:
        """Queues the request or says why not; a repeat gets its receipt or response again."""
        if request.origin == self._context.identity.device_id:  # forged: nobody asks itself over the network
            self._context.counters.bad_input += 1
            return
        item_id = _item_id(request.origin, request.request_id)
        finished = self._finished.get(item_id)
        if finished is not None:
            self._context.counters.requests_repeated += 1
            text = self._context.fit_text(finished.text)  # the broker may be another by now, which takes less
            self._send(request.origin, request.origin_home, replace(finished, text=text))
            return
        busy: BusyReason | None = None
        if item_id in self._open:
            self._context.counters.requests_repeated += 1
        else:
            busy = self._admit(item_id, request, now)
        receipt = RequestReceipt(
            request_id=request.request_id,
            device_id=self._context.identity.device_id,
            busy=busy,
            requests_waiting=self._server.turns_waiting(),
            expected_wait_s=self._server.expected_wait_s(now, device_holder(request.origin, yields=request.yields)),
        )
        self._send(request.origin, request.origin_home, receipt)

    def cancel_received(self, cancel: RequestCancel, now: float) -> None:
        """Drops a request that its origin no longer wants. Nothing is sent back."""
        item_id = _item_id(cancel.origin, cancel.request_id)
        if self._open.pop(item_id, None) is not None:
            self._server.cancel(item_id, now)

    def over_rate(self, device_id: str, home: str, request_id: str) -> None:
        """Tells a device that it sends too many messages a second; its request was not read.

        Of a request that is here already it was a repeat: nothing is said, or its origin would take it for refused.
        """
        item_id = _item_id(device_id, request_id)
        if item_id in self._open or item_id in self._finished:
            return
        self._context.counters.requests_refused += 1
        waiting = len(self._server.queue.waiting)
        receipt = RequestReceipt(request_id, self._context.identity.device_id, BusyReason.OVER_RATE, waiting, None)
        self._send(device_id, home, receipt)

    def origin_lost(self, device_id: str, now: float) -> None:
        """A device died or restarted: nobody waits any more for what it had asked."""
        for item_id in [item_id for item_id, (origin, _) in self._open.items() if origin == device_id]:
            if self._open.pop(item_id, None) is not None:
                self._server.cancel(item_id, now)

    def item_ended(self, item: Item, outcome: ItemOutcome, result: InferenceCompleted | None, now: float) -> None:
        """Sends the response and keeps it for repeats."""
        origin, home = self._open.pop(item.item_id)
        response = ProposalResponse(
            request_id=item.owner_key,
            outcome=outcome,
            text=self._context.fit_text(result.text) if result else "",
            detail=item.detail,
            contribution=contribution_of(self._context.identity, item, result, now),
        )
        self._finished[item.item_id] = response
        self._forget_responses()
        self._send(origin, home, response)

    def _forget_responses(self) -> None:
        """Over the bound the oldest of the origin with most goes: none pushes out what another may ask for again."""
        if len(self._finished) <= self._context.settings.responses_kept_max:
            return
        counted = Counter(map(_origin_of, self._finished))
        most = max(counted.values())
        oldest = next(item_id for item_id in self._finished if counted[_origin_of(item_id)] == most)
        del self._finished[oldest]

    def item_text(self, item: Item, text: str) -> None:
        """Proposals are not streamed."""

    def check_invariants(self) -> None:
        """Raises `InvariantError` if a request is open without an item, or too many responses are kept."""
        queue = self._server.queue
        if any(queue.find(item_id) is None for item_id in self._open):
            raise InvariantError("a peer's request is open but not in the queue")
        if len(self._finished) > self._context.settings.responses_kept_max:
            raise InvariantError("more responses are kept than may be")

    def _admit(self, item_id: str, request: ProposalRequest, now: float) -> BusyReason | None:
        size = size_of(request.messages, request.references)
        holder, work = device_holder(request.origin, yields=request.yields), request.sampling.max_output_tokens
        if not request.messages or not 1 <= request.layer <= LAYERS_MAX:
            busy: BusyReason | None = BusyReason.INVALID
        else:
            busy = self._server.refusal(holder, size, work, request.expires_in_s, now)
        if busy is not None:
            self._context.counters.requests_refused += 1
            self._server.reject(bool(request.references), now)
            return busy
        self._open[item_id] = (request.origin, request.origin_home)
        self._server.submit(
            Item(
                item_id=item_id,
                owner=self,
                owner_key=request.request_id,
                origin=request.origin,
                holder=holder,
                messages=request.messages,
                references=request.references,
                sampling=request.sampling,
                role=ItemRole.PEER,
                size_bytes=size,
                enqueued_at=now,
                expires_at=NEVER if request.expires_in_s is None else now + request.expires_in_s,
            ),
            now,
        )
        return None

    def _send(self, device_id: str, home: str, message: RequestReceipt | ProposalResponse) -> None:
        self._context.out.append(SendToDevice(device_id, home, message))


def _item_id(origin: str, request_id: str) -> str:
    """Ids of other devices' items begin with their origin, so that none can take the id of a session's item."""
    return f"{origin}/{request_id}"


def _origin_of(item_id: str) -> str:
    return item_id.partition("/")[0]
