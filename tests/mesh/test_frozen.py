"""One device of four stands still under load (SIGSTOP): the others answer, and how much later is told."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from pathlib import Path

import pytest

from edge_agent.client import MeshClient
from edge_agent.core.messages import Answer
from edge_agent.core.states import Outcome
from edge_agent.fleet.local import LocalFleet
from tests.mesh.test_processes import ask, fleet_of

PROMPTS = 60  # one a second: as long as the device stands still
EVERY_S = 1.0


async def latencies(client: MeshClient) -> list[float]:
    """Asks three devices in turn, whether or not earlier prompts have ended; all must be answered in full."""

    async def one(device: str) -> float:
        began = time.monotonic()
        answer = await ask(client, device)
        assert isinstance(answer, Answer)
        assert (answer.outcome, answer.partial) == (Outcome.ANSWERED, False), answer
        return time.monotonic() - began

    asking = []
    for number in range(PROMPTS):
        asking.append(asyncio.create_task(one(f"device-{1 + number % 3}")))
        await asyncio.sleep(EVERY_S)
    return list(await asyncio.gather(*asking))


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def pid_of(fleet: LocalFleet, device: str) -> int:
    pid = fleet.devices[device].pid
    assert pid is not None
    return pid


@pytest.mark.long
async def test_one_frozen_device_of_four_costs_the_others_no_answer(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, service="deterministic:0.2") as fleet, MeshClient(fleet.url, fleet.mesh) as client:
        whole = await latencies(client)
        pid = pid_of(fleet, "device-4")
        os.kill(pid, signal.SIGSTOP)
        try:
            frozen = await latencies(client)
        finally:
            os.kill(pid, signal.SIGCONT)
    print(
        f"\n{PROMPTS} prompts, 0 failed: p95 {p95(whole):.2f} s with four devices, {p95(frozen):.2f} s with one frozen"
        f" ({p95(frozen) / p95(whole):.2f} times); median {statistics.median(whole):.2f} and"
        f" {statistics.median(frozen):.2f} s"
    )
