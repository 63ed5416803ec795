"""The client that tries: what a broker that refuses leaves of it."""

from __future__ import annotations

import asyncio
import gc
import warnings
from pathlib import Path

import pytest

from broker.probe_client import ConnectRefusedError, Credentials, Endpoint, ProbeClient
from provisioning.authority import MeshAuthority


@pytest.mark.broker
@pytest.mark.parametrize("websockets", [False, True], ids=["mqtt", "websockets"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_connect_that_is_cut_off_leaves_no_socket_behind(tmp_path: Path, tls: bool, websockets: bool) -> None:
    MeshAuthority.create(tmp_path / "ca", "home")

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        endpoint = Endpoint("127.0.0.1", port, ca=tmp_path / "ca" / "ca.pem" if tls else None, websockets=websockets)
        client = ProbeClient("probe", endpoint, Credentials())
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            with pytest.raises(ConnectRefusedError):
                await asyncio.to_thread(client.connect)
            del client
            gc.collect()
    assert [str(one.message) for one in heard if issubclass(one.category, ResourceWarning)] == []
