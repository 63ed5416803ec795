from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from broker.access_check import CLAIMANT, FIRST, GUEST, SECOND, USER, Check, Identities
from broker.access_results import CheckResult, Kind
from broker.ejabberd import NodeSettings
from broker.erlang import Erlang, NodeUnreachableError
from broker.extauth import PasswordFile, answer
from broker.mosquitto_acl import password_file
from broker.probe_client import ConnectRefusedError, Credentials, ProbeClient
from edge_agent.wire.topics import OPERATOR_ID, Channel, topic_filter
from tests.broker.by_hand import is_own_inbox, may_read, may_write
from tests.support.ejabberd import HOSTS, Cluster, running_cluster
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.support.secured import SecuredMesh

pytestmark = pytest.mark.broker

on_shared_loop = pytest.mark.asyncio(loop_scope="module")  # that of `shared`
AGAIN_S = 0.05  # between two tries: each makes a TLS context and a connection
NAMES = {f"node{number}@{host}" for number, host in enumerate(HOSTS, 1)}


@dataclass(frozen=True)
class Shared:
    """One cluster for all tests that leave both nodes running and together; each shuts out or lets in others."""

    cluster: Cluster
    alice: Credentials
    bob: Credentials
    claim: Credentials


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    folder = tmp_path_factory.mktemp("cluster")
    mesh = SecuredMesh(folder)
    alice, bob, claim = mesh.user("alice"), mesh.user("bob", ("kitchen",)), mesh.claim("attic")
    async with running_cluster(mesh, folder) as cluster:
        yield Shared(cluster, alice, bob, claim)


async def until_let_in(cluster: Cluster, node: int, credentials: Credentials, *, password: bool = False) -> None:
    """Waits until somebody is let in."""
    endpoint = cluster.password_endpoint(node) if password else cluster.endpoint(node)

    def let_in() -> bool:
        try:
            with ProbeClient("knocks", endpoint, credentials):
                return True
        except ConnectRefusedError:
            return False

    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(let_in):  # noqa: ASYNC110 -- waits for another process
            await asyncio.sleep(AGAIN_S)


def crosses(cluster: Cluster, sender: int, reader: int, wait_s: float = PATIENCE_S) -> bool:
    """Whether a message from a device at one node reaches a device at another."""
    mesh = cluster.mesh
    topic = topic_filter(mesh.name, "garage", Channel.REPLIES, "kitchen")
    with (
        ProbeClient("garage", cluster.endpoint(reader), mesh.device("garage")) as ear,
        ProbeClient("kitchen", cluster.endpoint(sender), mesh.device("kitchen")) as mouth,
    ):
        ear.subscribe([topic])
        mouth.publish([(topic, b"across", False)])
        return ear.wait_for(b"across", wait_s)


def crosses_by_now(cluster: Cluster, sender: int, reader: int) -> bool:
    """The same, of nodes that may be on their way to each other: one of them may be starting again just now."""
    try:
        return crosses(cluster, sender, reader, wait_s=2.0)
    except ConnectRefusedError:
        return False


WHO = {
    **{FIRST: "kitchen", SECOND: "garage", OPERATOR_ID: "operator"},
    **{USER: "alice", GUEST: "bob", CLAIMANT: "attic claiming"},
}


def is_as_designed(result: CheckResult) -> bool:
    """Whether what was seen is what the design says by hand, not only by the table that the rules are made of."""
    who = WHO.get(result.who, "")
    if result.action == "connect" or result.kind is Kind.UNSEEN or is_own_inbox(who, result.topic):
        return True
    may = may_write if result.action == "write" else may_read
    return may(who, result.topic) == (result.kind in (Kind.ALLOWED, Kind.LEAK))


