"""Whom a broker may serve: every kind of certificate against every device and host, and the words where it may not."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.homes import Certificate, Device, Host, Whom, check, may_serve, refusal
from provisioning.authority import Identity, MeshAuthority
from tests.support.foreign_ca import foreign_identity

ATTIC, KITCHEN = Device("attic"), Device("kitchen")
SHARED, OTHER = "broker.example", "other.example"


def named(host: str, *settings: str) -> Host:
    return Host(host, frozenset(settings or (host,)))


MADE: dict[str, Callable[[MeshAuthority], Identity]] = {
    "a device": lambda mesh: mesh.issue_device("kitchen", ["10.0.0.7"]),
    "a device named like a host": lambda mesh: mesh.issue_device("broker.example".partition(".")[0] + "-1"),
    "a broker": lambda mesh: mesh.issue_broker([SHARED, "10.0.0.1"]),
    "a broker with a device's name for a host": lambda mesh: mesh.issue_broker(["attic"]),
    "the operator": lambda mesh: mesh.issue_operator(),
}

TABLE: list[tuple[str, Whom, bool]] = [
    ("a device", KITCHEN, True),
    ("a device", ATTIC, False),
    ("a device", Device(""), False),
    ("a device", named("kitchen"), False),
    ("a device", named("kitchen.local"), False),
    ("a device", named("10.0.0.7"), False),
    ("a device named like a host", named("broker-1.local"), False),
    ("a broker", named(SHARED), True),
    ("a broker", named(SHARED.upper()), True),
    ("a broker", named("10.0.0.1"), True),
    ("a broker", named("10.0.0.2"), False),
    ("a broker", named(OTHER), False),
    ("a broker", named(SHARED, OTHER), False),  # it stands in the certificate, and no settings name it
    ("a broker", Host(SHARED, frozenset()), False),
    ("a broker", named(SHARED, OTHER, SHARED), True),
    ("a broker", Device("broker"), False),
    ("a broker", KITCHEN, False),
    ("a broker with a device's name for a host", ATTIC, False),
    ("a broker with a device's name for a host", named("attic"), True),
    ("the operator", Device("operator"), False),
    ("the operator", named(SHARED), False),
]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    """What Python says of each certificate, from a real handshake (of the operator's, who is no server, out of its
    certificate alone)."""
    folder = tmp_path_factory.mktemp("homes")
    mesh = MeshAuthority.create(folder / "ca", "test")
    return {what: decoded(folder, make(mesh)) for what, make in MADE.items()}


def decoded(folder: Path, identity: Identity) -> dict[str, Any]:
    file = folder / "one.pem"
    file.write_bytes(identity.certificate_pem)
    said: dict[str, Any] = ssl._ssl._test_decode_cert(str(file))  # type: ignore[attr-defined]  # what getpeercert calls
    return said


@pytest.mark.parametrize(("what", "whom", "right"), TABLE)
def test_a_certificate_serves_whom_its_kind_says(
    shown: dict[str, Certificate], what: str, whom: Whom, right: bool
) -> None:
    assert may_serve(shown[what], whom) is right
    if right:
        assert check(shown[what], [whom]) == (whom,)
        return
    with pytest.raises(ssl.SSLCertVerificationError):
        check(shown[what], [whom])


@pytest.mark.parametrize(
    ("what", "whoms", "words"),
    [
        ("a device", [named("kitchen.local"), ATTIC], "is of device kitchen, which may serve itself only"),
        ("a broker", [named(OTHER), ATTIC], "names none of: other.example, attic"),
        ("a broker", [named(SHARED, OTHER)], "broker.example is a broker that is not named in"),
        ("the operator", [named(SHARED)], "is of kind 'operator', which is not valid for a server"),
    ],
)
def test_why_it_may_not_is_said(shown: dict[str, Certificate], what: str, whoms: list[Whom], words: str) -> None:
    assert words in refusal(shown[what], whoms)


def test_an_authority_of_ones_own_has_no_kinds_and_its_brokers_serve_named_hosts_alone(tmp_path: Path) -> None:
    one = decoded(tmp_path, foreign_identity(["kitchen", SHARED], unit="device", name="kitchen"))
    assert may_serve(one, named(SHARED))
    assert not may_serve(one, named(SHARED, OTHER))
    assert not may_serve(one, KITCHEN), "nobody there has said who is a device"


def test_a_certificate_without_names_or_with_several_serves_nobody() -> None:
    issuer = ((("organizationalUnitName", "ca"),), (("commonName", "CA 1"),))
    several = ((("organizationalUnitName", "device"),), (("commonName", "kitchen"),), (("commonName", "attic"),))
    for certificate in ({}, {"issuer": issuer}, {"issuer": issuer, "subject": several}):
        assert not may_serve(certificate, KITCHEN)
        assert not may_serve(certificate, ATTIC)
        assert not may_serve(certificate, named(SHARED))


@pytest.mark.parametrize(
    ("held", "name", "matches"),
    [
        ((("DNS", "kitchen"),), "kitchen", True),
        ((("DNS", "Kitchen.local"),), "kitchen.LOCAL", True),
        ((("DNS", "kitchen"),), "kitchen-2", False),
        ((("DNS", "*.example.org"),), "a.example.org", True),
        ((("DNS", "*.example.org"),), "a.b.example.org", False),
        ((("DNS", "*.example.org"),), "example.org", False),
        ((("DNS", "*.org"),), "example.org", False),
        ((("DNS", "*"),), "kitchen", False),
        ((("DNS", "k*.example.org"),), "kitchen.example.org", False),
        ((("IP Address", "10.0.0.7"),), "10.0.0.7", True),
        ((("DNS", "10.0.0.7"),), "10.0.0.7", False),
        ((("IP Address", "FE80:0:0:0:0:0:0:1"),), "fe80::1%eth0", True),
        ((("URI", "kitchen"), ("email", "kitchen")), "kitchen", False),
        ((), "kitchen", False),
    ],
)
def test_names_are_compared_whole(held: tuple[tuple[str, str], ...], name: str, matches: bool) -> None:
    issuer = ((("organizationalUnitName", "ca"),), (("commonName", "CA 1"),))
    subject = ((("organizationalUnitName", "broker"),), (("commonName", name),))
    assert may_serve({"issuer": issuer, "subject": subject, "subjectAltName": held}, named(name)) is matches
