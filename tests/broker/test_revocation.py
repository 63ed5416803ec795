"""Who is revoked is out in every mode of broker: the live session ends, and the next connect gets nobody anywhere.

Judged by what happens, however long that takes here. That it takes at most `REVOKED_WITHIN_S` on a machine that has
time follows from the product's own periods, which are added up.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from broker import own_broker
from broker.ejabberd import EjabberdNode, NodeSettings, new_cookie
from broker.mosquitto_config import Listeners
from broker.mosquitto_files import ServerFiles
from broker.per_device import DeviceBroker
from broker.probe_client import ConnectRefusedError, Credentials, Endpoint, ProbeClient
from edge_agent.operator.broker.people import MeshPeople
from edge_agent.wire.topics import Channel, topic_filter
from provisioning import link, service
from provisioning.errors import ProvisioningError
from provisioning.operator_files import serial_in
from provisioning.records import CertificateKind
from tests.provisioning.home import MESH, Home
from tests.support.ejabberd import HOSTS
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.support.ports import free_ports
from tests.support.secured import HOST

pytestmark = pytest.mark.broker
REVOKED_WITHIN_S = 15.0
RESTART_S = 3.0  # of ejabberd, the slowest; mosquitto takes 15 ms


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def member(home: Home, device: str) -> Credentials:
    store = home.joined(device)
    return Credentials(store.identity_file, store.identity_file, username=device)


def stolen_operator(home: Home) -> Credentials:
    certificate, key = home.folder / "stolen.pem", home.folder / "stolen.key"
    for path, content in zip((certificate, key), home.mesh.operator.read(), strict=True):
        path.write_bytes(content)
    return Credentials(certificate, key, username="operator")


async def shut_out(endpoint: Endpoint, thief: Credentials, friend: Credentials, revoke: object) -> None:
    """The thief is in, is revoked, is cut off and does not come back; the friend does."""
    live = ProbeClient("thief", endpoint, thief)
    await asyncio.to_thread(live.connect)
    assert callable(revoke)
    await asyncio.to_thread(revoke)
    assert await asyncio.to_thread(live.wait_until_ended, PATIENCE_S)
    await asyncio.to_thread(live.close)

    def comes_in() -> bool:
        try:
            with ProbeClient("friend", endpoint, friend):
                return True
        except ConnectRefusedError:
            return False

    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(comes_in):
            pass
    with pytest.raises(ConnectRefusedError):
        await asyncio.to_thread(ProbeClient("thief", endpoint, thief).connect)


def revoke_operator(home: Home) -> None:
    serial = serial_in(home.folder / "stolen.pem")
    assert serial is not None
    assert home.mesh.revoke_certificate(CertificateKind.OPERATOR, serial, home.authority)


@pytest.mark.parametrize("who", ["a device", "the operator"])
async def test_at_a_mosquitto_that_all_share(home: Home, who: str) -> None:
    friend = member(home, "kitchen")
    async with home.broker() as broker:
        endpoint = Endpoint(HOST, broker.port, home.mesh.ca_file)
        if who == "a device":
            thief = member(home, "garage")
            await shut_out(endpoint, thief, friend, lambda: home.mesh.revoke("garage", home.authority))
        else:
            await shut_out(endpoint, stolen_operator(home), friend, lambda: revoke_operator(home))
            own = Credentials(home.mesh.operator_certificate, home.mesh.operator_key)
            await asyncio.to_thread(lambda: ProbeClient("operator", endpoint, own).__enter__().close())


@pytest.mark.parametrize("who", ["a device", "the operator"])
async def test_at_a_devices_own_broker(home: Home, who: str) -> None:
    """`tests/management/test_handing_on.py` shows how the list gets there."""
    friend = member(home, "kitchen")
    attic, (port,) = home.store("attic"), free_ports(1)
    attic.adopt(home.mesh.enrol("attic", home.authority, [HOST]))
    pem = attic.identity_file
    files = (pem, pem, home.mesh.ca_file, home.mesh.crl_file)
    broker = DeviceBroker(home.folder / "own", "attic", MESH, *files, HOST, port)
    await broker.start()
    try:
        endpoint = Endpoint(HOST, port, home.mesh.ca_file)
        if who == "a device":
            thief = member(home, "garage")
            await shut_out(endpoint, thief, friend, lambda: home.mesh.revoke("garage", home.authority))
        else:
            await shut_out(endpoint, stolen_operator(home), friend, lambda: revoke_operator(home))
    finally:
        await broker.stop()


async def test_at_a_cluster_also_when_somebody_would_give_its_name_to_a_new_card(home: Home) -> None:
    """ejabberd reads no list: it lets the old card connect, which then may do nothing, for its name is shut out. So the
    name must not come back while the old card's certificate is good."""
    thief, friend = member(home, "garage"), member(home, "kitchen")
    server = home.authority.issue_broker(["localhost", *HOSTS])
    certificate, key, cookie = (home.folder / name for name in ("node.pem", "node.key", "cookie"))
    for path, content in zip((certificate, key, cookie), (*_pems(server), new_cookie().encode()), strict=True):
        path.touch(mode=0o600)
        path.write_bytes(content)
    device_port, password_port, node_port = free_ports(3)
    settings = NodeSettings(
        home.folder / "node1",
        f"node1@{HOSTS[0]}",
        MESH,
        Listeners(HOSTS[0], device_port, password_port, None),
        ServerFiles(certificate, key, home.mesh.ca_file, home.mesh.crl_file),
        cookie,
        (),
        node_port,
    )
    people = MeshPeople(home.mesh)
    endpoint = Endpoint(HOSTS[0], device_port, home.mesh.ca_file)

    def may_write(credentials: Credentials) -> bool:
        name = credentials.username or ""
        with ProbeClient("again", endpoint, credentials) as client:
            return client.publish([(topic_filter(MESH, "attic", Channel.REPLIES, name), b"", False)]) == [True]

    async with EjabberdNode(settings, people, people.revoked) as node:
        assert await asyncio.to_thread(may_write, thief)
        live = ProbeClient("thief", endpoint, thief)
        await asyncio.to_thread(live.connect)
        home.mesh.revoke("garage", home.authority)
        assert await asyncio.to_thread(live.wait_until_ended, PATIENCE_S)
        await asyncio.to_thread(live.close)
        await until(lambda: node.revision > 0, "the node took it over", PATIENCE_S)
        assert await asyncio.to_thread(may_write, friend)
        assert not await asyncio.to_thread(may_write, thief)
        with pytest.raises(ProvisioningError, match="garage was revoked, and its certificates are valid until"):
            home.invite("garage")
        assert "garage" in people.revoked()
        assert not await asyncio.to_thread(may_write, thief)


def _pems(identity: object) -> tuple[bytes, bytes]:
    return identity.certificate_pem, identity.key_pem  # type: ignore[attr-defined]  # an Identity


def test_the_products_own_periods_add_up_to_less_than_the_bound() -> None:
    shared = own_broker.FOLLOW_S + RESTART_S
    # told by the operator's service, which may just then be coming back to that broker
    own = service.WATCH_S + link.PAUSE_MAX_S + own_broker.FOLLOW_S + RESTART_S
    assert max(shared, own) < REVOKED_WITHIN_S
