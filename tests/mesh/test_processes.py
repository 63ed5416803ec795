"""Devices as processes of their own on a real broker: what happens when one is killed, and what one costs idle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from edge_agent.client import MeshClient
from edge_agent.core.messages import Answer, DeviceToUser, PromptOptions, PromptReceipt, Sampling
from edge_agent.core.states import Outcome
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.models import DEFAULT_MODEL
from tests.support.hosts import until

DEADLINE_S = 60.0
RESIDENT_BYTES_MAX = 80 * 1000 * 1000
IDLE_CPU_SHARE_MAX = 0.01


@contextlib.asynccontextmanager
async def fleet_of(folder: Path, **plan: object) -> AsyncIterator[LocalFleet]:
    plan = {"devices": 4, "engine": EngineKind.SYNTHETIC, "service": "deterministic:0.3", **plan}
    async with LocalFleet(FleetPlan(**plan), folder=folder) as fleet:  # type: ignore[arg-type]  # by name
        yield fleet


async def ask(client: MeshClient, device: str, seen: list[DeviceToUser] | None = None, **options: object) -> Answer:
    options = {"layers": 2, "fanout": 2, "deadline_s": DEADLINE_S, **options}
    ended = await client.ask_to_end(
        device,
        "Why is the sky blue?",
        PromptOptions(**options),  # type: ignore[arg-type]  # by name
        timeout_s=DEADLINE_S + 10,
        on_message=None if seen is None else seen.append,
    )
    assert isinstance(ended, Answer), ended
    return ended


async def test_one_of_four_killed_costs_the_others_no_answer_and_is_named_in_their_provenance(tmp_path: Path) -> None:
    async with fleet_of(tmp_path) as fleet, MeshClient(fleet.url, fleet.mesh) as client:
        asking = [asyncio.create_task(ask(client, f"device-{n}")) for n in (1, 2, 3) for _ in range(4)]
        await asyncio.sleep(1.0)
        fleet.kill("device-4")
        answers = await asyncio.gather(*asking)
        assert {answer.outcome for answer in answers} == {Outcome.ANSWERED}
        assert all(answer.end_to_end_latency_s < DEADLINE_S for answer in answers)
        for answer in answers:
            named = {s.instead_of for s in answer.provenance.substitutes}
            named |= {missing.device_id for missing in answer.provenance.missing}
            for number, layer in enumerate(answer.provenance.layers, start=1):
                gone = [missing for missing in answer.provenance.missing if missing.layer == number]
                assert len(layer) + len(gone) == 3, "a response is neither there nor said to be missing"
            assert named <= {"device-4", ""}
        assert any("device-4" in str(answer.provenance.substitutes + answer.provenance.missing) for answer in answers)


async def test_a_killed_device_started_again_answers_every_accepted_prompt_once(tmp_path: Path) -> None:
    async with fleet_of(tmp_path) as fleet, MeshClient(fleet.url, fleet.mesh) as client:
        seen: list[list[DeviceToUser]] = [[] for _ in range(5)]
        asking = [asyncio.create_task(ask(client, "device-1", messages)) for messages in seen]
        await until(
            lambda: all(any(isinstance(m, PromptReceipt) for m in messages) for messages in seen), "all are accepted"
        )
        fleet.kill("device-1")
        await fleet.restart("device-1")
        answers = await asyncio.gather(*asking)
        assert [answer.outcome for answer in answers] == [Outcome.ANSWERED] * 5
        assert [sum(isinstance(m, Answer) for m in messages) for messages in seen] == [1] * 5
        assert any(answer.provenance.restarts for answer in answers)


@pytest.mark.llm
async def test_a_killed_model_process_costs_one_retry_and_not_the_agent(default_model: Path, tmp_path: Path) -> None:
    # two devices, so one thread each: two of one model stall each other for a minute while other work fills the cores
    plan = {"devices": 2, "engine": EngineKind.LLAMA, "models": (DEFAULT_MODEL,)}
    async with fleet_of(tmp_path, **plan) as fleet, MeshClient(fleet.url, fleet.mesh) as client:
        pid = fleet.devices["device-1"].pid
        assert pid is not None
        sampling = Sampling(max_output_tokens=64)
        first = asyncio.create_task(ask(client, "device-1", layers=0, sampling=sampling))
        await asyncio.sleep(0.4)
        children = psutil.Process(pid).children()
        assert len(children) == 1
        children[0].send_signal(signal.SIGKILL)
        assert (await first).outcome is Outcome.ANSWERED
        assert (await ask(client, "device-1", layers=0, sampling=sampling)).outcome is Outcome.ANSWERED
        assert fleet.devices["device-1"].pid == pid
        assert [child.pid for child in psutil.Process(pid).children()] != [children[0].pid]


async def test_an_idle_agent_is_small_and_quiet(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, status_interval_s=5.0) as fleet, MeshClient(fleet.url, fleet.mesh) as client:
        await asyncio.gather(*(ask(client, f"device-{n}") for n in (1, 2, 3, 4)))
        processes = [psutil.Process(device.pid) for device in fleet.devices.values()]
        began = [process.cpu_times() for process in processes]
        seconds = 10.0
        await asyncio.sleep(seconds)
        for process, before in zip(processes, began, strict=True):
            after = process.cpu_times()
            share = (after.user + after.system - before.user - before.system) / seconds
            resident = process.memory_info().rss
            print(f"idle agent: {resident / 1e6:.1f} MB resident, {share:.2%} of one core")
            assert resident < RESIDENT_BYTES_MAX
            assert share < IDLE_CPU_SHARE_MAX


async def test_a_restarted_broker_is_found_again_by_processes_under_load(tmp_path: Path) -> None:
    async with fleet_of(tmp_path) as fleet, MeshClient(fleet.url, fleet.mesh) as client:
        asking = [asyncio.create_task(ask(client, f"device-{n}")) for n in (1, 2, 3, 4) for _ in range(3)]
        await asyncio.sleep(1.0)
        await fleet.broker.restart()
        answers = await asyncio.gather(*asking)
        assert [answer.outcome for answer in answers] == [Outcome.ANSWERED] * 12


def test_no_agent_outlives_this_test_process() -> None:
    mine = psutil.Process(os.getpid())
    left = [child for child in mine.children(recursive=True) if "agent_process" in " ".join(child.cmdline())]
    assert left == []
