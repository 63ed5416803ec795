"""Claims and renewals through a real mosquitto with mutual TLS and passwords."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from edge_agent.tasks import within
from edge_agent.wire.topics import OPERATOR_ID, Channel, build, written_by
from provisioning.authority import MeshAuthority
from provisioning.certificates import make_csr, new_key
from provisioning.claiming import RefusedError, claim, renew
from provisioning.errors import ProvisioningError
from provisioning.identity_store import IdentityStore
from provisioning.link import Connect, Link, LinkError, Received
from provisioning.mesh import Invitation
from provisioning.messages import CertificateRefused, ClaimRequest, Message, RefusalReason, decode, encode
from provisioning.proofs import claim_proof, proof_key
from provisioning.records import DeviceState
from tests.provisioning.home import MESH, PAUSE_S, Home, in_days
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker
CERTIFICATES = build(MESH, "kitchen", Channel.CERTIFICATES)


async def claimed(home: Home, store: IdentityStore, invitation: Invitation) -> None:
    connect = home.claimant(invitation, store)
    await claim(store, invitation.secret, connect, give_up_s=PATIENCE_S, pause_min_s=PAUSE_S)


async def connects(connect: Connect) -> bool:
    try:
        async with connect() as link:
            await link.subscribe(CERTIFICATES)
    except LinkError:
        return False
    return True


async def drained(link: Link) -> None:
    while True:
        await link.receive()


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():  # noqa: ASYNC110 -- waits for another process
                await asyncio.sleep(0.05)
            return
    raise AssertionError(f"did not happen in {PATIENCE_S} s: {what}")


async def asked(connect: Connect, channel: Channel, message: Message, device_id: str = "kitchen") -> Message:
    """Says something on a device's channel and returns what is answered."""
    async with asyncio.timeout(PATIENCE_S), connect() as link:
        await link.subscribe(build(MESH, device_id, Channel.CERTIFICATES))
        await link.publish(build(MESH, device_id, channel), encode(message))
        return decode((await link.receive()).body, Channel.CERTIFICATES)


class _Losing:
    """A connection on which the first message that comes in gets lost."""

    def __init__(self, link: Link, lost: list[Received]) -> None:
        self.subscribe, self.publish = link.subscribe, link.publish
        self._link, self._lost = link, lost

    async def receive(self) -> Received:
        if not self._lost:
            self._lost.append(await self._link.receive())
        return await self._link.receive()


def losing(connect: Connect, lost: list[Received]) -> Connect:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Link]:
        async with connect() as link:
            yield _Losing(link, lost)

    return opened


async def test_a_device_claims_its_certificate_connects_with_it_and_its_secret_is_burnt(home: Home) -> None:
    invitation = home.invite("kitchen")
    store = home.store("kitchen", invitation)
    async with home.broker() as broker, home.serving():
        await claimed(home, store, invitation)
        assert await connects(home.member(store))

        async def refused() -> bool:
            return not await connects(home.claimant(invitation, store))

        await until(refused, "the broker refuses the burnt secret")
        await broker.follow()
    certificate = store.certificate()
    assert certificate is not None
    with home.mesh.inventory() as inventory:
        row = inventory.device("kitchen")
        assert (row.state, row.serial, inventory.claim("kitchen")) == (
            DeviceState.ACTIVE,
            certificate.serial_number,
            None,
        )
    assert {path.name for path in store.folder.glob("[!.]*")} == {"ca.pem", "crl.pem", "identity.pem"}