@on_shared_loop
async def test_both_nodes_carry_each_others_messages_and_let_through_what_the_table_says(
    shared: Shared, tmp_path: Path
) -> None:
    cluster, mesh, stranger = shared.cluster, shared.cluster.mesh, SecuredMesh(tmp_path)
    assert set(await cluster.nodes[0].running_nodes()) == NAMES
    assert await asyncio.to_thread(crosses, cluster, 0, 1)
    devices = (("kitchen", mesh.device("kitchen")), ("garage", mesh.device("garage")))
    identities = Identities(
        *(devices, mesh.operator(), mesh.server, stranger.device("kitchen")),
        *(("alice", shared.alice), ("bob", shared.bob), ("attic", shared.claim)),
    )
    check = Check(mesh.name, cluster.endpoint(1), cluster.password_endpoint(0), identities)  # users at the other node
    _, results = await asyncio.to_thread(check.run)
    assert [one for one in results if one.kind in (Kind.LEAK, Kind.MISSING)] == []
    assert [one for one in results if not is_as_designed(one)] == []
    assert sum(one.kind is Kind.ALLOWED for one in results) > 70


@on_shared_loop
async def test_who_is_shut_out_loses_the_live_session_and_every_right(shared: Shared) -> None:
    cluster, mesh = shared.cluster, shared.cluster.mesh
    before = [node.revision for node in cluster.nodes]
    live = ProbeClient("live", cluster.endpoint(0), mesh.device("cellar"))
    await asyncio.to_thread(live.connect)
    cluster.revoked = ("cellar",)
    mesh.revoke(mesh.device("cellar"))
    assert await asyncio.to_thread(live.wait_until_ended, PATIENCE_S)
    await asyncio.to_thread(live.close)
    await until(
        lambda: all(node.revision > old for node, old in zip(cluster.nodes, before, strict=True)),
        "both nodes took it over",
        PATIENCE_S,
    )

    def publish(who: str) -> list[bool]:
        with ProbeClient("again", cluster.endpoint(0), mesh.device(who)) as client:
            return client.publish([(topic_filter(mesh.name, "attic", Channel.REPLIES, who), b"", False)])

    assert await asyncio.to_thread(publish, "kitchen") == [True]
    assert await asyncio.to_thread(publish, "cellar") == [False]  # ejabberd lets it connect, and do nothing


@on_shared_loop
async def test_a_new_user_gets_in_with_their_rights_or_not_yet(shared: Shared) -> None:
    cluster, mesh = shared.cluster, shared.cluster.mesh
    credentials = mesh.user("carol")
    answers = topic_filter(mesh.name, "kitchen", Channel.ANSWERS, "user.carol", "0")

    def reads_as_soon_as_let_in() -> bool:
        while True:
            try:
                with ProbeClient("carol", cluster.password_endpoint(0), credentials) as carol:
                    carol.subscribe([answers])
                    with ProbeClient("kitchen", cluster.endpoint(0), mesh.device("kitchen")) as kitchen:
                        kitchen.publish([(answers, b"answer", False)])
                    return carol.wait_for(b"answer", PATIENCE_S)
            except ConnectRefusedError:
                time.sleep(AGAIN_S)  # rights come into force by a program, which takes longer to start

    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.to_thread(reads_as_soon_as_let_in)


