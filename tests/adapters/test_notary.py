"""Whose word a statement is, by keys and certificates of a real authority."""

from __future__ import annotations

import base64
import datetime
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from edge_agent import homes
from edge_agent.adapters import notary as notary_module
from edge_agent.adapters.notary import FileNotary, MemberFiles
from edge_agent.core.messages import PeerEntry
from edge_agent.ports import ProofCheck
from edge_agent.wire.statements import statement
from provisioning import certificates as certs
from provisioning.authority import Identity, MeshAuthority
from provisioning.errors import ProvisioningError
from provisioning.web_authority import WebAuthority

PAST = datetime.timedelta(hours=-1)


@dataclass
class World:
    """Two authorities, and what `reader` thinks of what others say."""

    folder: Path
    seconds: float = 0.0
    notaries: dict[str, FileNotary] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mesh = MeshAuthority.create(self.folder / "ca", "home")
        self.other = MeshAuthority.create(self.folder / "other", "home")
        self.reader = self.member("reader", self.mesh.issue_device("reader"))

    def member(self, name: str, identity: Identity, ca: str = "ca", **options: Any) -> FileNotary:
        path = self.folder / f"{len(self.notaries)}-{name}.pem"
        path.write_bytes(identity.combined_pem)
        files = MemberFiles(self.folder / ca / "ca.pem", self.folder / ca / "crl.pem", path, path)
        made = FileNotary("home", name, files, clock=lambda: self.seconds, **options)
        self.notaries[path.name] = made
        return made

    def revoke(self, one: FileNotary) -> None:
        der = base64.b64decode(one.certificate())
        self.mesh.revoke([x509.load_der_x509_certificate(der).serial_number])
        self.seconds += notary_module.LOOK_EVERY_S


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def entry(name: str = "kitchen", **changed: Any) -> PeerEntry:
    return replace(PeerEntry(name, "mqtts://10.0.0.7:8883", "m", "f", 1_795_000_000, 12, 3, 1.5), **changed)


def proof_by(identity: Identity, told: bytes) -> str:
    """What a thief of any key would write."""
    key = certs.key_from_pem(identity.key_pem)
    der = x509.load_pem_x509_certificate(identity.certificate_pem).public_bytes(Encoding.DER)
    numbers = decode_dss_signature(key.sign(told, ec.ECDSA(hashes.SHA256())))
    return notary_module._fingerprint(der) + notary_module._to_text(b"".join(n.to_bytes(32, "big") for n in numbers))


def certificate_of(identity: Identity) -> str:
    der = x509.load_pem_x509_certificate(identity.certificate_pem).public_bytes(Encoding.DER)
    return base64.b64encode(der).decode()


def test_a_device_s_word_is_its_own_and_is_looked_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    kitchen = world.member("kitchen", world.mesh.issue_device("kitchen"))
    told = statement("home", entry())
    proof = kitchen.sign(told)
    assert world.reader.judge("kitchen", told, proof) is ProofCheck.UNKNOWN
    assert world.reader.learn(kitchen.certificate()) == proof[:16]
    assert world.reader.judge("kitchen", told, proof) is ProofCheck.OWN
    monkeypatch.setattr(notary_module, "_is_signature", lambda *given: False)
    assert world.reader.judge("kitchen", told, proof) is ProofCheck.OWN, "remembered"


CHANGES: dict[str, Any] = {
    "device_id": "attic",
    "home_broker": "mqtts://mallory.local:8883",
    "model": "m2",
    "model_family": "f2",
    "incarnation": 2**53 - 1,
    "heartbeat": 13,
    "requests_waiting": 0,
    "service_time_s_mean": 0.0,
    "able": False,
    "parameter_count": 10**13,
}


def test_every_field_of_an_entry_has_a_forgery_below() -> None:
    assert {one.name for one in fields(PeerEntry)} == {*CHANGES, "proof"}


