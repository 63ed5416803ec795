"""Messages as devices send them."""

from __future__ import annotations

from edge_agent.core.messages import (
    Answer,
    Contribution,
    DeviceStatus,
    PeerEntry,
    Presence,
    PresenceState,
    Provenance,
)
from edge_agent.core.states import Outcome


def presence(device_id: str = "device-1", state: PresenceState = PresenceState.ONLINE) -> Presence:
    entry = PeerEntry(device_id, "mqtt://127.0.0.1:1883", "tiny", "tiny", 1, 1, 0, None)
    return Presence(entry, state, 32, "0.1.0")


def status(device_id: str = "device-1", *, waiting: int = 1, waiting_mean: float = 0.5) -> DeviceStatus:
    return DeviceStatus(
        device_id=device_id,
        model="tiny",
        synthetic=False,
        interval_s=1.0,
        requests_waiting=waiting,
        requests_running=1,
        requests_waiting_mean=waiting_mean,
        requests_waiting_predicted=0.25,
        queue_capacity=32,
        arrival_rate_hz=0.1,
        service_time_s_mean=1.5,
        service_time_scv=1.0,
        utilisation=0.75,
        offered_load=0.375,
        stability_margin=0.2,
        accepted=7,
        completed=5,
        rejected=1,
        expired=0,
        cancelled=0,
        failed=0,
        sessions_active=1,
        peers_alive=3,
    )


def contribution(device_id: str, output_tokens: int = 20) -> Contribution:
    return Contribution(device_id, "tiny", 0.5, 1.5, 30, output_tokens)


def answer(prompt_id: str = "p", device_id: str = "device-1", text: str = "because") -> Answer:
    layer = tuple(contribution(name) for name in (device_id, "device-2", "device-3"))
    provenance = Provenance(
        device_id=device_id,
        layer_count=2,
        fanout=2,
        layers=(layer, layer),
        aggregation=contribution(device_id, 40),
        substitutes=(),
        missing=(),
        policies=(("peer_selection", "uniform"),),
        messages_sent=4,
        messages_received=8,
    )
    return Answer(prompt_id, device_id, Outcome.ANSWERED, text, "", 6.5, provenance)
