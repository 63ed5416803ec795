"""Whom each policy asks, and whom not."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import PeerEntry
from edge_agent.core.policies import make_policies
from edge_agent.core.policies.expected_time import expected_times_s
from edge_agent.core.policies.peer_selection import LOOKED_AT_MAX, PeerSelection
from edge_agent.core.settings import AgentSettings
from tests.core.policies.peers import OWN, ids, peer, peers

FILLING = ("uniform", "two-choices", "choices(5)", "latency-threshold", "latency-threshold(0.9, gemma=3)", "diverse")
ALL = (*FILLING, "budget(2.5)", "same-model", "same-model(gemma-big)")


def policy(name: str) -> PeerSelection:
    return make_policies(AgentSettings(peer_selection=name)).peer_selection


def shares(name: str, view: list[PeerEntry], count: int = 1, times: int = 400) -> Counter[str]:
    chosen: Counter[str] = Counter()
    draws = random.Random(7)
    for _ in range(times):
        chosen.update(ids(policy(name).select(view, count, (), OWN, draws)))
    return chosen


entries = st.builds(
    peer,
    st.integers(0, 10**6).map(str),
    waiting=st.integers(0, 50),
    service_s=st.none() | st.floats(0.001, 1000.0),
    family=st.sampled_from(["qwen", "gemma", "smol"]),
    model=st.sampled_from(["qwen-small", "gemma-big"]),
)
views = st.lists(entries, max_size=40, unique_by=lambda entry: entry.device_id)


@pytest.mark.parametrize("name", ALL)
@given(view=views, count=st.integers(0, 16), asked=st.integers(0, 5), seed=st.integers(0, 9))
def test_selections_are_distinct_known_peers_not_asked_before_and_no_more_than_wanted(
    name: str, view: list[PeerEntry], count: int, asked: int, seed: int
) -> None:
    excluded = ["own", *ids(view[:asked])]
    chosen = policy(name).select(view, count, excluded, OWN, random.Random(seed))
    assert len(ids(chosen)) == len(set(ids(chosen))) <= count
    assert all(entry in view and entry.device_id not in excluded for entry in chosen)
    if name in FILLING:
        assert len(chosen) == min(count, len(view) - len(view[:asked])), "slots were left empty"


class Watched:
    """A view that counts how often it is looked at."""

    def __init__(self, size: int) -> None:
        self.size, self.looks = size, 0

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> PeerEntry:
        self.looks += 1
        return peer(f"d{index}", waiting=index % 7)


@pytest.mark.parametrize("name", ALL)
def test_a_view_of_a_hundred_thousand_is_not_read_through(name: str) -> None:
    view = Watched(100_000)
    policy(name).select(view, 3, ("own",), OWN, random.Random(1))
    assert view.looks <= 2 * LOOKED_AT_MAX


def test_two_choices_never_takes_the_slower_of_the_two_it_knows() -> None:
    view = [peer("slow", service_s=3.0), peer("fast", service_s=1.0)]
    assert shares("two-choices", view) == {"fast": 400}
    assert shares("two-choices", [peer("long", waiting=4), peer("short", waiting=3)]) == {"short": 400}


def test_two_choices_weighs_queue_by_speed() -> None:
    view = [peer("fast", waiting=5, service_s=1.0), peer("slow", waiting=1, service_s=2.0)]
    assert shares("two-choices", view) == {"slow": 400}


def test_two_choices_leaves_the_quickest_of_many_to_others_most_of_the_time() -> None:
    view = [peer("idle"), *(peer(f"d{number}", waiting=3) for number in range(19))]
    # of 20, two are drawn: the idle one is among them one time in ten; "the least loaded" would always take it
    assert shares("two-choices", view)["idle"] < 80
    assert shares("choices(20)", view)["idle"] == 400


def test_equals_are_chosen_evenly_whatever_their_place_in_the_view() -> None:
    for name in FILLING:
        counts = shares(name, peers(4), times=2000)
        assert min(counts.values()) > 400, f"{name}: {counts}"


def test_two_choices_for_one_slot_each_is_two_choices() -> None:
    assert shares("choices(2)", peers(6), count=2) == shares("two-choices", peers(6), count=2)


def test_unknown_speed_counts_as_the_mean_of_the_known_so_a_newcomer_is_asked_and_a_hung_device_is_not() -> None:
    view = [peer("d1", waiting=2, service_s=1.0), peer("d2", waiting=2, service_s=3.0), peer("new", service_s=None)]
    assert expected_times_s(view) == [3.0, 9.0, 2.0]
    assert expected_times_s([peer("d1", service_s=None)]) is None
    hung = [peer("hung", waiting=9, service_s=None), peer("d1", waiting=1, service_s=2.0)]
    assert shares("two-choices", hung) == {"d1": 400}


def test_before_any_speed_is_known_the_shorter_queue_counts() -> None:
    view = [peer("long", waiting=2, service_s=None), peer("short", waiting=1, service_s=None)]
    assert shares("two-choices", view) == {"short": 400}


def test_latency_threshold_drops_who_is_not_worth_its_latency_and_fills_up_with_the_best_of_them() -> None:
    view = [peer("d1"), peer("d2", waiting=1), peer("slow", waiting=4), peer("slowest", waiting=9)]
    counts = shares("latency-threshold(0.5)", view)
    assert set(counts) == {"d1", "d2"}
    assert min(counts.values()) > 150, "those good enough are equals"
    assert set(shares("latency-threshold(0.5)", view, count=3)) == {"d1", "d2", "slow"}


def test_latency_threshold_waits_longer_for_a_family_of_more_value() -> None:
    view = [peer("quick", family="smol"), peer("good", family="qwen", waiting=2)]
    assert shares("latency-threshold(0.5)", view) == {"quick": 400}
    assert shares("latency-threshold(0.9, qwen=3)", view)["good"] > 150


def test_budget_asks_nobody_who_would_answer_too_late_even_if_slots_stay_empty() -> None:
    view = [peer("d1", waiting=1), peer("late", waiting=2), peer("slow", service_s=3.0)]
    assert shares("budget(2)", view, count=3) == {"d1": 400}
    assert policy("budget(0.5)").select(view, 3, (), OWN, random.Random(1)) == []
    unknown = peers(3, service_s=None)
    assert len(policy("budget(0.5)").select(unknown, 3, (), OWN, random.Random(1))) == 3


def test_diverse_takes_each_other_family_once_before_any_twice_and_its_own_last() -> None:
    view = [
        *peers(5, family="qwen"),
        *(peer(f"g{number}", family="gemma") for number in range(5)),
        peer("s", family="smol"),
    ]
    for seed in range(50):
        chosen = policy("diverse").select(view, 4, (), OWN, random.Random(seed))
        assert {entry.model_family for entry in chosen[:2]} == {"gemma", "smol"}
        assert {entry.model_family for entry in chosen[2:]} == {"qwen", "gemma"}


def test_diverse_replaces_a_peer_by_one_of_a_family_not_asked_yet() -> None:
    view = [peer("g1", family="gemma"), peer("g2", family="gemma"), peer("s1", family="smol")]
    for seed in range(20):
        (substitute,) = policy("diverse").select(view, 1, ("own", "g1"), OWN, random.Random(seed))
        assert substitute.device_id == "s1"


def test_same_model_asks_only_peers_of_this_devices_model_or_of_the_named_one() -> None:
    view = [*peers(3, model="qwen-small"), *(peer(f"b{number}", model="gemma-big") for number in range(3))]
    assert set(shares("same-model", view, count=6)) == {"d0", "d1", "d2"}
    assert set(shares("same-model(gemma-big)", view, count=6)) == {"b0", "b1", "b2"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("uniform(2)", "uniform takes no argument"),
        ("two-choices(2)", "two-choices takes no argument"),
        ("choices", r"needs d, the peers to compare, 1 to 32, such as choices\(2\)"),
        ("choices(0)", "1 to 32"),
        ("choices(33)", "1 to 32"),
        ("choices(2.5)", "1 to 32"),
        ("choices(²)", "1 to 32"),
        ("budget", r"needs the seconds a layer may take, above 0, such as budget\(30\)"),
        ("budget(inf)", "above 0"),
        ("budget(-1)", "above 0"),
        ("latency-threshold(1.5)", "above 0 and at most 1"),
        ("latency-threshold(0.5, qwen)", "values as family=number"),
        ("latency-threshold(0.5, qwen=nan)", "values as family=number"),
        ("nearest", "no policy 'nearest'; there are: budget, choices, diverse, latency-threshold"),
        ("choices(2", "no policy"),
    ],
)
def test_a_wrong_name_or_argument_is_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make_policies(AgentSettings(peer_selection=name))
