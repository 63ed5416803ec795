"""What the gateway adds to an answer: one prompt asked over HTTP and by a bare MQTT client, in turns, of one device.

The device is a process of its own and its engine is synthetic: it declares a service time, which both ways pay alike.
The gateway is a process too. Also its memory, and the way of the first and the whole text of a stream.

    python -m bench.gateway [--prompts 150] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import psutil

from edge_agent.client import MeshClient
from edge_agent.core.messages import Answer, PromptOptions
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from tests.gateway.programs import Gateway, eventually, gateway_of

SERVICE = "deterministic:0.002"
WARM_UP = 20  # the first few pay for connections and caches
DEVICE = "device-1"
TEXT = "why is the sky blue? " * 24
AT_ONCE = 20
TIMEOUT_S = 60.0


async def measure(ask: Callable[[], Awaitable[None]], prompts: int) -> list[float]:
    """Returns the seconds of each of `prompts`, one after the other."""
    times = []
    for _ in range(WARM_UP + prompts):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return times[WARM_UP:]


async def many(ask: Callable[[], Awaitable[None]], prompts: int) -> float:
    """Returns prompts per second, `AT_ONCE` at a time."""
    began = time.perf_counter()
    for _ in range(prompts // AT_ONCE):
        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return (prompts // AT_ONCE) * AT_ONCE / (time.perf_counter() - began)


class Ways:
    """The ways in which one prompt is asked."""

    def __init__(self, client: MeshClient, http: httpx.AsyncClient) -> None:
        self._client = client
        self._http = http

    async def mqtt(self) -> None:
        """By the bare client."""
        end = await self._client.ask_to_end(DEVICE, TEXT, PromptOptions(layers=0), timeout_s=TIMEOUT_S)
        if not isinstance(end, Answer):
            raise SystemExit(f"not answered: {end}")

    async def whole(self) -> None:
        """Over HTTP, the answer at once."""
        (await self._http.post("/chat/completions", json=self._body())).raise_for_status()

    async def stream(self) -> None:
        """Over HTTP, as a stream."""
        async with self._http.stream("POST", "/chat/completions", json=self._body(stream=True)) as response:
            response.raise_for_status()
            async for _ in response.aiter_bytes():
                pass

    def _body(self, **fields: object) -> dict[str, object]:
        return {"model": "local", "messages": [{"role": "user", "content": TEXT}], **fields}


async def run(gateway: Gateway, client: MeshClient, prompts: int, rounds: int) -> list[dict[str, float]]:
    """Returns a row of figures for each round."""
    rows = []
    async with httpx.AsyncClient(base_url=gateway.api, timeout=TIMEOUT_S) as http:
        ways = Ways(client, http)
        for number in range(rounds):
            row: dict[str, float] = {"round": number}
            for name, ask in (("mqtt", ways.mqtt), ("whole", ways.whole), ("stream", ways.stream)):
                times = await measure(ask, prompts)
                row[f"{name}_p50_ms"] = statistics.median(times) * 1e3
                row[f"{name}_p95_ms"] = statistics.quantiles(times, n=20)[-1] * 1e3
            for name in ("whole", "stream"):
                row[f"{name}_ratio_p50"] = row[f"{name}_p50_ms"] / row["mqtt_p50_ms"]
            row["mqtt_per_s"] = await many(ways.mqtt, prompts)
            row["whole_per_s"] = await many(ways.whole, prompts)
            rows.append(row)
    return rows


async def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    plan = FleetPlan(1, EngineKind.SYNTHETIC, service=SERVICE, agent={"queue_capacity": 2 * AT_ONCE})
    with tempfile.TemporaryDirectory() as folder:
        async with (
            LocalFleet(plan, folder=Path(folder) / "fleet") as fleet,
            MeshClient(fleet.url, fleet.mesh) as client,
        ):
            with gateway_of(fleet.url, fleet.mesh, Path(folder), "--device", DEVICE) as gateway:
                eventually(lambda: gateway.get("/readyz").status_code == 200, "the device is online")
                rows = await run(gateway, client, arguments.prompts, arguments.rounds)
                resident = psutil.Process(gateway.process.pid).memory_info().rss / 2**20
            kind = fleet.broker.kind
    report(rows, resident, kind, arguments)


def report(rows: list[dict[str, float]], resident_mb: float, broker: str, arguments: argparse.Namespace) -> None:
    """Prints the rows and what they come to."""
    middle = {name: statistics.median(row[name] for row in rows) for name in rows[0] if name != "round"}
    if arguments.json:
        print(json.dumps({"broker": broker, "rounds": rows, "medians": middle, "resident_mb": resident_mb}))
        return
    print(f"one prompt of one device ({SERVICE}), {broker}, {arguments.prompts} each, in turns; ms")
    print(f"{'':>8} {'MQTT p50':>9} {'p95':>7} {'HTTP p50':>9} {'p95':>7} {'SSE p50':>9} {'p95':>7} {'HTTP/MQTT':>10}")
    names = ("mqtt_p50_ms", "mqtt_p95_ms", "whole_p50_ms", "whole_p95_ms", "stream_p50_ms", "stream_p95_ms")
    for row in [*rows, middle]:
        label = f"round {row['round']:.0f}" if "round" in row else "median"
        times = " ".join(f"{row[name]:{9 if 'p50' in name else 7}.2f}" for name in names)
        print(f"{label:>8} {times} {row['whole_ratio_p50']:10.2f}")
    added = middle["whole_p50_ms"] - middle["mqtt_p50_ms"]
    print(
        f"the gateway adds {added:.1f} ms (p50) to an answer, a stream {middle['stream_ratio_p50']:.2f} times as long"
    )
    print(f"{AT_ONCE} at once: {middle['whole_per_s']:.0f} prompts/s over HTTP, {middle['mqtt_per_s']:.0f} over MQTT")
    print(f"memory of the gateway: {resident_mb:.0f} MB resident")


if __name__ == "__main__":
    asyncio.run(main())
