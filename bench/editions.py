"""What this checkout costs beside another one of moamesh: a hop, an idle device's CPU, its gossip and its memory.

Both are run by their own code, in turns, on this machine and in one run; the other one is given with its own `.venv`:

    git worktree add ../other bfc5c9a && make -C ../other install
    python -m bench.editions --beside ../other [--rounds 5] [--idle-s 30] [--json]

Without `--beside` it measures this checkout alone.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psutil

HERE = Path(__file__).parent.parent
DEVICES = 4
SETTLES_S = 10.0  # Python's imports, and the first views of a mesh
STARTS_IN_S = 120.0
FIGURES = {
    "hop_p50_ms": "added time of a hop, p50 (ms)",
    "idle_cpu_percent": "CPU of an idle device (% of a core)",
    "gossip_bytes_s": "gossip a device sends (bytes/s)",
    "memory_mib": "memory of an idle device (MiB)",
}


def measure(checkout: Path, idle_s: float) -> dict[str, float]:
    """Returns one value of each figure, of the moamesh in `checkout`."""
    answer = subprocess.run(
        [checkout / ".venv/bin/python", "-m", "bench.hop", "--rounds", "1", "--json"],
        cwd=checkout, check=True, capture_output=True,
    )  # fmt: skip
    hop: float = json.loads(answer.stdout)["rounds"][0]["hop_p50_ms"]
    return {"hop_p50_ms": hop} | _measure_idle(checkout, idle_s)


def _measure_idle(checkout: Path, idle_s: float) -> dict[str, float]:
    with _mesh(checkout) as (port, agents):
        sent = 0

        def count(_client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
            nonlocal sent
            sent += len(message.payload) if "/gossip" in message.topic else 0

        listener = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        listener.on_message = count
        listener.connect("127.0.0.1", port)
        listener.subscribe("moamesh/#")
        listener.loop_start()
        time.sleep(SETTLES_S)
        sent, before, since = 0, sum(map(_cpu_s, agents)), time.monotonic()
        time.sleep(idle_s)
        took = time.monotonic() - since
        figures = {
            "idle_cpu_percent": (sum(map(_cpu_s, agents)) - before) / took / DEVICES * 100,
            "gossip_bytes_s": sent / took / DEVICES,
            "memory_mib": sum(agent.memory_info().rss for agent in agents) / 2**20 / DEVICES,
        }
        listener.disconnect()
        listener.loop_stop()
        return figures


@contextmanager
def _mesh(checkout: Path) -> Iterator[tuple[int, list[psutil.Process]]]:
    """Runs idle devices with engines that declare their service times; yields their broker's port and themselves."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        command = ["up", "--devices", str(DEVICES), "--engine", "synthetic", "--no-gateway", "--port", str(port)]
        mesh = subprocess.Popen(
            [checkout / ".venv/bin/moamesh", *command],
            cwd=checkout, env=os.environ | {"HOME": home}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield port, _agents_of(mesh)
        finally:
            mesh.terminate()
            mesh.wait()


def _agents_of(mesh: subprocess.Popen[bytes]) -> list[psutil.Process]:
    deadline = time.monotonic() + STARTS_IN_S
    while time.monotonic() < deadline:
        if mesh.poll() is not None:
            raise SystemExit("the mesh did not start")
        children = psutil.Process(mesh.pid).children()
        agents = [child for child in children if any("agent_process" in word for word in child.cmdline())]
        if len(agents) == DEVICES:
            return agents
        time.sleep(0.2)
    raise SystemExit(f"the devices of the mesh did not start within {STARTS_IN_S:.0f} s")


def _cpu_s(agent: psutil.Process) -> float:
    times = agent.cpu_times()
    return times.user + times.system


def main() -> int:
    """Prints each figure of both, and the ratio of their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="a checkout of moamesh with its .venv")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle-s", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    checkouts = {"ours": HERE} | ({"peer": arguments.beside.resolve()} if arguments.beside else {})
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(arguments.rounds):
        for name, checkout in checkouts.items():
            rounds[name].append(measure(checkout, arguments.idle_s))
    rows = []
    for figure, words in FIGURES.items():
        values = {name: sorted(one[figure] for one in taken) for name, taken in rounds.items()}
        row: dict[str, Any] = {"figure": words} | {name: statistics.median(taken) for name, taken in values.items()}
        row["spread"] = {name: [taken[0], taken[-1]] for name, taken in values.items()}
        if "peer" in row:
            row["ratio"] = row["ours"] / row["peer"]
        rows.append(row)
    if arguments.json:
        print(json.dumps(rows))
        return 0
    print(f"this checkout beside {arguments.beside or 'none'}: medians of {arguments.rounds} rounds, in turns")
    for row in rows:
        values = "  ".join(
            f"{name} {row[name]:8.2f} ({min(s):.2f} to {max(s):.2f})" for name, s in row["spread"].items()
        )
        print(f"{row['figure']:38} {values}" + (f"  ratio {row['ratio']:.2f}" if "ratio" in row else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
