"""Whatever goes wrong, every accepted prompt ends exactly once, and nothing is left over.

`MOAMESH_CHAOS_RUNS=1000` runs more seeds, `MOAMESH_CHAOS_SEED=17` one of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge_agent.core import effects as fx
from edge_agent.core.messages import Answer, PromptReceipt, Provenance
from edge_agent.core.states import Outcome
from tests.core.chaos import Chaos

ACTIONS = 60
ONE_SEED = os.environ.get("MOAMESH_CHAOS_SEED")
RUNS = int(os.environ.get("MOAMESH_CHAOS_RUNS", "40"))
SEEDS = range(RUNS) if ONE_SEED is None else [int(ONE_SEED)]


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Says how to repeat a failure."""
    try:
        yield
    except Exception as error:
        error.add_note(f"repeat with: MOAMESH_CHAOS_SEED={seed} python -m pytest tests/core/test_chaos.py")
        raise


@pytest.mark.parametrize("seed", SEEDS)
def test_every_accepted_prompt_ends_exactly_once_and_nothing_is_left_over(seed: int) -> None:
    with repeatable(seed):
        mesh = Chaos(seed)
        mesh.play(ACTIONS)
        mesh.settle()
        check_nothing_is_left_over(mesh)
        check_every_accepted_prompt_ended_once(mesh)
        check_answers(mesh)


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_a_seed_decides_everything(seed: int) -> None:
    traces = []
    for _ in range(2):
        mesh = Chaos(seed)
        mesh.play(ACTIONS)
        traces.append([repr(effect) for effect in mesh.effects])
    assert traces[0] == traces[1]


@pytest.mark.parametrize("seed", SEEDS[:10])
def test_without_faults_only_time_cancels_and_failing_nobody_keeps_a_prompt_from_its_answer(seed: int) -> None:
    with repeatable(seed):
        mesh = Chaos(seed, faults=False)
        mesh.play(ACTIONS)
        mesh.settle()
        check_nothing_is_left_over(mesh)
        check_every_accepted_prompt_ended_once(mesh)
        outcomes = {answer.outcome for _, answer in answers(mesh)}
        assert outcomes <= {Outcome.ANSWERED, Outcome.EXPIRED, Outcome.CANCELLED}


def answers(mesh: Chaos) -> list[tuple[str, Answer]]:
    return [
        (key, message)
        for key, messages in mesh.user_messages.items()
        for message in messages
        if isinstance(message, Answer)
    ]


def check_nothing_is_left_over(mesh: Chaos) -> None:
    for name, agent in mesh.agents.items():
        assert mesh.leaks(name) == {}, name
        totals = agent._server.meter.totals
        ended = totals["completed"] + totals["expired"] + totals["cancelled"] + totals["failed"]
        assert totals["accepted"] == ended, f"{name}: items are miscounted: {totals}"


def check_every_accepted_prompt_ended_once(mesh: Chaos) -> None:
    promised = [
        key
        for key, messages in mesh.user_messages.items()
        if any(isinstance(message, PromptReceipt) for message in messages)
    ]
    for key in promised:
        device = mesh.asked[key]
        ends = mesh.disks[device].ends.get(key, 0)
        assert ends == 1 if device in mesh.agents else ends <= 1, f"{key} at {device} ended {ends} times"
    for device in mesh.agents:
        assert mesh.disks[device].sessions == {}, f"{device} left prompts in its journal"
        for key, kept in mesh.disks[device].answers.items():
            told = [message for message in mesh.user_messages[key] if isinstance(message, Answer)]
            assert told, f"nobody was told how {key} ended"
            assert all(answer == kept.answer for answer in told), f"{key} was answered differently"


def check_answers(mesh: Chaos) -> None:
    for key, answer in answers(mesh):
        provenance = answer.provenance
        check_layers(provenance)
        assert (answer.outcome is Outcome.ANSWERED) == bool(answer.text), key
        assert (answer.outcome is Outcome.ANSWERED and not answer.partial) == (answer.detail == ""), key
        assert answer.partial == bool(provenance.answer_from)
        if answer.outcome is Outcome.ANSWERED and not answer.partial:
            assert provenance.aggregation is not None
            elsewhere = [asked.device_id for asked in provenance.substitutes if asked.layer > len(provenance.layers)]
            assert provenance.aggregation.device_id in (mesh.asked[key], *elsewhere)
            early = any(decision.stops for decision in provenance.decisions)
            assert early or len(provenance.layers) == provenance.layer_count
    for _, effect in mesh.effects:
        if isinstance(effect, fx.RecordRequest):
            assert min(effect.waiting_time_s, effect.service_time_s, effect.sojourn_time_s) >= 0.0


def check_layers(provenance: Provenance) -> None:
    assert len(provenance.layers) <= provenance.layer_count
    for number, layer in enumerate(provenance.layers, start=1):
        devices = [contribution.device_id for contribution in layer]
        assert len(devices) == len(set(devices)) <= provenance.fanout + 1
        missing = [lost for lost in provenance.missing if lost.layer == number]
        assert len(devices) + len(missing) == provenance.fanout + 1, f"layer {number} of {provenance}"
