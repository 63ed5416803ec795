"""How long a device waits for a peer's receipt before it asks again: learnt, bounded, and told by late receipts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core.messages import ProposalRequest
from edge_agent.core.peers import PeerStatus
from edge_agent.core.receipt_times import ReceiptTimes
from edge_agent.core.settings import AgentSettings
from tests.core.mesh import QUIET, Mesh


@pytest.mark.parametrize(
    ("receipts", "timeout_s"),
    [
        ([], 2.0),  # nothing is known yet
        ([0.001], 0.25),  # at least
        ([0.1], 0.4),
        ([0.001] * 31 + [0.1], 0.4),  # the slowest counts
        ([0.1] + [0.001] * 31, 0.4),
        ([0.1] + [0.001] * 32, 0.25),  # until 32 more have come
        ([0.7], 2.0),  # at most
        ([3_600.0], 2.0),  # a peer that was frozen
    ],
)
def test_the_wait_follows_the_slowest_of_the_last_receipts_within_bounds(
    receipts: list[float], timeout_s: float
) -> None:
    times = ReceiptTimes(AgentSettings())
    for waited_s in receipts:
        times.came(waited_s)
    assert times.timeout_s == pytest.approx(timeout_s)


def test_with_both_bounds_alike_nothing_is_learnt_and_a_floor_above_the_roof_gives_way() -> None:
    for settings in (AgentSettings(receipt_timeout_min_s=2.0), AgentSettings(receipt_timeout_min_s=9.0)):
        times = ReceiptTimes(settings)
        times.came(0.001)
        assert times.timeout_s == 2.0


def test_late_receipts_count_once_and_only_from_the_peer_that_was_asked() -> None:
    times = ReceiptTimes(AgentSettings())
    times.given_up("r", "d1", sent_at=10.0)
    assert not times.came_late("r", "d2", now=10.2)
    assert not times.came_late("other", "d1", now=10.2)
    assert not times.came_late("other", "", now=10.2)
    assert times.came_late("r", "d1", now=10.2)
    assert times.timeout_s == pytest.approx(0.8)
    assert not times.came_late("r", "d1", now=10.3)


def test_what_is_remembered_of_silent_peers_is_bounded() -> None:
    times = ReceiptTimes(AgentSettings())
    for number in range(1_000):
        times.given_up(f"r{number}", "d1", sent_at=0.0)
    assert not times.came_late("r0", "d1", now=1.0)
    assert times.came_late("r999", "d1", now=1.0)


def asks(mesh: Mesh, times: int) -> list[str]:
    """Prompts d0 so often, one after another; returns the keys."""
    keys = []
    for _ in range(times):
        prompt_id = f"p{mesh.now}"
        keys.append(mesh.ask("d0", layers=1, fanout=2, prompt_id=prompt_id, deadline_s=1_000.0))
        mesh.run(until=mesh.now + 30.0)
    return keys


def test_a_silent_peer_costs_its_asker_little_once_receipts_are_known_to_be_quick() -> None:
    mesh = Mesh(4, replace(QUIET, probe_interval_s=1e6), service_s=0.2)
    asks(mesh, 3)
    mesh.lose = lambda sender, receiver, message: receiver == "d1"
    mesh.sent.clear()
    slowest = max(mesh.answer(key).end_to_end_latency_s for key in asks(mesh, 5))
    assert any(receiver == "d1" and isinstance(message, ProposalRequest) for _, receiver, message in mesh.sent)
    assert slowest <= 2 * QUIET.receipt_timeout_min_s + 3 * 0.2 + 0.2, "before: two waits of 2 s each"


def test_a_network_that_grows_slow_is_found_out_by_late_receipts_and_costs_no_proposal_after_that() -> None:
    mesh = Mesh(3, replace(QUIET, substitutes_max=0), service_s=0.2)
    asks(mesh, 3)
    mesh._delay_s = 0.4  # a receipt takes 0.8 s: longer than two waits of 0.25 s
    first, *others = asks(mesh, 6)
    assert mesh.answer(first).provenance.missing, "the peers were given up, for nobody knew better"
    assert all(mesh.agents["d0"].view.get(name).status is PeerStatus.ALIVE for name in ("d1", "d2"))  # type: ignore[union-attr]  # it is known
    assert all(not mesh.answer(key).provenance.missing for key in others[-4:])
