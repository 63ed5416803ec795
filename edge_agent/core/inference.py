"""The server of the queue: takes items in order, hands them to the engine, and tells their owners how they ended."""

from __future__ import annotations

import math

from edge_agent.core.context import Context
from edge_agent.core.effects import CancelInference, RecordRequest, StartInference
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import InferenceCompleted, InferenceFailed, TextGenerated
from edge_agent.core.health import Part
from edge_agent.core.load import Load, LoadMeter
from edge_agent.core.messages import BusyReason
from edge_agent.core.queue import InferenceQueue, Item
from edge_agent.core.shares import Shortage
from edge_agent.core.states import ItemOutcome, ItemState
from edge_agent.core.timers import NEVER, TimerKind

_ENDS = {
    ItemOutcome.COMPLETED: ItemState.COMPLETED,
    ItemOutcome.EXPIRED: ItemState.EXPIRED,
    ItemOutcome.CANCELLED: ItemState.CANCELLED,
    ItemOutcome.FAILED: ItemState.FAILED,
}


class InferenceServer:
    """First come, first served; `slots` items at once. Each item that came in ends once, and its owner is told."""

    __slots__ = ("_context", "_slots", "_starting", "meter", "queue")

    def __init__(self, context: Context) -> None:
        settings = context.settings
        self._context = context
        self._slots = context.slots
        self._starting = False
        self.queue = InferenceQueue(
            settings.queue_capacity, settings.queue_bytes_max, settings.queue_work_max, settings.principal_share
        )
        self.meter = LoadMeter(context.slots)

    def refusal(
        self, holder: str, size_bytes: int, work: int, expires_in_s: float | None, now: float
    ) -> BusyReason | None:
        """Returns why another device's item may not come in now, `None` if it may."""
        if self._context.stopping:
            return BusyReason.STOPPING
        if not self._context.health.able:
            return BusyReason.UNABLE
        shortage = self.queue.shortage(holder, size_bytes, work)
        if shortage is not None:
            return BusyReason.OVER_SHARE if shortage is Shortage.SHARE else BusyReason.QUEUE_FULL
        if expires_in_s is not None:
            wait = self.expected_wait_s(now, holder)
            if wait is not None and wait > expires_in_s:
                return BusyReason.DEADLINE
        return None

    def expected_wait_s(self, now: float, holder: str = "") -> float | None:
        """Returns the seconds until an item of this holder's that came now would start (by default, of one who is not
        over its share), `None` before any service time is known.

        That is when the first of those running is done, by the mean of its kind, and then what those ahead take of all
        that the engine can do (`LoadMeter.work_s`): after each of them another slot is free."""
        times, meter = self.meter.service_times, self.meter
        queue = self.queue
        if not queue.waiting and len(queue.running) < self._slots:
            return 0.0
        total = math.inf
        for item in queue.running.values():
            mean = times.expected(bool(item.references))
            if mean is None:
                return None
            total = min(total, max(mean - (now - item.started_at), 0.0))
        if math.isinf(total):
            total = 0.0
        count, long_ones = len(queue.waiting), queue.waiting_with_references
        if queue.shares.has_over:
            ahead = [bool(item.references) for item in queue.ahead_of(holder)]
            count, long_ones = len(ahead), sum(ahead)
        total += long_ones * (meter.work_s(True) or 0.0)
        total += (count - long_ones) * (meter.work_s(False) or 0.0)
        return total

    def turns_waiting(self) -> int:
        """Returns how many services an item that came now would wait for: those waiting, shared out among the slots.
        With the mean service time this is what peers judge a device by."""
        return -(-len(self.queue.waiting) // self._slots)

    def load_at_prompt(self, now: float) -> Load:
        """Returns the load that a prompt which comes in now meets."""
        return self.meter.at_prompt(now, self.expected_wait_s(now))

    def submit(self, item: Item, now: float) -> None:
        """Puts an item in line; it starts at once if a slot is free."""
        self.advance(now)
        self.queue.push(item)
        if item.expires_at < NEVER:
            self._context.timers.set((TimerKind.ITEM, item.item_id), item.expires_at)
        self._offered(bool(item.references), accepted=True, now=now)
        self._start_waiting(now)

    def reject(self, with_references: bool, now: float) -> None:
        """Counts an item that was refused a place."""
        self._offered(with_references, accepted=False, now=now)

    def cancel(self, item_id: str, now: float) -> bool:
        """Takes an item out, waiting or running; its owner is not told, for it asked. Returns whether it was there."""
        item = self.queue.find(item_id)
        if item is None:
            return False
        self.advance(now)
        if item.state is ItemState.RUNNING:
            self._context.out.append(CancelInference(item_id))
        self._leave(item, ItemOutcome.CANCELLED, None, now)
        self._start_waiting(now)
        return True

    def item_due(self, item_id: str, now: float) -> None:
        """An item's deadline has come: it ends, also while it runs."""
        item = self.queue.find(item_id)
        if item is not None:
            self.advance(now)
            if item.state is ItemState.RUNNING:
                self._context.out.append(CancelInference(item_id))
            self._end(item, ItemOutcome.EXPIRED, None, now)

    def text_generated(self, event: TextGenerated) -> None:
        """Passes streamed text on to the owner of a running item."""
        item = self.queue.running.get(event.item_id)
        if item is not None and item.stream:
            item.owner.item_text(item, event.text)

    def completed(self, event: InferenceCompleted, now: float) -> None:
        """The engine finished an item. Unknown ids are late words on a cancelled one."""
        item = self.queue.running.get(event.item_id)
        if item is None:
            return
        self.advance(now)
        self.meter.item_served(item.item_id, bool(item.references), now - item.started_at)
        self._end(item, ItemOutcome.COMPLETED, event, now)

    def failed(self, event: InferenceFailed, now: float) -> None:
        """The engine could not do an item: tried again at once while attempts are left, else it fails."""
        item = self.queue.running.get(event.item_id)
        if item is None:
            return
        self.advance(now)
        may_retry = event.retryable and self._context.health.able and now < item.expires_at
        if may_retry and item.attempts < self._context.settings.inference_attempts_max:
            item.attempts += 1
            self._context.out.append(_start_effect(item))
            return
        item.detail = event.detail
        self._end(item, ItemOutcome.FAILED, None, now)

    def ability_changed(self, now: float) -> None:
        """The engine can infer again, or no longer: then whoever waits for it is told at once."""
        self.advance(now)
        self._start_waiting(now)

    def advance(self, now: float) -> None:
        """Brings the meter up to `now`. Needed before every change and before reading it."""
        self.meter.advance(now, len(self.queue.waiting), len(self.queue.running))

    def _offered(self, with_references: bool, *, accepted: bool, now: float) -> None:
        self.meter.item_offered(accepted=accepted, work_s=self.meter.work_s(with_references), now=now)

    def _end(self, item: Item, outcome: ItemOutcome, result: InferenceCompleted | None, now: float) -> None:
        self._leave(item, outcome, result, now)
        item.owner.item_ended(item, outcome, result, now)
        self._start_waiting(now)

    def _start_waiting(self, now: float) -> None:
        """Hands waiting items to the engine while it has a slot free; where it cannot infer, they fail.

        An owner that is told of an ended item may submit its next one or cancel others: this very loop serves them, or
        calls would nest as deep as the line is long.
        """
        if self._starting:
            return
        self._starting = True
        queue, health = self.queue, self._context.health
        while (not health.able or len(queue.running) < self._slots) and (item := queue.pop()) is not None:
            if now >= item.expires_at:
                self._leave(item, ItemOutcome.EXPIRED, None, now)
                item.owner.item_ended(item, ItemOutcome.EXPIRED, None, now)
                continue
            if not health.able:
                item.detail = f"this device cannot infer: {health.of(Part.ENGINE)}"
                self._leave(item, ItemOutcome.FAILED, None, now)
                item.owner.item_ended(item, ItemOutcome.FAILED, None, now)
                continue
            queue.start(item, now)
            self.meter.item_started(item.item_id)
            self._context.out.append(_start_effect(item))
        self._starting = False

    def _leave(self, item: Item, outcome: ItemOutcome, result: InferenceCompleted | None, now: float) -> None:
        started = item.attempts > 0
        self._context.timers.clear((TimerKind.ITEM, item.item_id))
        self.queue.end(item, _ENDS[outcome])
        self.meter.item_left(item.item_id)
        self.meter.totals[outcome] += 1  # an outcome is its own name
        self._context.out.append(
            RecordRequest(
                role=item.role,
                outcome=outcome,
                waiting_time_s=(item.started_at if started else now) - item.enqueued_at,
                service_time_s=now - item.started_at if started else 0.0,
                sojourn_time_s=now - item.enqueued_at,
                time_to_first_token_s=result.time_to_first_token_s if result else 0.0,
                input_tokens=result.input_tokens if result else 0,
                output_tokens=result.output_tokens if result else 0,
            )
        )

    def check_invariants(self) -> None:
        """Raises `InvariantError` if the queue contradicts itself or a slot is free while items wait."""
        self.queue.check_invariants()
        if len(self.queue.running) > self._slots:
            raise InvariantError("more items run than the engine has slots")
        if self.queue.waiting and len(self.queue.running) < self._slots:
            raise InvariantError("items wait while a slot is free")
        timers = self._context.timers
        for item in (*self.queue.waiting.values(), *self.queue.running.values()):
            if item.expires_at < NEVER and (TimerKind.ITEM, item.item_id) not in timers:
                raise InvariantError(f"nothing would end item {item.item_id} at its deadline")


def _start_effect(item: Item) -> StartInference:
    return StartInference(item.item_id, item.messages, item.references, item.sampling, item.stream)
