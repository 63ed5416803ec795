"""What a round trip over MQTT costs without us: two bare aiomqtt clients, QoS 1, on one broker.

The yardstick for the protocol's own cost. Both clients have TCP_NODELAY; nothing else is tuned.
Alone: `python -m bench.echo [broker-url] [count]` starts a broker if none is named.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import sys
import time

import aiomqtt

from broker.embedded import EmbeddedBroker
from edge_agent.mqtt import parse_url
from edge_agent.mqtt.client import NODELAY

WARM_UP = 20  # the first few pay for imports and caches
PAYLOAD = b"x" * 512  # about a small request


def _client(url: str, name: str) -> aiomqtt.Client:
    where = parse_url(url)
    return aiomqtt.Client(
        where.host,
        where.port,
        identifier=f"{name}-{secrets.token_hex(4)}",
        protocol=aiomqtt.ProtocolVersion.V5,
        socket_options=[NODELAY],
    )


async def measure_echo(broker_url: str, count: int) -> list[float]:
    """Returns the seconds of `count` round trips (request topic, echo client, reply topic), one after the other."""
    topic = f"bench/{secrets.token_hex(4)}"
    async with _client(broker_url, "asker") as asker, _client(broker_url, "echo") as echo:
        await echo.subscribe(f"{topic}/request", qos=1)
        await asker.subscribe(f"{topic}/reply", qos=1)

        times: list[float] = []

        async def answer() -> None:
            requests = aiter(echo.messages)
            for _ in range(WARM_UP + count):  # counted, not cancelled: Python 3.11's wait_for can lose a cancellation
                message = await anext(requests)
                await echo.publish(f"{topic}/reply", message.payload, qos=1)

        async def ask() -> None:
            replies = aiter(asker.messages)
            for _ in range(WARM_UP + count):
                began = time.perf_counter()
                await asker.publish(f"{topic}/request", PAYLOAD, qos=1)
                await anext(replies)
                times.append(time.perf_counter() - began)

        async with asyncio.TaskGroup() as both:
            both.create_task(answer())
            both.create_task(ask())
        return times[WARM_UP:]


def percentile(values: list[float], percent: int) -> float:
    """Returns a percentile of at least two values."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


async def _main(url: str | None, count: int) -> None:
    if url is None:
        async with EmbeddedBroker() as broker:
            return await _main(broker.url, count)
    times = await measure_echo(url, count)
    print(f"echo over {url}: p50 {percentile(times, 50) * 1e3:.2f} ms, p95 {percentile(times, 95) * 1e3:.2f} ms")
    return None


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(_main(arguments[0] if arguments else None, int(arguments[1]) if len(arguments) > 1 else 1_000))
