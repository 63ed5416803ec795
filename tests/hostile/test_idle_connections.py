"""A stranger who fills a listener with connections that say nothing: what that costs others, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from pathlib import Path

import pytest

from broker.mosquitto_config import Limits
from broker.probe_client import ConnectRefusedError, Endpoint, ProbeClient
from edge_agent.wire.topics import Channel, topic_filter
from tests.support.patience import PATIENCE_S
from tests.support.secured import SecuredMesh

LOW = 64  # low file numbers kept for those who try: paho's `select` takes none above 1,023
pytestmark = [pytest.mark.broker, pytest.mark.long]


def gets_in(endpoint: Endpoint, mesh: SecuredMesh) -> bool:
    try:
        with ProbeClient("newcomer", endpoint, mesh.device("garage")):
            return True
    except ConnectRefusedError:
        return False


async def test_a_full_listener_costs_nobody_inside_anything_and_is_empty_again_by_itself(tmp_path: Path) -> None:
    mesh = SecuredMesh(tmp_path)
    async with mesh.broker(tmp_path / "broker") as broker:
        endpoint = mesh.endpoint(broker.port)
        with ProbeClient("kitchen", endpoint, mesh.device("kitchen")) as inside, contextlib.ExitStack() as silent:
            topic = topic_filter(mesh.name, "kitchen", Channel.ANSWERS, "user.alice", "0")
            kept_free = [os.dup(0) for _ in range(LOW)]
            for _ in range(Limits().connections_max + 10):
                with contextlib.suppress(OSError):
                    silent.enter_context(socket.create_connection((endpoint.host, endpoint.port)))
            for number in kept_free:
                os.close(number)
            assert not await asyncio.to_thread(gets_in, endpoint, mesh), "the listener is full"
            assert await asyncio.to_thread(inside.publish, [(topic, b"goes on", False)]) == [True]
            give_up_at = time.monotonic() + PATIENCE_S
            while not await asyncio.to_thread(gets_in, endpoint, mesh):
                assert time.monotonic() < give_up_at, "the silent ones are never cut"
                await asyncio.sleep(1.0)
            assert await asyncio.to_thread(inside.publish, [(topic, b"still", False)]) == [True]
            assert broker.restarts == 0
