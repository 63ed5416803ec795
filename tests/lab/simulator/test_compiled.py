"""The compiled simulator goes the same way as the pure one, event by event."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.compile_simulator import copy_package, with_constructors

ROOT = Path(__file__).parents[3]
TRACES = """
import sys
from edge_agent.core import agent
from edge_agent.core.errors import SettingsError
from edge_agent.lab.simulator.faults.campaign import parse_seeds, run_campaign
from edge_agent.lab.simulator.faults.run import run_seed
from edge_agent.lab.simulator.load.run import LoadRun
from edge_agent.lab.simulator.load.scenario import Scenario
from edge_agent.lab.simulator.workload import Burst

print(agent.__file__)
common = {"devices": 12, "utilisation": 0.8, "prompts": 300, "warm_up_s": 0.0}
for extra in (
    {},
    {"gossip": True, "network_delay_s": 0.02, "peer_selection": "two-choices"},
    {"layer_plan": "adaptive", "bursts": (Burst(20.0, 20.0, 8.0),), "queue_capacity": 32, "deadline_s": 60.0},
):
    result = LoadRun(Scenario(**common, **extra)).run()
    print(result.trace_hash, result.measurement.latency(), result.measurement.requests_waiting())
for seed in range(1, 11):
    result = run_seed(seed, keep_trace=True)
    print(result.outcome, result.trace_hash, *result.trace, sep="\\n")
"""

LOAD = ["--devices", "4", "--layers", "1", "--fanout", "2", "--utilisation", "0.5", "--prompts", "100", "--seed", "1"]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | environment
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def traces(folder: Path) -> tuple[str, str]:
    """Where the core of `folder` lies, and all that happens in some runs with it."""
    done = run(sys.executable, "-P", "-c", TRACES, PYTHONPATH=str(folder))  # -P: not this checkout's own before it
    assert done.returncode == 0, done.stderr
    core, _, runs = done.stdout.partition("\n")
    assert Path(core).is_relative_to(folder)
    assert len(runs) > 100_000
    return core, runs


@pytest.fixture(scope="module")
def pure_runs() -> str:
    return traces(ROOT)[1]


@pytest.mark.long
def test_written_out_constructors_change_nothing(tmp_path, pure_runs):
    modules = copy_package(tmp_path)
    assert "def __init__" in (tmp_path / "edge_agent/core/effects.py").read_text()
    assert "edge_agent/core/effects.py" in modules
    assert traces(tmp_path)[1] == pure_runs


@pytest.mark.long
def test_the_compiled_simulator_goes_the_same_way_and_keeps_its_safeguards(tmp_path, pure_runs):
    done = run(sys.executable, "scripts/compile_simulator.py", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    core, runs = traces(tmp_path)
    assert core.endswith(".so")
    assert runs == pure_runs
    simulate = (sys.executable, str(tmp_path / "simulate.py"))
    assert "latency" in run(*simulate, *LOAD).stdout
    refused = run(*simulate, "--faults", "all", "--seeds", "1", "--without", "probe")
    assert refused.returncode == 2
    assert "a safeguard can be taken away in pure Python only" in refused.stderr


def test_a_written_out_constructor_keeps_defaults_factories_and_checks():
    source = """
from dataclasses import dataclass, field

@dataclass(frozen=True, slots=True)
class Record:
    '''A record.'''

    name: str
    count: int = (
        3
    )
    '''How many.'''
    seen: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.seen.append(self.name)

@dataclass(slots=True, eq=False)
class Other:
    name: str = "other"
"""
    made: dict[str, object] = {"__name__": __name__}
    exec(with_constructors(source), made)
    record, other = made["Record"], made["Other"]
    assert repr(record("a")) == "Record(name='a', count=3, seen=['a'])"
    assert record("a") == record("a", 3) != record("a", 4)
    assert record("a").seen is not record("a").seen
    assert other() != other()
    assert other().name == "other"
