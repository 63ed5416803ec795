"""Who can read and write what on a real mosquitto, against expectations written by hand from the design, not from
the table that the access files are made of: a wrong table is found here as well as a wrong file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from broker.loopback import answers_connect
from broker.probe import Actor, Attempt, Findings, Probe
from broker.probe_client import Credentials, Endpoint
from edge_agent.children import ChildProcess
from tests.broker.by_hand import BASE, DEVICES, LOGINS, NAMED, PLAIN, is_own_inbox, may_read, may_write
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_ports
from tests.support.secured import SecuredMesh

pytestmark = pytest.mark.broker

ANSWERS = (
    "answers/user.alice/0",
    "answers/user.alice/phone",
    "answers/user.bob/0",
    "answers/me/0",
    "answers/kitchen/0",
)


def channels(*names: str) -> list[str]:
    """Everything behind a device, with these names at the end where one stands there."""
    return [*PLAIN, *ANSWERS, *(f"{channel}/{name}" for channel in NAMED for name in names)]


PLACES = (*DEVICES, "attic", "shed", "operator")  # attic is unclaimed, shed is revoked, nobody may be called operator
INSIDE = [f"{BASE}/{device}/{channel}" for device in PLACES for channel in channels(*LOGINS.values(), "shed", "me")]
OUTSIDE = [
    *("test", "moamesh", "moamesh/v2/home", "moamesh/v2/home/users/alice", "homeassistant/device/kitchen/config"),
    *("$SYS/broker/version", "$CONTROL/dynamic-security/v1"),
    *(f"{BASE}/kitchen", f"{BASE}/kitchen/", f"{BASE}/kitchen/secrets", f"/{BASE}/kitchen/prompts/user.alice"),
    *(f"{BASE}/kitchen/{channel}" for channel in (*NAMED, "answers", "answers/user.alice", "prompts/")),
    *(f"{BASE}/kitchen/prompts/user.alice/more", f"{BASE}/kitchen/answers/user.alice/0/more"),
    *(f"{BASE}/garage/proposals/kitchen/more", f"{BASE}/garage/presence/kitchen", f"{BASE}/kitchen/status/kitchen"),
    "moamesh/v2/other/devices/kitchen/prompts/user.alice",
    "moamesh/v2/other/devices/kitchen/presence",
    "moamesh/v1/home/devices/kitchen/prompts",
    "moamesh/v1/home/devices/kitchen/answers/alice",
]
NO_IDS = [f"{BASE}/{name}/{channel}" for name in ("Kitchen", "kit chen", "", "%u") for channel in channels("kitchen")]
"""A wildcard in a rule stands for these names too. No rule that names a device does, so nobody is on both sides."""


def is_tolerated(attempt: Attempt) -> bool:
    """What mosquitto's rules cannot forbid without forbidding too much, and why it harms nobody.

    A device may write into its own inbox, where it alone reads: rules know no "all but me".
    """
    return is_own_inbox(attempt.writer, attempt.topic)


@pytest.fixture(scope="module", params=["people over MQTT", "people over WebSockets"])
def findings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Everything tried once on one broker, for each of the endpoints that people with passwords come in by."""
    return asyncio.run(_probe(tmp_path_factory.mktemp("table"), web="WebSockets" in request.param))


async def _probe(folder: Path, *, web: bool) -> Findings:
    mesh = SecuredMesh(folder)
    stranger = SecuredMesh(_made(folder / "other"), "home")
    alice, bob, claim = mesh.user("alice"), mesh.user("bob", ("kitchen",)), mesh.claim("attic")
    mesh.revoke(mesh.device("shed"))
    files = mesh.broker_files(folder / "broker", web=True)
    files.write(mesh.people)
    # One more listener that may do everything, so that what enters the broker is seen although nobody may read it.
    (port,) = free_ports(1)
    config = folder / "broker" / "mosquitto.conf"
    config.write_text(config.read_text() + f"\nlistener {port} 127.0.0.1\nallow_anonymous true\n")
    child = ChildProcess([files.config.program.path, "-c", str(config)], folder / "log")
    await child.start()
    try:
        listeners = files.config.listeners
        devices = mesh.endpoint(listeners.devices)
        passwords = mesh.endpoint((listeners.web if web else listeners.passwords) or 0, websockets=web)
        everything = Actor("observer", Endpoint("127.0.0.1", port), Credentials())
        actors = [
            everything,
            *(Actor(name, devices, mesh.device(name)) for name in DEVICES),
            Actor("operator", devices, mesh.operator()),
            Actor("alice", passwords, alice),
            Actor("bob", passwords, bob),
            Actor("attic claiming", passwords, claim),
            Actor("shed, revoked", devices, mesh.device("shed")),
            Actor("without certificate", devices, Credentials()),
            Actor("a name and no certificate", devices, Credentials(username="kitchen", password="kitchen")),
            Actor("another CA's kitchen", devices, stranger.device("kitchen")),
            Actor("the broker's certificate", devices, mesh.server),
            Actor("a user without TLS", Endpoint("127.0.0.1", devices.port), alice),
            Actor("no password", passwords, Credentials()),
            Actor("wrong password", passwords, Credentials(username=alice.username, password="guess")),
            Actor("no such user", passwords, Credentials(username="user.mallory", password="guess")),
            Actor("a device's name as a user", passwords, Credentials(username="kitchen", password="guess")),
            Actor("a certificate as a password", passwords, mesh.device("kitchen")),
        ]
        ends = {
            "observer": ("observer", "end"),
            "kitchen": ("garage", f"{BASE}/kitchen/replies/garage"),
            "garage": ("kitchen", f"{BASE}/garage/replies/kitchen"),
            "operator": ("kitchen", f"{BASE}/kitchen/renewals"),
            "alice": ("kitchen", f"{BASE}/kitchen/answers/user.alice/0"),
            "bob": ("kitchen", f"{BASE}/kitchen/answers/user.bob/0"),
            "attic claiming": ("operator", f"{BASE}/attic/certificates"),
        }
        await _until_open(port)
        return await asyncio.to_thread(Probe(actors, [*INSIDE, *NO_IDS, *OUTSIDE], ends).run)
    finally:
        await child.stop()