@pytest.mark.parametrize("name", CHANGES)
def test_no_field_can_be_changed(name: str, world: World) -> None:
    kitchen = world.member("kitchen", world.mesh.issue_device("kitchen"))
    world.reader.learn(kitchen.certificate())
    proof = kitchen.sign(statement("home", entry()))
    forged = replace(entry(), **{name: CHANGES[name]})
    assert world.reader.judge(forged.device_id, statement("home", forged), proof) is ProofCheck.FALSE


def test_no_two_fields_can_be_swapped_and_nothing_moved_between_meshes(world: World) -> None:
    kitchen = world.member("kitchen", world.mesh.issue_device("kitchen"))
    world.reader.learn(kitchen.certificate())
    proof = kitchen.sign(statement("home", entry()))
    swapped = (
        entry(model="f", model_family="m"),
        entry(incarnation=12, heartbeat=1_795_000_000),
        entry(home_broker="", model="mqtts://10.0.0.7:8883", model_family="m"),
        entry(service_time_s_mean=None),
    )
    for forged in swapped:
        assert world.reader.judge("kitchen", statement("home", forged), proof) is ProofCheck.FALSE, forged
    assert world.reader.judge("kitchen", statement("cabin", entry()), proof) is ProofCheck.FALSE
    assert statement("home", entry(service_time_s_mean=None)) != statement("home", entry(service_time_s_mean=0.0))


def of_web(folder: Path, name: str, *, as_device: bool = False) -> Identity:
    """A certificate of a web CA of the mesh: for a page, or for whatever somebody who has its key likes."""
    web = WebAuthority.make(folder, "home", [f"{name}.local"], record=lambda *given: None)
    if not as_device:
        return web.issue([f"{name}.local"])
    key, subject = certs.new_key(), certs.device_subject(name)
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=9)
    forged = certs.make_certificate(subject, key.public_key(), web.certificate, web._key, later)
    return Identity(certs.certificate_to_pem(forged), certs.key_to_pem(key))


Signer = Callable[[World], Identity]
SIGNERS: dict[str, tuple[Signer, ProofCheck]] = {
    "the device itself": (lambda world: world.mesh.issue_device("kitchen"), ProofCheck.OWN),
    "another device": (lambda world: world.mesh.issue_device("mallory"), ProofCheck.FALSE),
    "the operator": (lambda world: world.mesh.issue_operator(), ProofCheck.UNKNOWN),
    "a broker of that name": (
        lambda world: world.mesh.issue_broker(["kitchen", "kitchen.local"]),
        ProofCheck.UNKNOWN,
    ),
    "a web page of that name": (lambda world: of_web(world.folder, "kitchen"), ProofCheck.UNKNOWN),
    "a thief of the web CA's key": (
        lambda world: of_web(world.folder, "kitchen", as_device=True),
        ProofCheck.UNKNOWN,
    ),
    "a device of that name in another mesh": (lambda world: world.other.issue_device("kitchen"), ProofCheck.UNKNOWN),
    "an expired certificate": (lambda world: world.mesh.issue_device("kitchen", lifetime=PAST), ProofCheck.VOID),
}


@pytest.mark.parametrize("who", SIGNERS)
def test_only_the_device_s_own_certificate_speaks_for_it(who: str, world: World) -> None:
    make, expected = SIGNERS[who]
    identity = make(world)
    told = statement("home", entry())
    learnt = world.reader.learn(certificate_of(identity))
    assert bool(learnt) is (expected is not ProofCheck.UNKNOWN)
    assert world.reader.judge("kitchen", told, proof_by(identity, told)) is expected


