"""How devices find each other, notice who is gone, and find each other again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.messages import PeerEntry, Presence, PresenceState, ProposalRequest, ViewExchange
from edge_agent.core.peers import PeerStatus
from edge_agent.core.settings import AgentSettings
from edge_agent.core.states import Outcome
from tests.core.mesh import QUIET, Mesh

GOSSIP = AgentSettings(status_interval_s=None)


def entry(name: str) -> PeerEntry:
    return PeerEntry(name, "", "m", "f", 0, 0, 0, None)


def known(mesh: Mesh, name: str) -> set[str]:
    view = mesh.agents[name].view
    return {view[index].device_id for index in range(len(view))}


def others(mesh: Mesh, name: str) -> set[str]:
    return {other for other in mesh.agents if other != name}


def all_know_all(mesh: Mesh) -> bool:
    return all(known(mesh, name) == others(mesh, name) for name in mesh.agents)


def seconds_until_all_know_all(mesh: Mesh, bound_s: float) -> float:
    begun = mesh.now
    while not all_know_all(mesh) and mesh.now < begun + bound_s:
        mesh.run(until=mesh.now + 1.0)
    views = {name: len(known(mesh, name)) for name in mesh.agents}
    assert all_know_all(mesh), f"after {bound_s} s the views hold {views} (seed {mesh.seed})"
    return mesh.now - begun


def be_born(mesh: Mesh, name: str, incarnation: int) -> Presence:
    entry = replace(mesh.agents[name].last_will().entry, incarnation=incarnation, heartbeat=0)
    return Presence(entry, PresenceState.ONLINE, 1, "")


@pytest.mark.parametrize("seed", range(3))
def test_twenty_devices_that_know_one_seed_find_all_others_without_any_presence(seed: int) -> None:
    mesh = Mesh(20, GOSSIP, seed=seed, acquainted=False, seeds=(("d0", ""),), presence=False)
    assert seconds_until_all_know_all(mesh, bound_s=60.0) < 60.0
    mesh.run(until=mesh.now + 120.0)
    assert all_know_all(mesh), "somebody was forgotten while nothing happened"
    assert sum(agent.counters.peers_lost for agent in mesh.agents.values()) == 0


def test_an_empty_view_asks_its_seeds_again_until_one_is_there() -> None:
    mesh = Mesh(2, GOSSIP, acquainted=False, seeds=(("d1", ""),), presence=False)
    mesh.agents["d0"].view.bury(entry("d1"))
    mesh.stop("d1")
    mesh.run(until=20.0)
    contacts = [to for sender, to, message in mesh.sent if sender == "d0" and isinstance(message, ViewExchange)]
    assert len(contacts) >= 10, "once at the start, then every interval"
    assert set(contacts) == {"d1"}
    mesh.start("d1")
    mesh.run(until=25.0)
    assert known(mesh, "d0") == {"d1"}


def test_a_newcomer_in_a_small_mesh_is_told_of_the_others_at_once() -> None:
    mesh = Mesh(4)
    mesh.stop("d3")
    mesh.start("d3")
    assert known(mesh, "d3") == set()
    mesh.run(until=0.1)
    assert known(mesh, "d3") == {"d0", "d1", "d2"}


def test_a_device_seen_in_the_local_network_is_asked_at_once_and_again_after_both_buried_each_other() -> None:
    mesh = Mesh(2, GOSSIP, acquainted=False, presence=False)
    mesh.handle("d0", ev.PeerDiscovered("d0", "mqtt://me:1"))
    mesh.run(until=5.0)
    assert known(mesh, "d0") == set()
    mesh.handle("d0", ev.PeerDiscovered("d1", ""))
    mesh.run(until=5.1)
    assert all_know_all(mesh)
    for name, other in (("d0", "d1"), ("d1", "d0")):
        mesh.agents[name].view.bury(entry(other))
    seconds_until_all_know_all(mesh, bound_s=10.0)


def test_made_up_devices_of_the_local_network_do_not_pile_up_and_do_not_replace_a_seed() -> None:
    mesh = Mesh(1, GOSSIP, seeds=(("pantry", "mqtt://pantry:1"),), presence=False)
    for number in range(1000):
        mesh.handle("d0", ev.PeerDiscovered(f"ghost-{number}", "mqtt://ghost:1"))
    mesh.handle("d0", ev.PeerDiscovered("pantry", "mqtt://ghost:1"))
    mesh.handle("d0", ev.ConnectionChanged(False))
    effects = mesh.agents["d0"].handle(ev.ConnectionChanged(True), mesh.now)
    asked = [(effect.device_id, effect.home_broker) for effect in effects if isinstance(effect, fx.SendToDevice)]
    assert ("pantry", "mqtt://pantry:1") in asked
    assert len(asked) == 1 + 64


def test_a_will_buries_and_a_reconnect_of_the_same_incarnation_brings_back() -> None:
    mesh = Mesh(3)
    will = mesh.agents["d1"].last_will()
    mesh.handle("d0", ev.PeerMessageReceived(will))
    assert known(mesh, "d0") == {"d2"}
    mesh.handle("d1", ev.ConnectionChanged(False))
    mesh.handle("d1", ev.ConnectionChanged(True))
    mesh.run(until=1.0)
    row = mesh.agents["d0"].view.get("d1")
    assert row is not None
    assert row.entry.incarnation == will.entry.incarnation
    assert row.entry.heartbeat > will.entry.heartbeat


def test_a_will_that_comes_after_the_return_is_outlived() -> None:
    mesh = Mesh(3, GOSSIP)
    will = mesh.agents["d1"].last_will()
    mesh.run(until=10.0)
    mesh.handle("d0", ev.PeerMessageReceived(will))
    assert "d1" not in known(mesh, "d0")
    mesh.run(until=30.0)
    assert "d1" in known(mesh, "d0")


def test_a_farewell_counts_like_a_will_and_is_not_taken_back_by_what_the_device_still_sends() -> None:
    mesh = Mesh(3, GOSSIP)
    mesh.run(until=10.0)
    mesh.handle("d1", ev.StopRequested())
    mesh.run(until=11.0)
    assert known(mesh, "d0") == {"d2"}
    mesh.run(until=60.0)
    assert known(mesh, "d0") == {"d2"}


def test_what_a_restarted_device_was_asked_is_lost_and_a_substitute_is_asked() -> None:
    mesh = Mesh(4, service_s=5.0)
    key = mesh.ask("d0", layers=1, fanout=1)
    mesh.run(until=1.0)
    (asked,) = [to for _, to, message in mesh.sent if isinstance(message, ProposalRequest)]
    mesh.handle("d0", ev.PeerMessageReceived(be_born(mesh, asked, incarnation=99)))
    mesh.run()
    answer = mesh.answer(key)
    assert answer.outcome is Outcome.ANSWERED
    assert [(sub.instead_of, sub.reason) for sub in answer.provenance.substitutes] == [(asked, "lost")]
    assert mesh.agents["d0"].counters.peers_lost == 1


def test_a_device_that_is_born_again_with_the_same_incarnation_has_lost_nothing() -> None:
    mesh = Mesh(4, service_s=5.0)
    key = mesh.ask("d0", layers=1, fanout=3)
    mesh.run(until=1.0)
    for name in ("d1", "d2", "d3"):
        mesh.handle(name, ev.ConnectionChanged(True))
    mesh.run()
    assert mesh.answer(key).provenance.substitutes == ()


def test_silence_is_suspected_and_then_buried() -> None:
    mesh = Mesh(4, GOSSIP)
    mesh.run(until=20.0)
    mesh.stop("d3")
    mesh.run(until=20.0 + GOSSIP.dead_after_s / 2)
    row = mesh.agents["d0"].view.get("d3")
    assert row is not None
    assert row.status is PeerStatus.SUSPECT
    mesh.run(until=40.0 + GOSSIP.dead_after_s)
    assert all(mesh.agents[name].view.get("d3") is None for name in mesh.agents)
    assert all_know_all(mesh)


def test_who_cannot_hear_suspects_nobody() -> None:
    mesh = Mesh(4, GOSSIP)
    mesh.run(until=10.0)
    mesh.handle("d0", ev.ConnectionChanged(False))
    mesh.lose = lambda sender, receiver, message: "d0" in (sender, receiver)
    mesh.run(until=200.0)
    assert known(mesh, "d0") == {"d1", "d2", "d3"}
    assert mesh.agents["d0"].counters.peers_suspected == 0
    mesh.lose = lambda *_: False
    mesh.handle("d0", ev.ConnectionChanged(True))
    mesh.run(until=201.0)
    assert known(mesh, "d0") == {"d1", "d2", "d3"}
    seconds_until_all_know_all(mesh, bound_s=30.0)


def test_two_devices_that_suspected_each_other_find_each_other_again() -> None:
    mesh = Mesh(2, GOSSIP)
    mesh.lose = lambda *_: True  # the network between, not either's connection
    mesh.run(until=GOSSIP.suspect_after_s + 10.0)
    assert known(mesh, "d0") == known(mesh, "d1") == set()
    mesh.lose = lambda *_: False
    seconds_until_all_know_all(mesh, bound_s=20.0)


@pytest.mark.parametrize("seed", range(3))
def test_two_halves_that_buried_each_other_find_each_other_again_by_their_seeds(seed: int) -> None:
    mesh = Mesh(8, GOSSIP, seed=seed, seeds=(("d0", ""), ("d7", "")), presence=False)
    left = {"d0", "d1", "d2", "d3"}
    mesh.lose = lambda sender, receiver, message: (sender in left) != (receiver in left)
    mesh.run(until=GOSSIP.dead_after_s * 2)
    assert known(mesh, "d0") == left - {"d0"}
    mesh.lose = lambda *_: False
    seconds_until_all_know_all(mesh, bound_s=180.0)


def test_a_quiet_mesh_without_gossip_sends_nothing_by_itself() -> None:
    mesh = Mesh(3, QUIET)
    mesh.run()
    assert [effect for _, effect in mesh.effects if isinstance(effect, fx.SendToDevice)] == []
    assert mesh.agents["d0"].next_deadline() is None


def test_a_seed_gets_no_row_in_a_full_view_for_being_asked_and_so_no_more_work_than_others() -> None:
    settings = replace(QUIET, view_size_max=2)
    mesh = Mesh(4, settings, acquainted=False, presence=False, seeds=(("d3", ""),))
    view = mesh.agents["d0"].view
    entries = {name: mesh.agents[name].last_will().entry for name in mesh.names}

    def told_by(name: str, *, reply_wanted: bool) -> None:
        exchange = ViewExchange((replace(entries[name], heartbeat=9),), reply_wanted)
        mesh.handle("d0", ev.PeerMessageReceived(exchange))

    told_by("d3", reply_wanted=False)
    assert view.get("d3") is not None, "there was room for the seed"
    for name in ("d1", "d2"):
        told_by(name, reply_wanted=True)
    if view.get("d3") is not None:  # a random row left for the last one: let the seed be the one that leaves
        mesh.handle("d0", ev.PeerMessageReceived(Presence(entries["d3"], PresenceState.STOPPED, 1, "1")))
        told_by("d1", reply_wanted=True)
        told_by("d2", reply_wanted=True)
        entries["d3"] = replace(entries["d3"], incarnation=entries["d3"].incarnation + 1)
    assert {row.entry.device_id for row in view.rows()} == {"d1", "d2"}
    told_by("d3", reply_wanted=False)
    assert view.get("d3") is None
    told_by("d3", reply_wanted=True)  # it chose this device, as anybody may
    assert view.get("d3") is not None
