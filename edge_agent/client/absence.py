"""When a device that took a prompt went offline: it said farewell, its broker did for it, or its statuses stopped."""

from __future__ import annotations

import asyncio
import time

from edge_agent.client.mesh_client import MeshClient
from edge_agent.client.roster import DeviceState

GONE_S = 10.0  # a restart takes seconds, and then the device answers what it owes
POLL_S = 0.25
_AWAY = frozenset({DeviceState.OFFLINE, DeviceState.STOPPED, DeviceState.SILENT})


def is_away(client: MeshClient, device_id: str) -> bool:
    """Whether a device was heard of and is not there now, as far as a connected client knows."""
    view = client.roster.get(device_id)
    return client.connected and view is not None and view.state(time.monotonic()) in _AWAY


async def until_gone(client: MeshClient, device_id: str) -> None:
    """Returns once a device has been away for `GONE_S` seconds without a break. The client must watch the mesh.

    Without a connection nothing is known, and a broker that came back must hear of its devices first: time counts from
    then on.
    """
    away_since: float | None = None
    while True:
        now = time.monotonic()
        if not is_away(client, device_id):
            away_since = None
        elif now >= max(client.connected_at, away_since if away_since is not None else now) + GONE_S:
            return
        elif away_since is None:
            away_since = now
        await asyncio.sleep(POLL_S)
