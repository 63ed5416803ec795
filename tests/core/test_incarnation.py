"""A device that comes back looking older than it was: without its journal, and with a clock that stood behind."""

from __future__ import annotations

from dataclasses import replace

from edge_agent.core import events as ev
from edge_agent.core.effects import SendToDevice
from edge_agent.core.messages import PeerEntry, PresenceState, ViewExchange
from tests.core.mesh import QUIET, Mesh

GOSSIP = replace(QUIET, gossip_interval_s=1.0)


def entry(name: str, incarnation: int, heartbeat: int = 0) -> PeerEntry:
    return PeerEntry(name, "", "m", "f", incarnation, heartbeat, 0, None)


def test_who_is_told_of_a_later_life_of_its_own_takes_a_newer_incarnation_than_that() -> None:
    mesh = Mesh(2, GOSSIP)
    own = mesh.agents["d0"].last_will().entry
    later = replace(own, incarnation=own.incarnation + 1000)
    mesh.handle("d0", ev.PeerMessageReceived(ViewExchange((entry("d1", 1), later), False)))
    assert mesh.agents["d0"].last_will().entry.incarnation == later.incarnation + 1


def test_news_of_its_own_that_is_not_newer_changes_nothing() -> None:
    mesh = Mesh(2, GOSSIP)
    own = mesh.agents["d0"].last_will().entry
    mesh.handle("d0", ev.PeerMessageReceived(ViewExchange((entry("d1", 1), own), False)))
    assert mesh.agents["d0"].last_will().entry == own


def test_an_absurd_incarnation_is_not_outdone() -> None:
    mesh = Mesh(2, GOSSIP)
    own = mesh.agents["d0"].last_will().entry
    mesh.handle("d0", ev.PeerMessageReceived(ViewExchange((entry("d1", 1), replace(own, incarnation=2**60)), False)))
    assert mesh.agents["d0"].last_will().entry.incarnation == own.incarnation


def test_who_was_buried_and_comes_back_looking_older_is_told_so_and_known_again() -> None:
    mesh = Mesh(2, GOSSIP)
    former = mesh.agents["d1"].last_will()
    mesh.stop("d1")
    dead = replace(former, entry=replace(former.entry, incarnation=5000), state=PresenceState.OFFLINE)
    mesh.handle("d0", ev.PeerMessageReceived(dead))
    assert len(mesh.agents["d0"].view) == 0
    mesh.start("d1")
    greeting = ViewExchange((mesh.agents["d1"].last_will().entry,), True)
    effects = mesh.handle("d0", ev.PeerMessageReceived(greeting))
    (reply,) = [effect for effect in effects if isinstance(effect, SendToDevice)]
    assert isinstance(reply.message, ViewExchange)
    mesh.handle("d1", ev.PeerMessageReceived(reply.message))
    assert mesh.agents["d1"].last_will().entry.incarnation == 5001
    mesh.run(until=mesh.now + 5.0)
    assert [row.entry.device_id for row in mesh.agents["d0"].view.rows()] == ["d1"]
