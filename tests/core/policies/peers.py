"""Views to select from."""

from __future__ import annotations

from edge_agent.core.messages import PeerEntry
from edge_agent.core.settings import DeviceIdentity

OWN = DeviceIdentity("own", home_broker="here", model="qwen-small", model_family="qwen")


def peer(
    name: str,
    *,
    waiting: int = 0,
    service_s: float | None = 1.0,
    family: str = "qwen",
    model: str = "qwen-small",
    home: str = "here",
) -> PeerEntry:
    return PeerEntry(name, home, model, family, 1, 1, waiting, service_s)


def peers(count: int, **told: object) -> list[PeerEntry]:
    return [peer(f"d{number}", **told) for number in range(count)]  # type: ignore[arg-type]  # as `peer` takes them


def ids(entries: list[PeerEntry]) -> list[str]:
    return [entry.device_id for entry in entries]