async def _until_open(port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await answers_connect("127.0.0.1", port, PATIENCE_S):  # noqa: ASYNC110 -- waits for another process
            await asyncio.sleep(0.02)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


ROLES = (*DEVICES, "operator", "alice", "bob", "attic claiming")


def test_nobody_unknown_or_revoked_is_let_in(findings: Findings) -> None:
    assert set(findings.refused) == {
        *("shed, revoked", "without certificate", "a name and no certificate", "another CA's kitchen"),
        *("the broker's certificate", "a user without TLS", "no password", "wrong password", "no such user"),
        *("a device's name as a user", "a certificate as a password"),
    }


def test_everybody_heard_the_end(findings: Findings) -> None:
    assert findings.deaf == set()


@pytest.mark.parametrize("who", ROLES)
def test_what_each_can_write_is_what_the_design_says(findings: Findings, who: str) -> None:
    written = {attempt for attempt, reader in findings.deliveries if reader == "observer" and attempt.writer == who}
    for topic in [*INSIDE, *NO_IDS, *OUTSIDE]:
        for retain in (False, True):
            attempt = Attempt(who, topic, retain)
            if not is_tolerated(attempt):
                assert (attempt in written) == may_write(who, topic), attempt


@pytest.mark.parametrize("who", ROLES)
def test_what_each_can_read_is_what_the_design_says(findings: Findings, who: str) -> None:
    for topic in [*INSIDE, *NO_IDS, *OUTSIDE]:
        for retain in (False, True):
            attempt = Attempt("observer", topic, retain)
            assert ((attempt, who) in findings.deliveries) == may_read(who, topic), attempt


@pytest.mark.parametrize("who", ROLES)
def test_a_retained_message_is_read_later_by_those_alone_who_may(findings: Findings, who: str) -> None:
    retained = {attempt for attempt, reader in findings.kept if reader == "observer"}
    assert {attempt.topic for attempt in retained} > {*INSIDE, *NO_IDS}
    for attempt in retained:
        assert ((attempt, who) in findings.kept) == may_read(who, attempt.topic), attempt


def test_no_message_reached_anybody_against_the_design(findings: Findings) -> None:
    leaks = [
        (attempt, reader)
        for attempt, reader in findings.deliveries | findings.kept
        if "observer" not in (attempt.writer, reader)
        and not (may_write(attempt.writer, attempt.topic) and may_read(reader, attempt.topic))
        and not (is_tolerated(attempt) and reader == attempt.writer)
    ]
    assert leaks == []


def test_every_allowed_message_arrived(findings: Findings) -> None:
    lost = [
        (attempt, reader)
        for attempt in (Attempt(who, topic, retain) for who in ROLES for topic in INSIDE for retain in (False, True))
        for reader in ROLES
        if may_write(attempt.writer, attempt.topic) and may_read(reader, attempt.topic)
        if (attempt, reader) not in findings.deliveries
    ]
    assert lost == []


def test_under_names_that_are_no_ids_nothing_gets_from_one_to_another(findings: Findings) -> None:
    reached = {
        (attempt, reader)
        for attempt, reader in findings.deliveries | findings.kept
        if attempt.topic in NO_IDS and "observer" not in (attempt.writer, reader)
        if not may_write(attempt.writer, attempt.topic)  # the operator's right to clear is by wildcard, as all may read
    }
    assert reached == set()


def test_a_retained_message_stays_only_where_its_writer_may_write(findings: Findings) -> None:
    kept = {attempt for attempt, reader in findings.kept if reader == "observer" and attempt.writer != "observer"}
    assert [one for one in kept if not (may_write(one.writer, one.topic) or is_tolerated(one))] == []


def test_nobody_hears_the_brokers_own_figures(findings: Findings) -> None:
    assert {(topic, who) for topic, who in findings.strange if who != "observer"} == set()