def test_a_certificate_of_an_authority_that_knows_no_kinds_is_no_device_s_here_as_at_its_broker(tmp_path: Path) -> None:
    key, now = certs.new_key(), datetime.datetime.now(datetime.UTC)
    name = x509.Name([part for part in certs.make_ca("home", 1, key, now).subject if part.value != "ca"])
    ca = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(certs.VALID_FROM)
        .not_valid_after(now + certs.CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    own = certs.new_key()
    subject = certs.device_subject("kitchen")
    made = certs.make_certificate(subject, own.public_key(), ca, key, now + certs.DEVICE_LIFETIME)
    authority, member = tmp_path / "ca.pem", tmp_path / "kitchen.pem"
    authority.write_bytes(certs.certificate_to_pem(ca))
    member.write_bytes(Identity(certs.certificate_to_pem(made), certs.key_to_pem(own)).combined_pem)
    shown: dict[str, Any] = ssl._ssl._test_decode_cert(str(member))  # type: ignore[attr-defined]  # what getpeercert calls
    assert not homes.may_serve(shown, homes.Device("kitchen"))
    with pytest.raises(ProvisioningError, match="no certificate of device kitchen"):
        FileNotary("home", "kitchen", MemberFiles(authority, None, member, member))


def test_a_revoked_certificate_counts_no_more_within_a_second_also_for_what_was_found_true_before(world: World) -> None:
    kitchen = world.member("kitchen", world.mesh.issue_device("kitchen"))
    world.reader.learn(kitchen.certificate())
    told = statement("home", entry())
    assert world.reader.judge("kitchen", told, kitchen.sign(told)) is ProofCheck.OWN
    world.revoke(kitchen)
    assert world.reader.judge("kitchen", told, kitchen.sign(told)) is ProofCheck.VOID


def test_a_device_hears_what_its_former_self_said_though_that_key_is_revoked(world: World) -> None:
    """Otherwise one that comes back without disk and clock, with a new certificate, could not outdo its former self."""
    former = world.member("reader", world.mesh.issue_device("reader"))
    told = statement("home", entry("reader"))
    proof = former.sign(told)
    world.revoke(former)
    assert world.reader.learn(former.certificate()) == proof[:16]
    assert world.reader.judge("reader", told, proof) is ProofCheck.OWN


def test_a_renewed_certificate_is_followed_and_a_damaged_file_is_not(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    kitchen = world.member("kitchen", world.mesh.issue_device("kitchen"))
    path = kitchen._files.certificate
    before, told = kitchen.certificate(), statement("home", entry())
    path.write_bytes(world.mesh.issue_device("kitchen").combined_pem)
    world.seconds += notary_module.LOOK_EVERY_S
    renewed = kitchen.certificate()
    assert renewed != before
    world.reader.learn(renewed)
    assert world.reader.judge("kitchen", told, kitchen.sign(told)) is ProofCheck.OWN
    path.write_bytes(b"nothing")
    world.seconds += notary_module.LOOK_EVERY_S
    assert kitchen.certificate() == renewed
    assert "previous files" in caplog.text


@pytest.mark.parametrize("junk", ["", "x", "-" * 102, "_" * 102, "A" * 102])
def test_whatever_comes_as_a_proof_is_judged_and_raises_nothing(junk: str, world: World) -> None:
    assert world.reader.judge("kitchen", b"", junk) in (ProofCheck.FALSE, ProofCheck.UNKNOWN)
    own = world.reader.sign(b"x")[:16]
    assert world.reader.judge("reader", b"", (own + junk + "A" * 102)[:102]) is ProofCheck.FALSE


@pytest.mark.parametrize("junk", ["", "AAAA", "!", "A" * 2_052, "MIICFTCCAbugAwIBAgIU"])
def test_whatever_comes_as_a_certificate_is_no_device_s(junk: str, world: World) -> None:
    assert world.reader.learn(junk) == ""


def test_what_is_remembered_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notary_module, "CERTIFICATES_MAX", 3)
    monkeypatch.setattr(notary_module, "VERIFIED_MAX", 2)
    for number in range(5):
        one = world.member(f"d{number}", world.mesh.issue_device(f"d{number}"))
        world.reader.learn(one.certificate())
        told = statement("home", entry(f"d{number}"))
        assert world.reader.judge(f"d{number}", told, one.sign(told)) is ProofCheck.OWN
    assert len(world.reader._known) == 3
    assert len(world.reader._verified) == 2


def test_a_certificate_of_another_device_is_refused_at_the_start(world: World) -> None:
    with pytest.raises(ProvisioningError, match="no certificate of device attic of mesh home"):
        world.member("attic", world.mesh.issue_device("kitchen"))
    with pytest.raises(ProvisioningError, match="no certificate of device operator"):
        world.member("operator", world.mesh.issue_operator())
