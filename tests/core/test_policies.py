"""Policies by name, uniform selection as sessions make it, and what no peer's word may do to a selection."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import PeerEntry, ProposalRequest
from edge_agent.core.policies import BUILT_IN, make_policies
from edge_agent.core.policies.join import Quorum, WaitForAll
from edge_agent.core.policies.peer_selection import sample_distinct
from edge_agent.core.settings import AgentSettings, DeviceIdentity
from edge_agent.core.states import Outcome
from tests.core.mesh import Mesh

SESSIONS = 1_000
ENTRIES = [PeerEntry(f"p{number}", "", "m", "f", 1, 1, number, 1.0 + number) for number in range(12)]
ARGUMENTS = {"quorum": "(2)", "choices": "(2)", "budget": "(30)", "consensus": "(2)", "scored": "(2)"}


def with_policy(kind: str, text: str) -> AgentSettings:
    changes: dict[str, Any] = {kind: text}
    return replace(AgentSettings(), **changes)


@pytest.mark.slow
def test_over_a_thousand_sessions_the_peers_of_each_layer_are_uniform_distinct_and_never_the_origin() -> None:
    """Cells: for each of 4 origins, which pair of its 3 peers in layer 1, and which in layer 2: 4 x 9, 32 degrees."""
    mesh = Mesh(4, service_s=0.01, delay_s=0.001, watched=False)  # who is asked is what is looked at
    keys = []
    for number in range(SESSIONS):
        keys.append(mesh.ask(f"d{number % 4}", layers=2, fanout=2, user=f"u{number}"))
        mesh.run()
    assert all(mesh.answer(key).outcome is Outcome.ANSWERED for key in keys)
    asked: dict[tuple[str, int], list[str]] = {}
    session, origin = -1, ""
    for sender, receiver, message in mesh.sent:  # one session after the other, so the order tells them apart
        if isinstance(message, ProposalRequest):
            if message.layer == 1 and len(asked.get((f"{session}", 1), ["", ""])) == 2:
                session, origin = session + 1, sender
            assert sender == origin == f"d{session % 4}"
            asked.setdefault((f"{session}", message.layer), []).append(receiver)
    assert len(asked) == 2 * SESSIONS
    cells: Counter[tuple[str, tuple[str, ...], tuple[str, ...]]] = Counter()
    for number in range(SESSIONS):
        origin = f"d{number % 4}"
        layers = [tuple(sorted(asked[f"{number}", layer])) for layer in (1, 2)]
        assert all(len(set(layer)) == 2 and origin not in layer for layer in layers)
        cells[origin, layers[0], layers[1]] += 1
    expected = SESSIONS / 36
    chi_square = sum((cells[cell] - expected) ** 2 / expected for cell in all_cells())
    assert sum(cells[cell] for cell in all_cells()) == SESSIONS
    assert chi_square < 62.49, f"p < 0.001 for 32 degrees of freedom (seed {mesh.seed}): {cells}"


def all_cells() -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    names = ["d0", "d1", "d2", "d3"]
    pairs = {origin: list(combinations([name for name in names if name != origin], 2)) for origin in names}
    return [(origin, one, two) for origin in names for one in pairs[origin] for two in pairs[origin]]


@pytest.mark.parametrize("total", [5, 40])
def test_a_sample_is_uniform_whether_it_draws_and_rejects_or_shuffles(total: int) -> None:
    candidates = [replace(ENTRIES[0], device_id=f"x{number}") for number in range(total)]
    rng, runs, excluded = random.Random(4), 8_000, ["x0", "nobody"]
    counts = Counter(entry.device_id for _ in range(runs) for entry in sample_distinct(candidates, 3, excluded, rng))
    assert "x0" not in counts
    expected = 3 * runs / (total - 1)
    chi_square = sum((counts[f"x{number}"] - expected) ** 2 / expected for number in range(1, total))
    assert chi_square < {5: 16.27, 40: 72.05}[total], f"p < 0.001: {counts}"


def test_a_sample_never_repeats_a_candidate_and_ends_where_there_are_no_more() -> None:
    rng = random.Random(5)
    for total in range(12):
        for count in range(8):
            chosen = sample_distinct(ENTRIES[:total], count, ["p1"], rng)
            left = total - (total > 1)
            assert len({entry.device_id for entry in chosen}) == len(chosen) == min(count, left)


def test_every_built_in_name_makes_a_policy_and_is_named_in_provenance() -> None:
    for kind, factories in BUILT_IN.items():
        for name in factories:
            text = name + (
                ARGUMENTS.get(name, "") or ("(2)" if (kind, name) == ("response_selection", "judge") else "")
            )
            policies = make_policies(with_policy(kind, text))
            assert dict(policies.names)[kind] == text
            assert [named for named, _ in policies.names] == list(BUILT_IN)


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("peer_selection", "unifrom", r"peer_selection: no policy 'unifrom'; there are: .*uniform"),
        ("peer_selection", "", "no policy ''"),
        ("peer_selection", "uniform(3)", "takes no argument"),
        ("peer_selection", "uniform(", "no policy"),
        ("peer_selection", "uniform)", "no policy"),
        ("join", "wait-for-all(", "no policy"),
        ("join", "quorum", "quorum"),
        ("join", "quorum()", "quorum"),
        ("join", "quorum(0)", "quorum"),
        ("join", "quorum(-1)", "quorum"),
        ("join", "quorum(1.5)", "quorum"),
        ("join", "quorum(two)", "quorum"),
        ("join", "quorum(²)", "quorum"),
        ("join", f"quorum({'9' * 5_000})", "quorum"),
        ("join", "quorum(2", "no policy"),
        ("join", "quorum(2))", "quorum"),
        ("early_stop", "never(1)", "takes no argument"),
        ("layer_plan", "fixed(1)", "takes no argument"),
        ("response_selection", "all(1)", "takes no argument"),
    ],
)
def test_a_wrong_name_or_argument_is_refused_in_words(kind: str, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make_policies(with_policy(kind, text))


@pytest.mark.parametrize("join", [WaitForAll(), Quorum(2)])
def test_a_join_waits_for_its_number_or_for_nothing_left_and_the_user_s_number_comes_first(
    join: WaitForAll | Quorum,
) -> None:
    assert join.is_joined(joined=0, outstanding=0, wanted=None)
    assert join.is_joined(joined=1, outstanding=2, wanted=1)
    assert not join.is_joined(joined=2, outstanding=1, wanted=3)
    assert join.is_joined(joined=2, outstanding=1, wanted=None) is isinstance(join, Quorum)


@pytest.mark.parametrize("name", list(BUILT_IN["peer_selection"]))
@pytest.mark.parametrize("time_s", [0.0, 5e-324, 1e308, 1e-9])
@pytest.mark.parametrize("waiting", [0, 2**53])
def test_no_peer_can_stop_a_selection_by_what_it_says_of_itself(name: str, time_s: float, waiting: int) -> None:
    text = name + ARGUMENTS.get(name, "")
    select = make_policies(replace(AgentSettings(), peer_selection=text)).peer_selection.select
    liar = replace(ENTRIES[0], device_id="liar", service_time_s_mean=time_s, requests_waiting=waiting)
    own = DeviceIdentity("d0", model="m", model_family="f")
    for others in (ENTRIES, [], [replace(liar, device_id="second")], [replace(ENTRIES[0], service_time_s_mean=None)]):
        chosen = select([liar, *others], 3, ["p1"], own, random.Random(1))
        ids = [entry.device_id for entry in chosen]
        assert len(ids) == len(set(ids)) <= 3
        assert "p1" not in ids
