"""What one prompt may cost: bounds of layers, fanout and tokens, and the work that a prompt and a request count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import Outcome, PromptRefusal, ProposalRequest, RefusalReason, Sampling
from edge_agent.core.settings import AgentSettings
from edge_agent.core.shares import device_holder
from tests.core.mesh import QUIET, Mesh

CAPPED = replace(QUIET, prompt_layers_max=3, prompt_fanout_max=2, prompt_output_tokens_max=512)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": 4}, "layers: 4 is more than this device does for a prompt: at most 3"),
        ({"fanout": 3}, "fanout: 3 is more"),
        ({"sampling": Sampling(max_output_tokens=513)}, "max_output_tokens: 513 is more"),
    ],
)
def test_a_prompt_that_asks_for_too_much_is_refused_in_words_and_for_good(
    options: dict[str, object], words: str
) -> None:
    mesh = Mesh(1, CAPPED)
    key = mesh.ask("d0", **options)
    (refusal,) = mesh.user_messages[key]
    assert isinstance(refusal, PromptRefusal)
    assert refusal.reason is RefusalReason.INVALID
    assert refusal.detail.startswith(words)
    assert refusal.retry_after_s is None
    assert mesh.agents["d0"].queue.places_used == 0


def test_what_is_just_within_the_bounds_is_answered() -> None:
    mesh = Mesh(3, CAPPED)
    key = mesh.ask("d0", layers=3, fanout=2, sampling=Sampling(max_output_tokens=512))
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.ANSWERED


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt_layers_max": 1},
        {"prompt_layers_max": 9},
        {"prompt_fanout_max": 1},
        {"prompt_fanout_max": 17},
        {"prompt_output_tokens_max": 255},
        {"prompt_output_tokens_max": 8_193},
        {"queue_work_max": 0},
        {"principal_share": 0.0},
        {"principal_share": 1.1},
    ],
    ids=str,
)
def test_bounds_that_would_refuse_every_prompt_or_mean_nothing_are_settings_errors(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        AgentSettings(**wrong)


def test_work_is_counted_by_the_bound_of_tokens_of_all_stages_here_and_of_one_item_elsewhere() -> None:
    mesh = Mesh(2)
    mesh.ask("d0", layers=2, fanout=1, sampling=Sampling(max_output_tokens=100))
    mesh.run(until=0.5)
    assert mesh.agents["d0"].queue.shares.used[2] == 300
    assert mesh.agents["d1"].queue.shares.used[2] == 100
    mesh.run()
    assert [agent.queue.shares.used for agent in mesh.agents.values()] == [(0, 0, 0)] * 2


def test_a_user_who_asks_for_many_tokens_is_over_its_share_before_its_places_are() -> None:
    mesh = Mesh(1, service_s=1e6)
    big = Sampling(max_output_tokens=8_192)
    keys = [mesh.ask("d0", layers=0, prompt_id=f"p{number}", sampling=big) for number in range(13)]
    refused = [any(isinstance(one, PromptRefusal) for one in mesh.user_messages[key]) for key in keys]
    assert refused == [False] * 12 + [True], "12 of 8,192 tokens are three quarters of the work; of places 24 would be"
    other = mesh.ask("d0", layers=0, user="user.other")
    assert not any(isinstance(one, PromptRefusal) for one in mesh.user_messages[other])


def test_a_prompt_that_names_no_deadline_has_the_devices() -> None:
    mesh = Mesh(1, service_s=1e6)
    key = mesh.ask("d0", layers=0)
    mesh.run(until=1_000.0)
    answer = mesh.answer(key)
    assert (answer.outcome, answer.end_to_end_latency_s) == (Outcome.EXPIRED, QUIET.deadline_s)


def test_what_a_user_asks_beyond_its_share_yields_elsewhere_and_leaves_room_for_other_users() -> None:
    mesh = Mesh(2, replace(QUIET, queue_capacity=16), service_s=1e6)
    mesh.ask("d0", layers=1, fanout=1, prompt_id="p0", user="user.alice")
    for number in range(11):
        mesh.ask("d0", layers=1, fanout=1, prompt_id=f"f{number}", user="user.flood")
    mesh.run(until=1.0)
    asked = [message.yields for _, _, message in mesh.sent if isinstance(message, ProposalRequest)]
    assert asked == [False] * 3 + [True] * 9
    there = mesh.agents["d1"].queue.shares
    assert (there.holds("d0"), there.holds(device_holder("d0", yields=True))) == (3, 9)
    assert there.used[0] == 12, "no more, since the rest is kept for others"
    mesh.ask("d0", layers=1, fanout=1, prompt_id="p1", user="user.alice")
    mesh.run(until=2.0)
    assert there.holds("d0") == 4, "and what is asked for alice finds a place"