@on_shared_loop
async def test_a_user_gets_in_though_the_node_did_not_answer_at_first(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, failures = Erlang.run, [3]

    async def fail_at_first(self: Erlang, expression: str) -> str:
        if "reload_config" in expression and failures[0]:
            failures[0] -= 1
            raise NodeUnreachableError("a busy machine")
        return await run(self, expression)

    monkeypatch.setattr(Erlang, "run", fail_at_first)
    credentials = shared.cluster.mesh.user("dave")
    live = shared.cluster.nodes[0]._settings.folder / "passwords.live"
    await until(lambda: failures[0] < 3, "the first try failed", PATIENCE_S)
    assert b"dave" not in live.read_bytes() or not failures[0], "nobody gets in before their rights are in force"
    await until_let_in(shared.cluster, 0, credentials, password=True)
    assert not failures[0]


@pytest.mark.long
@on_shared_loop
async def test_a_node_that_was_killed_comes_back_and_one_alone_goes_on_after_both_were(shared: Shared) -> None:
    cluster, mesh = shared.cluster, shared.cluster.mesh
    first, second = cluster.nodes
    for dying, other in ((first, second), (second, first)):
        await dying.kill()
        with ProbeClient("k", cluster.endpoint(cluster.nodes.index(other)), mesh.device("kitchen")):
            pass  # the other one lets clients in meanwhile
        await dying.start()
        assert set(await other.running_nodes()) == NAMES
    await first.kill()
    await second.kill()
    await first.start()  # it was not the last to die, and the last one is not there
    with ProbeClient("k", cluster.endpoint(0), mesh.device("kitchen")):
        pass
    await second.start()
    assert set(await first.running_nodes()) == NAMES
    assert await asyncio.to_thread(crosses, cluster, 1, 0)


@pytest.mark.long
async def test_nodes_that_were_parted_find_each_other_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.erlang.TICK_S", 4)
    monkeypatch.setattr("broker.ejabberd_config.TICK_S", 4)
    monkeypatch.setattr("broker.ejabberd.CLUSTER_CHECK_S", 2.0)
    monkeypatch.setattr("edge_agent.children.supervised.HEALTH_INTERVAL_S", PATIENCE_S)  # what hangs here is meant to
    mesh = SecuredMesh(tmp_path)
    async with running_cluster(mesh, tmp_path) as cluster:
        first, second = cluster.nodes
        assert first.pid is not None
        os.kill(first.pid, signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE_S):
            while len(await second.running_nodes()) == 2:  # noqa: ASYNC110 -- waits for another process
                await asyncio.sleep(AGAIN_S)
        os.kill(first.pid, signal.SIGCONT)
        # what the first one believes of the other is from before it stood still: only a message that arrives tells
        async with asyncio.timeout(PATIENCE_S):
            while not await asyncio.to_thread(crosses_by_now, cluster, 0, 1):  # noqa: ASYNC110 -- waits for another process
                await asyncio.sleep(AGAIN_S)
        assert set(await first.running_nodes()) == set(await second.running_nodes()) == NAMES


@pytest.mark.long
@on_shared_loop
async def test_a_crash_is_mended_without_being_asked(shared: Shared) -> None:
    cluster = shared.cluster
    second, before = cluster.nodes[1], cluster.nodes[1].restarts
    await second._child._child.kill()
    await until(lambda: second.restarts == before + 1 and second.running, "it was started again", PATIENCE_S)
    await until_let_in(cluster, 1, cluster.mesh.device("kitchen"))
    assert set(await second.running_nodes()) == NAMES


def test_passwords_are_checked_against_the_file_as_it_is_now(tmp_path: Path) -> None:
    mesh, path = SecuredMesh(tmp_path), tmp_path / "passwords"
    passwords = PasswordFile(path)
    assert not answer(passwords, b"auth:user.alice:localhost:secret of alice")
    credentials = mesh.user("alice")
    assert (credentials.username, credentials.password) == ("user.alice", "secret of alice")
    path.write_text(password_file(mesh.people))
    assert answer(passwords, b"auth:user.alice:localhost:secret of alice")
    assert answer(passwords, b"isuser:user.alice:localhost")
    for wrong in (b"auth:user.alice:localhost:guess", b"auth:user.alice:localhost:", b"auth:user.alice", b"", b"\xff"):
        assert not answer(passwords, wrong)
    for forbidden in (b"setpass:user.alice:localhost:new", b"tryregister:user.eve:localhost:x"):
        assert not answer(passwords, forbidden)
    path.unlink()
    assert not answer(passwords, b"auth:user.alice:localhost:secret of alice")


def test_the_program_that_checks_passwords_speaks_ejabberds_way(tmp_path: Path) -> None:
    mesh, path = SecuredMesh(tmp_path), tmp_path / "passwords"
    mesh.user("alice")
    path.write_text(password_file(mesh.people))
    requests = [b"auth:user.alice:localhost:secret of alice", b"auth:user.alice:localhost:guess"]
    done = subprocess.run(
        [sys.executable, "-m", "broker.extauth", str(path)],
        input=b"".join(len(request).to_bytes(2, "big") + request for request in requests),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"\x00\x02\x00\x01" + b"\x00\x02\x00\x00"


@pytest.mark.parametrize("name", ["node1", "node1@", "node 1@host", "node1@host'", "UPPER@host"])
def test_a_name_that_is_no_nodes_is_refused(name: str, tmp_path: Path) -> None:
    mesh = SecuredMesh(tmp_path)
    settings = Cluster(mesh, tmp_path).nodes[0]._settings
    with pytest.raises(ValueError, match="must be NAME@HOST"):
        NodeSettings(tmp_path, name, "home", settings.listeners, settings.server, settings.cookie)
