"""One seed decides everything, in whatever process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from edge_agent.lab.simulator.faults.run import run_seed
from edge_agent.lab.simulator.load.run import LoadRun
from edge_agent.lab.simulator.load.scenario import Scenario
from tests.support.patience import PATIENCE_S

COMMAND = [sys.executable, "-m", "edge_agent.cli.main", "simulate", "--devices", "12", "--prompts", "150", "--json"]
FAULTS = """
from edge_agent.lab.simulator.faults.run import run_seed
print(run_seed(3).trace_hash)
"""


def elsewhere(command: list[str], hash_seed: str) -> str:
    """The output of another process under another PYTHONHASHSEED."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return done.stdout


def load_hash(**options: object) -> str:
    return LoadRun(Scenario(devices=12, utilisation=0.8, prompts=150, **options)).run().trace_hash  # type: ignore[arg-type]  # by name


def test_the_same_seed_has_the_same_trace_in_another_process_under_another_hash_seed() -> None:
    here = load_hash()
    assert [json.loads(elsewhere(COMMAND, seed))["trace_hash"] for seed in ("1", "2")] == [here, here]


def test_a_fault_seed_has_the_same_trace_in_another_process_under_another_hash_seed() -> None:
    here = run_seed(3).trace_hash
    assert [elsewhere([sys.executable, "-c", FAULTS], seed).strip() for seed in ("1", "2")] == [here, here]


def test_keeping_the_trace_does_not_change_it() -> None:
    kept = run_seed(5, keep_trace=True)
    assert kept.trace
    assert kept.trace_hash == run_seed(5).trace_hash


@pytest.fixture(scope="module")
def of_default() -> str:
    return load_hash()


@pytest.mark.parametrize("options", [{"seed": 2}, {"network_delay_s": 0.01}, {"layers": 1}, {"gossip": True}])
def test_another_seed_or_scenario_has_another_trace(of_default: str, options: dict[str, object]) -> None:
    assert load_hash(**options) != of_default
