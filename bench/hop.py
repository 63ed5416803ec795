"""What the protocol adds to a round trip: a proposal's way to a peer and its response's way back, less the inference.

Measured from the request's hand-over to the transport to the event that brings the response, less the peer's waiting
and service time, beside a bare echo (`bench.echo`) on the same broker in the same run, in turns. Two whole devices
(core, codec, journal, transport), each a process of its own, as is their user. The engine is synthetic: it declares a
service time and infers nothing.

    python -m bench.hop [--prompts 200] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.echo import WARM_UP, measure_echo
from broker.embedded import EmbeddedBroker
from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.client import MeshClient
from edge_agent.core.events import Event, PeerMessageReceived
from edge_agent.core.messages import PeerMessage, Presence, PromptOptions, ProposalRequest, ProposalResponse
from edge_agent.ports import EmitEvent
from tests.support.hosts import MESH, make_device, quick
from tests.support.polling import until

SERVICE = "deterministic:0.002"


class ClockedTransport(MqttTransport):
    """A transport that notes when requests are handed to it and when it hands their responses on."""

    def __init__(self, settings: MqttSettings) -> None:
        super().__init__(settings)
        self._left_at: dict[str, float] = {}
        self.hops: list[float] = []

    async def start(self, emit: EmitEvent, last_will: Presence) -> None:
        """As the transport's own."""

        async def clocked(event: Event) -> None:
            if isinstance(event, PeerMessageReceived) and isinstance(event.message, ProposalResponse):
                work = event.message.contribution
                took = time.perf_counter() - self._left_at.pop(event.message.request_id)
                self.hops.append(took - work.service_time_s - work.waiting_time_s)
            await emit(event)

        await super().start(clocked, last_will)

    def send_to_device(
        self, device_id: str, home_broker: str, message: PeerMessage, expires_in_s: float | None
    ) -> None:
        """As the transport's own."""
        if isinstance(message, ProposalRequest):
            self._left_at[message.request_id] = time.perf_counter()
        super().send_to_device(device_id, home_broker, message, expires_in_s)


async def measure_hops(url: str, folder: Path, prompts: int) -> list[float]:
    """Returns the added seconds of one hop for each of `prompts`, one after the other (M=1, k=1).

    The origin runs here, as the asker of the echo does; its peer and its user are processes of their own.
    """
    settings = quick(gossip_interval_s=2.0)
    origin = make_device("origin", url, folder, settings=settings, service=SERVICE, make_transport=ClockedTransport)
    assert isinstance(origin.transport, ClockedTransport)
    origin.task = asyncio.create_task(origin.host.run())
    peer = await _role("peer", url, str(folder))
    try:
        await until(lambda: len(origin.agent.view) == 1, "the peer is known")
        user = await _role("user", url, str(prompts + WARM_UP))
        if await user.wait() != 0:
            raise SystemExit("the user's process failed")
        return origin.transport.hops[WARM_UP:]
    finally:
        peer.terminate()
        await peer.wait()
        await origin.stop()


async def _role(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.hop", "--role", *arguments)


async def be_peer(url: str, folder: str) -> None:
    """Runs the device that is asked."""
    peer = make_device("peer", url, Path(folder), settings=quick(gossip_interval_s=2.0), service=SERVICE)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, peer.host.stop)
    await peer.host.run()


async def be_user(url: str, prompts: str) -> None:
    """Asks the origin one prompt after the other."""
    async with MeshClient(url, MESH) as client:
        for _ in range(int(prompts)):
            text = "why is the sky blue? " * 24
            await client.ask_to_end("origin", text, PromptOptions(layers=1, fanout=1), timeout_s=20)


def _quantiles(seconds: list[float]) -> tuple[float, float]:
    return statistics.median(seconds) * 1e3, statistics.quantiles(seconds, n=20)[-1] * 1e3


async def main() -> None:
    """Prints both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--role", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        role, url, argument = arguments.role
        await {"peer": be_peer, "user": be_user}[role](url, argument)
        return
    rows = []
    async with EmbeddedBroker() as broker:
        for number in range(arguments.rounds):
            echo = _quantiles(await measure_echo(broker.url, arguments.prompts))
            with tempfile.TemporaryDirectory() as folder:
                hop = _quantiles(await measure_hops(broker.url, Path(folder), arguments.prompts))
            rows.append(
                {
                    "round": number,
                    "echo_p50_ms": echo[0],
                    "echo_p95_ms": echo[1],
                    "hop_p50_ms": hop[0],
                    "hop_p95_ms": hop[1],
                    "ratio_p50": hop[0] / echo[0],
                }
            )
        kind = broker.kind
    ratios = sorted(row["ratio_p50"] for row in rows)
    if arguments.json:
        print(json.dumps({"broker": kind, "rounds": rows, "ratio_p50_median": statistics.median(ratios)}))
        return
    print(f"added time of a hop beside a bare QoS 1 echo, {kind}, {arguments.prompts} each, in turns")
    print(f"{'round':>5} {'echo p50':>9} {'echo p95':>9} {'hop p50':>9} {'hop p95':>9} {'ratio p50':>9}   (ms)")
    for row in rows:
        times = " ".join(f"{row[name]:9.2f}" for name in list(row)[1:])
        print(f"{row['round']:>5} {times}")
    print(
        f"ratio p50: {ratios[0]:.2f} min, {statistics.median(ratios):.2f} median, {ratios[-1]:.2f} max (aim: under 3)"
    )


if __name__ == "__main__":
    asyncio.run(main())
