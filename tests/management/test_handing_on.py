"""Where no broker is shared, a revocation goes from device to device, and each device's own broker follows it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from edge_agent.wire.topics import OPERATOR_ID, Channel, topic_filter, written_by
from provisioning.identity_store import IdentityStore
from provisioning.link import Link, LinkError
from provisioning.messages import RevocationList, encode
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from provisioning.revocation import serials_in
from tests.management.test_live import Device, until
from tests.provisioning.home import MESH, Home
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_ports
from tests.support.secured import HOST

TRY_S = 30.0  # for one connection, which a broker that starts over may leave without an answer


class Member(Device):
    """A device that is at home at a broker of its own, with the identity it got in its seed."""

    def __init__(self, home: Home, device_id: str, port: int) -> None:
        super().__init__(home, device_id)
        self.port = port
        self.store = IdentityStore(self.folder / "identity", MESH, device_id)
        self.store.trust(home.authority.bundle_pem)
        self.store.adopt(home.mesh.enrol(device_id, home.authority, [HOST]))
        self.store.take_crl(home.authority.crl_pem.decode())

    def configure(self, seed: Member) -> None:
        (self.folder / "agent.toml").write_text(
            f"""
            [device]
            id = "{self.device_id}"
            mesh = "{MESH}"
            data_dir = "data"
            [broker]
            mode = "own"
            address = "{HOST}"
            port = {self.port}
            local_port = {free_ports(1)[0]}
            mdns = false
            ca_file = "identity/ca.pem"
            crl_file = "identity/crl.pem"
            cert_file = "identity/identity.pem"
            key_file = "identity/identity.pem"
            [engine]
            kind = "synthetic"
            [agent]
            gossip_interval_s = 0.5
            [[seeds]]
            device_id = "{seed.device_id}"
            home_broker = "mqtts://{HOST}:{seed.port}"
            """
        )

    def revoked(self) -> frozenset[int]:
        return serials_in(self.store.crl_file.read_bytes())

    async def listening(self) -> None:
        """Returns once its broker lets the operator in and the device has subscribed: its presence is there."""
        ends_at = asyncio.get_running_loop().time() + PATIENCE_S
        while asyncio.get_running_loop().time() < ends_at:
            with contextlib.suppress(LinkError, TimeoutError):
                async with asyncio.timeout(TRY_S), self.as_operator() as link:
                    await link.subscribe(topic_filter(MESH, self.device_id, Channel.PRESENCE))
                    await link.receive()
                    return
            await asyncio.sleep(0.1)
        raise AssertionError("its broker is not there")

    @contextlib.asynccontextmanager
    async def as_operator(self) -> AsyncIterator[Link]:
        mesh = self.home.mesh
        access = BrokerAccess(
            f"mqtts://{HOST}:{self.port}",
            OPERATOR_ID,
            mesh.ca_file,
            mesh.operator_certificate,
            mesh.operator_key,
            broker_of=self.device_id,
        )
        async with mqtt_connect(access)() as link:
            yield link


async def test_a_revocation_told_to_one_device_reaches_the_others(tmp_path: Path) -> None:
    home = Home(tmp_path)
    kitchen, pantry = (
        Member(home, name, port) for name, port in zip(("kitchen", "pantry"), free_ports(2), strict=True)
    )
    kitchen.configure(pantry)
    pantry.configure(kitchen)
    home.mesh.enrol("attic", home.authority)
    serials = home.mesh.revoke("attic", home.authority)
    assert not kitchen.revoked()
    assert not pantry.revoked()
    async with kitchen.running(), pantry.running():
        await kitchen.listening()
        async with kitchen.as_operator() as operator:
            body = encode(RevocationList(home.authority.crl_pem.decode()))
            await operator.publish(written_by(OPERATOR_ID, MESH, "kitchen", Channel.REVOCATIONS), body)
        await until(lambda: set(serials) <= kitchen.revoked(), "the operator's word at the device it was told to")
        await until(lambda: set(serials) <= pantry.revoked(), "the same at the device nobody told")
        await pantry.logged("the revocation list has changed")
