"""What a flood costs those who do not flood: first nobody floods, then a device does, then a user, 50 times what the
flooded device can do.

Three devices, each a process of its own, on a real mosquitto; their engines are synthetic: they declare a service time
and infer nothing. Three users ask all devices at about half of what the mesh can do, before and while somebody floods
device-1 from another process. Prints the users' p50 and p95, how the second compares with that before, the agents'
memory beside its stated ceiling, and what the flooder was told. Exit status 1 if the p95 grew by more than half, the
ceiling was passed, a prompt was lost, or the flooder was told nothing.

    python -m bench.flood [--seconds 60] [--times 50]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from edge_agent.client import MeshClient
from edge_agent.core import messages as m
from edge_agent.core.errors import MoameshError
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.mqtt import open_client
from edge_agent.wire import topics
from edge_agent.wire.codec import decode, encode
from edge_agent.wire.topics import Channel

SERVICE_S = 0.2
DEVICES = 3
LAYERS, FANOUT = 1, 1
ITEMS = (FANOUT + 1) * LAYERS + 1
LOAD = 0.5  # of the mesh, by those who do not flood
RATIO_MAX = 1.5
MEMORY_MAX = 208 * 1024**2  # docs/SECURITY.md says what it is made of
SETTLE_S = 5.0
PATIENT_S = 60.0
MESSAGES = (m.ChatMessage(m.Role.USER, "again and again " * 16),)


@dataclass
class Round:
    """What came of one phase."""

    latencies: list[float] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    memory: int = 0
    cpu: float = 0.0

    def p(self, percent: int) -> float:
        """Returns a percentile of the latencies, in seconds."""
        return statistics.quantiles(self.latencies, n=100)[percent - 1]


async def _ask(client: MeshClient, device: str, into: Round) -> None:
    began = time.perf_counter()
    try:
        end = await client.ask_to_end(device, "why?", m.PromptOptions(LAYERS, FANOUT), timeout_s=PATIENT_S)
    except MoameshError as error:
        into.ended[type(error).__name__] += 1
        return
    into.ended[end.outcome.value if isinstance(end, m.Answer) else end.reason.value] += 1
    if isinstance(end, m.Answer):
        into.latencies.append(time.perf_counter() - began)


async def _users(fleet: LocalFleet, clients: list[MeshClient], seconds: float, seed: int) -> Round:
    """Has everybody ask for so long, the same in each phase; returns what came of it."""
    rng, into, asking = random.Random(seed), Round(), []
    rate_hz = LOAD * DEVICES / (SERVICE_S * ITEMS)
    processes = [psutil.Process(device.pid) for device in fleet.devices.values()]
    before = sum(sum(process.cpu_times()[:2]) for process in processes)
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        device = rng.choice(list(fleet.devices))
        asking.append(asyncio.create_task(_ask(rng.choice(clients), device, into)))
        await asyncio.sleep(rng.expovariate(rate_hz))
        into.memory = max(into.memory, *(process.memory_info().rss for process in processes))
    await asyncio.gather(*asking)
    into.cpu = (sum(sum(process.cpu_times()[:2]) for process in processes) - before) / seconds / DEVICES
    return into


@contextlib.asynccontextmanager
async def _flooding(url: str, mesh: str, kind: str, rate_hz: float) -> AsyncIterator[dict[str, int]]:
    """A process that floods device-1 while the block runs; what it was told is in the dict afterwards."""
    command = (sys.executable, "-m", "bench.flood", "--role", kind, url, mesh, str(rate_hz))
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    told: dict[str, int] = {}
    try:
        yield told
    finally:
        out, _ = await process.communicate(b"stop\n")
        told.update(json.loads(out))


async def _flood(kind: str, url: str, mesh: str, rate_hz: float) -> None:
    """Sends until a line comes on stdin; prints what it was told."""
    name, device = ("user.flood", "device-1") if kind == "user" else ("mallory", "device-1")
    channel = Channel.PROMPTS if kind == "user" else Channel.PROPOSALS
    to = topics.written_by(name, mesh, device, channel)
    told_on = (
        topics.build(mesh, device, Channel.ANSWERS, name, "0")
        if kind == "user"
        else topics.build(mesh, name, Channel.REPLIES, device)
    )
    told: Counter[str] = Counter()

    async def listen() -> None:
        async for message in client.messages:
            match decode(bytes(message.payload)):
                case m.PromptRefusal(detail=detail):
                    told[f"refused: {detail}"] += 1
                case m.RequestReceipt(busy=busy):
                    told[f"busy: {busy}" if busy else "accepted"] += 1
                case m.PromptReceipt():
                    told["accepted"] += 1
                case m.Answer() | m.ProposalResponse():
                    told["answered"] += 1
                case _:
                    pass

    async with open_client(url, client_id="flooder") as client:
        await client.subscribe(told_on, qos=1)
        listening = asyncio.create_task(listen())
        stop = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        began, sent = time.perf_counter(), 0
        while not stop.done():
            while not stop.done() and sent < (time.perf_counter() - began) * rate_hz:
                sent += 1
                await client.publish(to, _body(kind, name, sent), qos=1)
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)
        listening.cancel()
    print(json.dumps({"sent": sent, **told}))


def _body(kind: str, name: str, number: int) -> bytes:
    if kind == "user":
        return encode(m.Prompt(f"f{number}", MESSAGES, m.PromptOptions(LAYERS, FANOUT)))
    return encode(m.ProposalRequest(f"f{number}", name, "", 1, MESSAGES, (), m.Sampling(), expires_in_s=60.0))


def _say(name: str, phase: Round, quiet: Round) -> float:
    ratio = phase.p(95) / quiet.p(95)
    print(
        f"{name:<16} {len(phase.latencies):>6} {phase.p(50):>8.2f} {phase.p(95):>8.2f} {ratio:>6.2f} "
        f"{phase.memory / 1024**2:>7.0f} {phase.cpu:>6.2f}  {dict(phase.ended)}",
        flush=True,
    )
    return ratio


async def main(seconds: float, times: float) -> int:
    """Returns 1 if something did not hold."""
    rate_hz = times / SERVICE_S
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        plan = FleetPlan(DEVICES, EngineKind.SYNTHETIC, service=f"deterministic:{SERVICE_S}", web=False)
        async with LocalFleet(plan, folder=Path(folder)) as fleet, contextlib.AsyncExitStack() as stack:
            names = [f"user.u{number}" for number in range(3)]
            clients = [
                await stack.enter_async_context(MeshClient(fleet.url, fleet.mesh, principal=name)) for name in names
            ]
            await asyncio.sleep(SETTLE_S)  # all devices know each other
            print(f"{'':<16} {'ended':>6} {'p50 s':>8} {'p95 s':>8} {'ratio':>6} {'MiB':>7} {'CPU':>6}")
            quiet = await _users(fleet, clients, seconds, 1)
            _say("nobody floods", quiet, quiet)
            for kind in ("device", "user"):
                async with _flooding(fleet.url, fleet.mesh, kind, rate_hz) as told:
                    await asyncio.sleep(SETTLE_S)
                    phase = await _users(fleet, clients, seconds, 1)
                if _say(f"a {kind} floods", phase, quiet) > RATIO_MAX:
                    broken.append(f"a {kind} floods: the others' p95 is more than {RATIO_MAX} times what it was")
                if phase.memory > MEMORY_MAX:
                    broken.append(f"an agent took more than {MEMORY_MAX // 1024**2} MiB")
                if set(phase.ended) != {"answered"}:
                    broken.append(f"a {kind} floods: not all were answered: {dict(phase.ended)}")
                if not any(word.startswith(("refused", "busy")) for word in told):
                    broken.append(f"the {kind} that floods was told nothing")
                print(f"  it sent {told['sent'] / (seconds + 2 * SETTLE_S):.0f} messages a second and was told: {told}")
                await asyncio.sleep(SETTLE_S)
    for line in broken:
        print(line)
    return int(bool(broken))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=float, default=50.0, help="of what the flooded device can do")
    parser.add_argument("--role", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        role, broker, of_mesh, rate = arguments.role
        asyncio.run(_flood(role, broker, of_mesh, float(rate)))
        sys.exit(0)
    sys.exit(asyncio.run(main(arguments.seconds, arguments.times)))