async def test_a_lost_answer_is_asked_for_again_and_is_the_same_certificate(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    invitation = home.invite("kitchen")
    store = home.store("kitchen", invitation)
    lost: list[Received] = []
    async with home.broker(), home.serving():
        connect = losing(home.claimant(invitation, store), lost)
        certificate = await claim(
            store, invitation.secret, connect, give_up_s=PATIENCE_S, pause_min_s=PAUSE_S, answer_timeout_s=1.0
        )
    assert len(lost) == 1
    assert "the same certificate sent again" in caplog.text
    with home.mesh.inventory() as inventory:
        assert [row.serial for row in inventory.certificates("kitchen")] == [certificate.serial_number]


async def test_a_used_claim_is_refused_with_another_key(home: Home) -> None:
    invitation = home.invite("kitchen")
    store = home.store("kitchen", invitation)
    other = IdentityStore(home.folder / "thief", MESH, "kitchen")
    other.trust(invitation.bundle_pem)
    async with home.broker(), home.serving():
        connect = home.claimant(invitation, store)
        first = await asked(connect, Channel.CLAIMS, store.claim_request(invitation.secret))
        assert not isinstance(first, CertificateRefused)
        with pytest.raises(RefusedError, match=r"the claim of kitchen was used with another key.*\(used\)"):
            await claim(other, invitation.secret, home.claimant(invitation, other), give_up_s=PATIENCE_S)
    assert other.certificate() is None


async def test_the_broker_refuses_an_expired_claim_and_the_device_says_so(home: Home) -> None:
    invitation = home.invite("kitchen", lifetime_s=1.0)
    store = home.store("kitchen", invitation)

    async def expired() -> bool:
        return not home.people().claims

    await until(expired, "the second passes")
    async with home.broker(), home.serving():
        with pytest.raises(ProvisioningError, match="the broker refuses this name and secret"):
            await claim(store, invitation.secret, home.claimant(invitation, store), give_up_s=10.0)


async def test_a_request_in_another_name_is_refused(home: Home) -> None:
    invitation = home.invite("kitchen")
    home.invite("garage")
    store = home.store("kitchen", invitation)
    csr = make_csr(new_key(), MESH, "garage")
    proof = claim_proof(proof_key(invitation.secret), MESH, "kitchen", csr)
    async with home.broker(), home.serving():
        answer = await asked(
            home.claimant(invitation, store), Channel.CLAIMS, ClaimRequest("forged", csr.decode(), proof)
        )
    assert isinstance(answer, CertificateRefused)
    assert answer.reason is RefusalReason.BAD_REQUEST
    assert "another device, not kitchen's" in answer.detail
    with home.mesh.inventory() as inventory:
        assert inventory.certificates("kitchen") == inventory.certificates("garage") == []


async def test_a_device_of_another_mesh_does_not_trust_the_broker_and_says_so(home: Home, tmp_path: Path) -> None:
    invitation = home.invite("kitchen")
    stranger = MeshAuthority.create(tmp_path / "stranger", MESH)
    store = IdentityStore(tmp_path / "device", MESH, "kitchen")
    store.trust(stranger.bundle_pem)
    async with home.broker(), home.serving():
        with pytest.raises(ProvisioningError, match="its certificate is not issued by the authority in"):
            await claim(store, invitation.secret, home.claimant(invitation, store), give_up_s=10.0)
    assert store.certificate() is None


async def test_a_claim_waits_for_a_service_that_comes_later(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    invitation = home.invite("kitchen")
    store = home.store("kitchen", invitation)
    async with home.broker():
        connect = home.claimant(invitation, store)
        asking = asyncio.create_task(
            claim(
                store,
                invitation.secret,
                connect,
                give_up_s=PATIENCE_S,
                pause_min_s=PAUSE_S,
                answer_timeout_s=0.2,
            )
        )

        async def said() -> bool:
            return "nobody answers the claim; is `moamesh mesh serve` running?" in caplog.text

        await until(said, "the device says what it waits for")
        async with home.serving():
            await asking
    assert store.certificate() is not None


async def test_a_member_renews_with_a_new_key_and_both_certificates_work_until_the_old_is_dropped(home: Home) -> None:
    store = home.joined("kitchen")
    before = store.identity_file.read_bytes()
    async with home.broker(), home.serving():
        certificate = await renew(store, home.member(store), give_up_s=PATIENCE_S, pause_min_s=PAUSE_S)
        after = store.identity_file.read_bytes()
        assert after != before
        old = store.folder / "previous.pem"
        assert old.read_bytes() == before
        assert await connects(home.member(store, identity=old))
        assert await connects(home.member(store))
        store.prove()
    assert not old.exists()
    with home.mesh.inventory() as inventory:
        assert inventory.device("kitchen").serial == certificate.serial_number
        assert len(inventory.certificates("kitchen")) == 2


async def test_a_revoked_device_is_cut_off_and_cannot_come_back(home: Home) -> None:
    store, garage = home.joined("kitchen"), home.joined("garage")
    async with home.broker() as broker, home.serving():
        async with home.member(store)() as link:
            await link.subscribe(CERTIFICATES)
            home.mesh.revoke("kitchen", home.authority)
            with pytest.raises(LinkError):
                await within(drained(link), PATIENCE_S)
        await broker.follow()  # it is back
        assert await connects(home.member(garage))
        assert not await connects(home.member(store))


async def test_in_a_rotation_old_and_new_certificates_work_and_after_it_only_the_new(home: Home) -> None:
    kitchen, garage = home.joined("kitchen"), home.joined("garage")
    async with home.broker() as broker, home.serving():
        home.authority.rotate()
        home.mesh.renew_operator(home.authority)
        await broker.follow()
        assert await connects(home.member(kitchen))

        # kitchen hears of the new CA with its renewal, over its old certificate
        async def renewed() -> bool:
            with contextlib.suppress(ProvisioningError):
                await renew(kitchen, home.member(kitchen), give_up_s=PATIENCE_S, pause_min_s=PAUSE_S)
                return True
            return False

        await until(renewed, "kitchen renews")
        assert len(kitchen.bundle().authorities) == 2
        assert not kitchen.renewal_due(in_days(0.0))
        assert await connects(home.member(kitchen))
        assert await connects(home.member(garage))

        home.authority.finish_rotation()
        home.issue_server()
        await broker.follow()
        assert await connects(home.member(kitchen))
        assert not await connects(home.member(garage))


async def test_members_hear_of_a_rotation_and_of_revocations_from_the_service(home: Home) -> None:
    kitchen = home.joined("kitchen")
    home.joined("garage")
    revocations = written_by(OPERATOR_ID, MESH, "kitchen", Channel.REVOCATIONS)
    async with home.broker() as broker, home.serving():
        home.authority.rotate()
        home.mesh.renew_operator(home.authority)
        home.mesh.revoke("garage", home.authority)
        await broker.follow()

        async def heard() -> bool:
            with contextlib.suppress(LinkError, TimeoutError):
                async with asyncio.timeout(PATIENCE_S / 10), home.member(kitchen)() as link:
                    await link.subscribe(CERTIFICATES)
                    await link.subscribe(revocations)
                    await link.publish(build(MESH, "kitchen", Channel.PRESENCE), b'{"state":"online"}')
                    while not (kitchen.crl_file.exists() and len(kitchen.bundle().authorities) == 2):
                        received = await link.receive()
                        channel = Channel.REVOCATIONS if received.topic == revocations else Channel.CERTIFICATES
                        home.take(kitchen, decode(received.body, channel))
                    return True
            return False

        await until(heard, "kitchen hears whom to trust and who is revoked")
    with home.mesh.inventory() as inventory:
        assert inventory.device("kitchen").last_seen_at is not None
