"""Users at brokers that want to know who they are, and at clusters of which a node dies."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.mosquitto import MosquittoBroker
from edge_agent.client import Access, BrokerUnreachableError, ClientSettings, MeshClient
from edge_agent.core.messages import Answer
from edge_agent.mqtt import TlsFiles
from tests.client.conftest import LocalBroker
from tests.client.scripted_device import scripted_device
from tests.client.test_mesh_client import QUICK, answers_well
from tests.support.doors import doorways
from tests.support.patience import PATIENCE_S
from tests.support.secured import HOST, SecuredMesh

pytestmark = pytest.mark.broker


async def refused(url: str, access: Access) -> str:
    """Why a user is not let in. A connection that had no answer yet says nothing of it and is given more time."""
    timeout_s, said = 1.5, "no answer"
    while said.endswith("no answer"):
        with pytest.raises(BrokerUnreachableError) as caught:
            async with MeshClient(url, "test", access=access, settings=ClientSettings(connect_timeout_s=timeout_s)):
                pass
        said, timeout_s = str(caught.value), 2 * timeout_s
        assert timeout_s < 4 * PATIENCE_S, said
    return said


@contextlib.asynccontextmanager
async def secured(folder: Path) -> AsyncIterator[tuple[SecuredMesh, str, Access]]:
    """A mesh whose device answers: the mesh, where users connect, and how user alice gets in."""
    mesh = SecuredMesh(folder, "test")
    credentials, alice = mesh.device("device-1"), mesh.user("alice")
    files = mesh.broker_files(folder / "broker")
    listeners = files.config.listeners
    tls = TlsFiles(str(mesh.ca), str(credentials.certificate), str(credentials.key))
    async with (
        MosquittoBroker(files, lambda: mesh.people),
        scripted_device(f"mqtts://{HOST}:{listeners.devices}", answers_well, tls=tls),
    ):
        access = Access(alice.username, alice.password, TlsFiles(str(mesh.ca)))
        yield mesh, f"mqtts://{HOST}:{listeners.passwords}", access


async def test_a_user_with_a_password_asks_over_tls_and_two_sessions_do_not_disturb_each_other(tmp_path: Path) -> None:
    async with secured(tmp_path) as (_, url, access):
        assert (access.principal, access.client) == ("user.alice", "0")
        async with (
            MeshClient(url, "test", access=access, settings=QUICK) as one,
            MeshClient(url, "test", access=access, settings=QUICK) as two,
        ):
            asked = [client.ask_to_end("device-1", "why?") for client in (one, two) for _ in range(5)]
            ended = await asyncio.gather(*asked)
            assert all(isinstance(end, Answer) for end in ended)
            assert one.connected
            assert two.connected


async def test_who_is_not_let_in_is_told_so(tmp_path: Path) -> None:
    async with secured(tmp_path) as (_, url, access):
        wrong = (
            (Access(access.username, "guessed", access.tls), "[Nn]ot authori[sz]ed|[Bb]ad user name"),
            (Access(tls=access.tls), "[Nn]ot authori[sz]ed"),
            (Access(access.username, access.password), "certificate verify failed"),
            (Access(access.username, access.password, TlsFiles(f"{tmp_path}/missing.pem")), "No such file"),
        )
        for bad, why in wrong:
            assert re.search(why, await refused(url, bad))
            assert str(access.password) not in repr(bad)


async def test_a_devices_own_broker_is_known_by_its_name_where_the_address_is_not_in_its_certificate(
    tmp_path: Path,
) -> None:
    mesh = SecuredMesh(tmp_path, "test")
    mesh._files(mesh.authority.issue_device("kitchen"), "kitchen")
    operator = mesh.operator()
    tls = TlsFiles(str(mesh.ca), str(operator.certificate), str(operator.key))
    broker = mesh.device_broker("kitchen")
    await broker.start()
    url = f"mqtts://{HOST}:{broker.port}"
    try:
        async with MeshClient(url, "test", access=Access(tls=tls, broker_of="kitchen"), settings=QUICK) as client:
            assert client.connected
        for other in ("", "pantry"):
            assert "is not valid for this broker" in await refused(url, Access(tls=tls, broker_of=other))
    finally:
        await broker.stop()


async def test_a_user_moves_to_another_address_when_one_dies_and_gets_every_answer(own_broker: LocalBroker) -> None:
    async with doorways(own_broker.port, 2) as doors, scripted_device(own_broker.url, answers_well):
        home = ",".join(f"mqtt://{HOST}:{door.port}" for door in doors)
        async with MeshClient(home, "test", settings=QUICK) as client:
            for door in (*doors, *doors):
                asking = asyncio.create_task(client.ask_to_end("device-1", "why?"))
                await door.shut()
                assert isinstance(await asking, Answer)
                await door.open()
        assert all(door.passed for door in doors)


async def test_the_first_address_may_be_dead_from_the_start(own_broker: LocalBroker) -> None:
    async with doorways(own_broker.port, 3) as doors:
        for door in doors[:2]:
            await door.shut()
        home = ",".join(f"mqtt://{HOST}:{door.port}" for door in doors)
        async with MeshClient(home, "test", settings=QUICK) as client:
            assert client.connected
            assert client.url == home
