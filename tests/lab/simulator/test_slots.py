"""Several slots on the virtual clock: by theory where it is exact, and under faults with every checker."""

from __future__ import annotations

import math

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.core.events import InferenceCompleted
from edge_agent.lab.simulator.faults.run import SeedOutcome, run_seed
from edge_agent.lab.simulator.load.report import make_report
from edge_agent.lab.simulator.load.run import LoadRun
from edge_agent.lab.simulator.load.scenario import Scenario
from edge_agent.lab.simulator.shared_engine import SharedEngine
from edge_agent.service_time import parse_service
from edge_agent.speed_up import SpeedUp, parse_speed_up


def erlang_c(servers: int, load: float) -> float:
    """The chance that an item waits in M/M/c; `load` is of all servers."""
    offered = servers * load
    full = offered**servers / math.factorial(servers) / (1 - load)
    return full / (sum(offered**n / math.factorial(n) for n in range(servers)) + full)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_independent_slots_are_servers_of_erlangs_queue(load: float) -> None:
    servers = 4
    scenario = Scenario(
        devices=10,
        layers=0,
        fanout=0,
        utilisation=load,
        slots=servers,
        speed_up=parse_speed_up("amdahl:0"),
        prompts=30_000,
        seed=3,
    )
    run = LoadRun(scenario)
    report = make_report(run, run.run())
    assert report.violations == ()
    waiting = erlang_c(servers, load) * load / (1 - load)
    assert report.requests_waiting.value == pytest.approx(waiting, rel=0.1)
    assert report.utilisation == pytest.approx(load, rel=0.03), "each does its part"
    assert report.predicted.requests_waiting_mean == pytest.approx(waiting, rel=1e-6)
    assert report.latency_s["mean"].value == pytest.approx(report.predicted.latency_mean_s, rel=0.1)


@pytest.mark.parametrize("service", ["exponential:1", "deterministic:1"])
def test_slots_without_gain_are_one_server_shared_out(service: str) -> None:
    """Work in the system does not depend on how the engine is shared: neither does its busy time."""
    runs = []
    for slots in (1, 4):
        scenario = Scenario(
            devices=10,
            layers=0,
            fanout=0,
            utilisation=0.7,
            slots=slots,
            service=parse_service(service),
            prompts=10_000,
            seed=5,
        )
        run = LoadRun(scenario)
        runs.append(make_report(run, run.run()))
    assert runs[0].utilisation == pytest.approx(runs[1].utilisation, rel=5e-3)
    assert runs[0].requests_waiting.value > runs[1].requests_waiting.value, "with slots fewer wait, more run"


def test_one_slot_goes_as_ever_whatever_the_speed_up() -> None:
    hashes = {
        LoadRun(Scenario(devices=6, utilisation=0.8, prompts=200, speed_up=curve)).run().trace_hash
        for curve in (SpeedUp(), parse_speed_up("1,2"))
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("slots", [0, 65])
def test_slots_out_of_range_are_refused(slots: int) -> None:
    with pytest.raises(SettingsError, match="slots"):
        Scenario(utilisation=0.5, slots=slots)


def test_what_runs_shares_the_engine_and_ends_when_its_own_work_is_done() -> None:
    engine = SharedEngine(SpeedUp((1.0, 1.5)))
    ends = {name: InferenceCompleted(name, "", 1, 1, 0, 0.0) for name in "ab"}
    engine.start(0.0, "a", 3.0, ends["a"])
    assert engine.next_end() == (3.0, "a", ends["a"])
    engine.start(1.0, "b", 1.5, ends["b"])  # from here on each gets on by 0.75 s in a second
    assert engine.next_end() == (3.0, "b", ends["b"])
    engine.end(3.0, "b")
    assert engine.next_end() == (3.5, "a", ends["a"])
    engine.change(3.0, "a", 7.0, ends["a"])
    assert engine.next_end() == (10.0, "a", ends["a"])
    engine.end(4.0, "a")
    assert engine.next_end() is None


@pytest.mark.parametrize("seed", range(1, 13))
@pytest.mark.parametrize("slots", [2, 5])
def test_every_promise_holds_under_faults_with_several_slots(seed: int, slots: int) -> None:
    result = run_seed(seed, slots=slots)
    assert result.outcome is SeedOutcome.HELD, f"run_seed({seed}, slots={slots}): {result.checker}: {result.detail}"
