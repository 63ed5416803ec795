"""What an inference cost, as it is told to others."""

from __future__ import annotations

from edge_agent.core.events import InferenceCompleted
from edge_agent.core.messages import Contribution, FinishReason
from edge_agent.core.queue import Item
from edge_agent.core.settings import DeviceIdentity


def contribution_of(
    identity: DeviceIdentity, item: Item, result: InferenceCompleted | None, now: float
) -> Contribution:
    """Returns who did the item and what it cost; `now` is when it ended. Times are seconds."""
    started = item.started_at if item.attempts else now
    return Contribution(
        device_id=identity.device_id,
        model=identity.model,
        waiting_time_s=started - item.enqueued_at,
        service_time_s=now - started,
        input_tokens=result.input_tokens if result else 0,
        output_tokens=result.output_tokens if result else 0,
        input_tokens_cut=result.input_tokens_cut if result else 0,
        synthetic=identity.synthetic,
        finish_reason=result.finish_reason if result else FinishReason.STOP,
    )
