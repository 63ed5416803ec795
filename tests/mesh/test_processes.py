"""Devices as processes of their own on a real broker: what happens when one is killed, and what one costs idle."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from edge_agent.client import MeshClient
from edge_agent.core.messages import Answer, DeviceToUser, PromptOptions, PromptReceipt, Sampling, TokenChunk
from edge_agent.core.states import Outcome
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.models import DEFAULT_MODEL
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

RESIDENT_BYTES_MAX = 80 * 1000 * 1000
IDLE_S = 5.0  # a status and two rounds of gossip
IDLE_WAKES_HZ_MAX = 10.0  # four with gossip every two seconds; a loop that polls has hundreds


@contextlib.asynccontextmanager
async def fleet_of(folder: Path, **plan: object) -> AsyncIterator[LocalFleet]:
    """A fleet that leaves nothing behind: each of its processes has the folder in its command line."""
    plan = {"devices": 4, "engine": EngineKind.SYNTHETIC, "service": "deterministic:0.3", **plan}
    async with LocalFleet(FleetPlan(**plan), folder=folder) as fleet:  # type: ignore[arg-type]  # by name
        assert len(of_folder(folder)) > len(fleet.devices), "the devices and their broker"
        yield fleet
    await until(lambda: not of_folder(folder), f"the end of {of_folder(folder)}")


def of_folder(folder: Path) -> list[list[str]]:
    """The command lines of all processes of this host that name the folder, whoever their parent is now."""
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in " ".join(line)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def four(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalFleet]:
    """Four devices with declared service times; a test that harms them leaves all of them online."""
    async with fleet_of(tmp_path_factory.mktemp("four"), status_interval_s=5.0) as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def client(four: LocalFleet) -> AsyncIterator[MeshClient]:
    async with MeshClient(four.url, four.mesh) as client:
        yield client


async def ask(client: MeshClient, device: str, seen: list[DeviceToUser] | None = None, **options: object) -> Answer:
    options = {"layers": 2, "fanout": 2, "deadline_s": PATIENCE_S, **options}
    ended = await client.ask_to_end(
        device,
        "Why is the sky blue?",
        PromptOptions(**options),  # type: ignore[arg-type]  # by name
        timeout_s=PATIENCE_S + 10,
        on_message=None if seen is None else seen.append,
    )
    assert isinstance(ended, Answer), ended
    return ended


def asked_of(
    client: MeshClient, devices: Sequence[int], each: int
) -> tuple[list[asyncio.Task[Answer]], list[list[DeviceToUser]]]:
    """Prompts on their way to these devices, and what has been heard of each."""
    targets = [f"device-{number}" for number in devices for _ in range(each)]
    seen: list[list[DeviceToUser]] = [[] for _ in targets]
    pairs = zip(targets, seen, strict=True)
    return [asyncio.create_task(ask(client, target, messages)) for target, messages in pairs], seen


async def test_one_of_four_killed_costs_the_others_no_answer_and_is_named_in_their_provenance(
    four: LocalFleet, client: MeshClient
) -> None:
    asking, seen = asked_of(client, (1, 2, 3), 4)
    await until(lambda: all(seen), "all are under way")
    four.kill("device-4")
    try:
        answers = await asyncio.gather(*asking)
    finally:
        await four.restart("device-4")
    assert {answer.outcome for answer in answers} == {Outcome.ANSWERED}
    assert all(answer.end_to_end_latency_s < PATIENCE_S for answer in answers)
    for answer in answers:
        named = {s.instead_of for s in answer.provenance.substitutes}
        named |= {missing.device_id for missing in answer.provenance.missing}
        for number, layer in enumerate(answer.provenance.layers, start=1):
            gone = [missing for missing in answer.provenance.missing if missing.layer == number]
            assert len(layer) + len(gone) == 3, "a response is neither there nor said to be missing"
        assert named <= {"device-4", ""}
    assert any("device-4" in str(answer.provenance.substitutes + answer.provenance.missing) for answer in answers)


async def test_a_killed_device_started_again_answers_every_accepted_prompt_once(
    four: LocalFleet, client: MeshClient
) -> None:
    seen: list[list[DeviceToUser]] = [[] for _ in range(5)]
    asking = [asyncio.create_task(ask(client, "device-1", messages)) for messages in seen]
    await until(
        lambda: all(any(isinstance(m, PromptReceipt) for m in messages) for messages in seen), "all are accepted"
    )
    four.kill("device-1")
    await four.restart("device-1")
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
        seen: list[DeviceToUser] = []
        first = asyncio.create_task(ask(client, "device-1", seen, layers=0, sampling=sampling))
        await until(lambda: any(isinstance(one, TokenChunk) for one in seen), "it answers")
        children = psutil.Process(pid).children()
        assert len(children) == 1
        children[0].send_signal(signal.SIGKILL)
        assert (await first).outcome is Outcome.ANSWERED
        few = Sampling(max_output_tokens=4)
        assert (await ask(client, "device-1", layers=0, sampling=few)).outcome is Outcome.ANSWERED
        assert fleet.devices["device-1"].pid == pid
        assert [child.pid for child in psutil.Process(pid).children()] != [children[0].pid]


async def test_an_idle_agent_is_small_and_quiet(four: LocalFleet, client: MeshClient) -> None:
    await asyncio.gather(*(ask(client, f"device-{n}") for n in (1, 2, 3, 4)))
    processes = [psutil.Process(device.pid) for device in four.devices.values()]
    began = [wakes(process) for process in processes]
    await asyncio.sleep(IDLE_S)
    for process, before in zip(processes, began, strict=True):
        wakes_hz, resident = (wakes(process) - before) / IDLE_S, process.memory_info().rss
        print(f"idle agent: {resident / 1e6:.1f} MB resident, woken {wakes_hz:.1f} times a second")
        assert resident < RESIDENT_BYTES_MAX
        assert wakes_hz < IDLE_WAKES_HZ_MAX


def wakes(process: psutil.Process) -> int:
    """How often any thread of it has waited for something and gone on: unlike its CPU time the same on any machine."""
    statuses = [task.read_text() for task in Path(f"/proc/{process.pid}/task").glob("*/status")]
    found = [re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.MULTILINE) for text in statuses]
    return sum(int(one[1]) for one in found if one)


async def test_a_restarted_broker_is_found_again_by_processes_under_load(four: LocalFleet, client: MeshClient) -> None:
    asking, seen = asked_of(client, (1, 2, 3, 4), 3)
    await until(lambda: all(seen), "all are under way")
    await four.broker.restart()
    answers = await asyncio.gather(*asking)
    assert [answer.outcome for answer in answers] == [Outcome.ANSWERED] * 12


async def test_no_process_of_a_fleet_outlives_it(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, devices=1) as fleet:
        assert len(of_folder(tmp_path)) == 2, fleet.devices
    assert of_folder(tmp_path) == []
