"""What telemetry costs a device: CPU and memory for each 1,000 requests, and whether any answer is later for it.

A whole device (core, codec, journal, transport, telemetry) in a process of its own with the synthetic engine, asked one
prompt after the other by a user in another process, over a real broker. In turns with no telemetry at all, with files
alone, with a real InfluxDB and VictoriaMetrics behind the files, and with a server that takes connections and never
answers. A request here is a prompt without layers: one inference, two points.

    python -m bench.telemetry [--prompts 1000] [--rounds 3] [--json]

CPU is the device's own, all threads, without its start; what the databases use is theirs. InfluxDB and
VictoriaMetrics run only while they are measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from broker.embedded import EmbeddedBroker
from edge_agent.adapters.telemetry import FileTelemetrySink, TelemetryServer
from edge_agent.client import MeshClient
from edge_agent.core.effects import RecordRequest, RecordSession
from edge_agent.core.messages import DeviceStatus, PromptOptions
from tests.support.databases import DatabaseServer, running
from tests.support.faulty_database import FaultyDatabase
from tests.support.hosts import MESH, make_device, quick

SERVICE = "deterministic:0.002"
WARM_UP = 50  # prompts before the figures are taken: connections made, code paths run once
NONE, FILES, INFLUXDB, VICTORIA_METRICS, HANGING = "none", "files", "influxdb", "victoria-metrics", "hanging server"
VARIANTS = (NONE, FILES, INFLUXDB, VICTORIA_METRICS, HANGING)


class NoTelemetry:
    """Takes measurements and keeps none."""

    def watch(self, on_health: Callable[[str], None]) -> None:
        """As `TelemetrySink`."""

    def record_status(self, status: DeviceStatus) -> None:
        """As `TelemetrySink`."""

    def record_request(self, record: RecordRequest) -> None:
        """As `TelemetrySink`."""

    def record_session(self, record: RecordSession) -> None:
        """As `TelemetrySink`."""

    async def stop(self) -> None:
        """As `TelemetrySink`."""


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def be_device(url: str, folder: str, variant: str, server: str) -> None:
    """Runs the device; on SIGUSR1 the count begins, and after SIGTERM and the last shipment it is printed."""
    servers = [TelemetryServer(server)] if server else []
    sink = FileTelemetrySink(
        Path(folder) / "telemetry", mesh=MESH, device_id="device", model="synthetic", servers=servers
    )
    telemetry = NoTelemetry() if variant == NONE else sink
    device = make_device("device", url, Path(folder), settings=quick(), service=SERVICE, telemetry=telemetry)
    counted: list[float] = []
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: counted.append(_cpu_s()))
    loop.add_signal_handler(signal.SIGTERM, device.host.stop)
    print("ready", flush=True)
    await device.host.run()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": _cpu_s() - counted[0], "peak_mib": peak_mib, "dropped": sink.dropped}), flush=True)


async def be_user(url: str, prompts: str) -> None:
    """Asks one prompt after the other, says when it is warm, and prints how long each answer took."""
    seconds: list[float] = []
    async with MeshClient(url, MESH) as client:
        for number in range(int(prompts) + WARM_UP):
            if number == WARM_UP:
                print("warm", flush=True)
            began = time.perf_counter()
            await client.ask_to_end("device", "why is the sky blue? " * 24, PromptOptions(layers=0), timeout_s=30)
            seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds[WARM_UP:]), flush=True)


async def _role(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.telemetry", "--role", *arguments), stdout=asyncio.subprocess.PIPE, limit=2**24
    )


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise SystemExit("a process of the benchmark failed")
    return line.decode()


@contextlib.contextmanager
def _server_of(variant: str, folder: Path) -> Iterator[str]:
    """The URL of the server that a variant needs, "" for none."""
    if variant == HANGING:
        database = FaultyDatabase()
        database.behave = database.hang
        with database.serving():
            yield database.url
    elif variant in (INFLUXDB, VICTORIA_METRICS):
        with running(DatabaseServer(variant, folder / "database")) as server:
            yield server.url
    else:
        yield ""


async def measure(broker_url: str, variant: str, prompts: int) -> dict[str, float]:
    """Returns the figures of one run."""
    with tempfile.TemporaryDirectory() as name, _server_of(variant, Path(name)) as server:
        device = await _role("device", broker_url, name, variant, server)
        await _line(device)
        user = await _role("user", broker_url, str(prompts))
        await _line(user)
        device.send_signal(signal.SIGUSR1)
        seconds: list[float] = json.loads(await _line(user))
        device.terminate()
        figures = json.loads(await _line(device))
        await asyncio.gather(device.wait(), user.wait())
    if figures["dropped"]:
        raise SystemExit(f"{variant}: {figures['dropped']} points were dropped")
    return {
        "cpu_s": figures["cpu_s"] * 1000 / prompts,
        "peak_mib": figures["peak_mib"],
        "p50_ms": statistics.median(seconds) * 1e3,
        "p99_ms": statistics.quantiles(seconds, n=100)[-1] * 1e3,
    }


async def main() -> None:
    """Prints each variant's figures, medians over the rounds, beside those without telemetry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        role, *rest = arguments.role
        await {"device": be_device, "user": be_user}[role](*rest)
        return
    runs: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    async with EmbeddedBroker() as broker:
        for number in range(arguments.rounds):
            for variant in VARIANTS[number % len(VARIANTS) :] + VARIANTS[: number % len(VARIANTS)]:
                print(f"round {number + 1} of {arguments.rounds}: {variant}", file=sys.stderr, flush=True)
                runs[variant].append(await measure(broker.url, variant, arguments.prompts))
    if arguments.json:
        print(json.dumps({"prompts": arguments.prompts, "runs": runs}))
        return
    _print_table(runs, arguments.prompts)


def _print_table(runs: dict[str, list[dict[str, float]]], prompts: int) -> None:
    medians = {
        variant: {name: statistics.median(run[name] for run in found) for name in found[0]}
        for variant, found in runs.items()
    }
    base = medians[NONE]
    print(f"telemetry of a device, {prompts} requests a run, medians of {len(runs[NONE])} runs in turns")
    print(f"{'':16} {'CPU s':>7} {'more':>7} {'peak MiB':>9} {'more':>6} {'p50 ms':>7} {'p99 ms':>7} {'p99 ratio':>15}")
    for variant, row in medians.items():
        ratios = sorted(
            run["p99_ms"] / without["p99_ms"] for run, without in zip(runs[variant], runs[NONE], strict=True)
        )
        print(
            f"{variant:16} {row['cpu_s']:7.2f} {row['cpu_s'] - base['cpu_s']:+7.2f} {row['peak_mib']:9.1f} "
            f"{row['peak_mib'] - base['peak_mib']:+6.1f} {row['p50_ms']:7.2f} {row['p99_ms']:7.2f} "
            f"{statistics.median(ratios):5.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        )
    print("CPU seconds for each 1,000 requests; p99 ratio: beside the run without telemetry of the same round")


if __name__ == "__main__":
    asyncio.run(main())
