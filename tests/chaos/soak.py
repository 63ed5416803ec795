"""`python -m tests.chaos.soak`: a mesh under steady load for hours; status 1 if memory, handles, threads or disk grow.

Four devices, broker, database, gateway and operator's service, at about half of what the devices bear; nothing is
harmed. 2: it cannot run here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import httpx

from edge_agent.client import AskTimeoutError, MeshClient, NoReceiptError
from edge_agent.core.messages import Answer, PromptOptions, Sampling
from edge_agent.lab.analysis.figures import Curve, Panel, write_figure
from tests.chaos.programs import Program
from tests.chaos.record import Listener, Record
from tests.chaos.samples import BOUNDS, DATABASE_DISK, DISK, Series, sample
from tests.chaos.sandbox import CannotRunError, check_needs, folder_for_a_run, run_inside
from tests.chaos.schedule import DATABASE
from tests.chaos.users import PATIENT
from tests.chaos.world import MESH, SERVICE_MEAN_S, Size, World, until

DEVICES = 4
UTILISATION = 0.5  # of each device, by docs/THEORY.md: prompts a second and device x service time x ((k+1)M+1)
LAYERS, FANOUT = 1, 1
GATEWAY_SHARE = 0.25  # of the prompts
SAMPLE_S = 10.0
OPEN_MAX = 200  # prompts under way: far beyond what half a load leaves, only a stuck mesh reaches it
ANSWERED_SHARE_MIN = 0.99  # nothing is harmed, so nearly all is answered; a busy machine may cost a deadline
DEADLINE_S = 120.0


class Soak:
    """One soak of `hours`, in a folder of its own."""

    def __init__(self, hours: float, folder: Path, model: Path | None, seed: int) -> None:
        self._lasts_s = hours * 3600.0
        size = Size(
            DEVICES, models=int(model is not None), model_file=model, disks=False, clocks=False, kept_long=False
        )
        self._world = World(folder, size, seed)
        self._rng = random.Random(seed)
        self._ends: Counter[str] = Counter()
        self._series: dict[str, dict[str, Series]] = {}
        self._started: dict[str, int] = {}

    async def run(self) -> dict[str, object]:
        """Returns all samples and how prompts ended."""
        record = Record()
        listener = Listener(self._world.broker_url, MESH, record)
        try:
            await self._world.start()
            await listener.start()
            await until(lambda: all(record.online.get(one) for one in self._world.devices), "all devices are there")
            self._started = {name: program.starts for name, program in self._world.programs.items()}
            async with asyncio.TaskGroup() as group:
                load = group.create_task(self._load())
                await self._sample()
                load.cancel()
            await listener.stop()
            ended = await self._world.end()
        finally:
            await self._world.kill()
        return {
            "lasted_s": self._lasts_s,
            "ends": dict(self._ends),
            "load": os.getloadavg()[0],
            "series": {n: {m: [one.at_s, one.values] for m, one in all_.items()} for n, all_ in self._series.items()},
            "ended_badly": [name for name, status in ended.items() if status is None],
        }

    async def _load(self) -> None:
        """Poisson arrivals, so that queues are as they are in life."""
        rate_hz = DEVICES * UTILISATION / (SERVICE_MEAN_S * ((FANOUT + 1) * LAYERS + 1))
        async with (
            MeshClient(self._world.broker_url, MESH, "steady", settings=PATIENT) as client,
            httpx.AsyncClient(base_url=self._world.gateway_url, timeout=DEADLINE_S * 2) as gateway,
            asyncio.TaskGroup() as group,
        ):
            under_way: set[asyncio.Task[None]] = set()
            while True:
                await asyncio.sleep(self._rng.expovariate(rate_hz))
                if len(under_way) >= OPEN_MAX:
                    self._ends["not asked: too many under way"] += 1
                    continue
                over_http = self._rng.random() < GATEWAY_SHARE
                task = group.create_task(self._ask_gateway(gateway) if over_http else self._ask(client))
                under_way.add(task)
                task.add_done_callback(under_way.discard)

    async def _ask(self, client: MeshClient) -> None:
        options = PromptOptions(LAYERS, FANOUT, DEADLINE_S, sampling=Sampling(max_output_tokens=16))
        try:
            end = await client.ask_to_end(self._rng.choice(self._world.devices), "What is steady?", options)
        except (NoReceiptError, AskTimeoutError) as error:
            self._ends[type(error).__name__] += 1
        else:
            self._ends[end.outcome.value if isinstance(end, Answer) else f"refused: {end.reason.value}"] += 1

    async def _ask_gateway(self, gateway: httpx.AsyncClient) -> None:
        content = {"role": "user", "content": "What is steady?"}
        body = {"model": f"moa-m{LAYERS}-k{FANOUT}", "messages": [content], "max_tokens": 16}
        try:
            response = await gateway.post("/v1/chat/completions", json=body)
        except httpx.HTTPError as error:
            self._ends[f"gateway: {type(error).__name__}"] += 1
        else:
            self._ends["answered" if response.is_success else f"gateway: {response.status_code}"] += 1

    async def _sample(self) -> None:
        began = time.monotonic()
        while (at_s := time.monotonic() - began) < self._lasts_s:
            for name, program in self._world.programs.items():
                if program.pid is None:
                    raise RuntimeError(f"{name} has ended:\n{program.log.read_text()[-2000:]}")
                found = await asyncio.to_thread(sample, program.pid, self._folders(program))
                for measure, value in found.items():
                    self._series.setdefault(name, {}).setdefault(measure, Series()).add(at_s, value)
            await asyncio.sleep(max(0.0, at_s + SAMPLE_S - (time.monotonic() - began)))

    def _folders(self, program: Program) -> list[Path]:
        if program.name in self._world.devices:
            return [self._world.data(program.name)]
        return [self._world.folder / "influxdb"] if program.name == DATABASE else []


def judge(found: dict[str, dict[str, Series]]) -> tuple[list[str], list[str]]:
    """Returns the table's lines (Markdown), and what grew beyond its bound."""
    lines = ["| process | measure | after warm-up | at the end | slope per hour |", "|---|---|---|---|---|"]
    grew = []
    for name, measures in found.items():
        for measure, whole in measures.items():
            looked_at = whole.after_warm_up()
            start, end = looked_at.edges()
            bound = DATABASE_DISK if (name, measure) == (DATABASE, DISK) else BOUNDS[measure]
            slope = looked_at.slope_per_hour()
            if any(whole.values):
                lines.append(f"| {name} | {measure} | {start:.1f} | {end:.1f} | {slope:+.2f} |")
            if not bound.allows(start, end):
                grew.append(f"{name}: {measure} from {start:.1f} to {end:.1f} ({bound.reason})")
    return lines, grew


def draw(found: dict[str, dict[str, Series]], path: Path, title: str) -> None:
    """Draws one panel for each measure."""
    panels = []
    for measure in BOUNDS:
        curves = [
            Curve(name, [at / 3600.0 for at in one.at_s], one.values, colour=number)
            for number, name in enumerate(found)
            if any((one := found[name][measure]).values)
        ]
        panels.append(Panel(measure, "hours", measure, curves))
    write_figure(path, panels, columns=2, title=title)


def main() -> int:
    """Runs the soak in namespaces of its own, draws and judges."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--model", type=Path, help="a GGUF file: the last device runs it with llama.cpp")
    parser.add_argument("--plot", type=Path, default=Path("docs/img/soak.svg"))
    parser.add_argument("--json", type=Path, help="a file for all samples")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside is not None:
        with contextlib.suppress(KeyboardInterrupt):
            found = asyncio.run(Soak(arguments.hours, arguments.inside, arguments.model, seed=1).run())
            (arguments.inside / "soak.json").write_text(json.dumps(found))
        return 0
    try:
        check_needs(("mosquitto", "influxd"))
    except CannotRunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with folder_for_a_run(None) as folder:
        inner = ["--inside", str(folder), "--hours", str(arguments.hours)]
        status = run_inside("tests.chaos.soak", inner + (["--model", str(arguments.model)] if arguments.model else []))
        result = folder / "soak.json"
        if not result.exists():
            print(f"the soak was cut off (status {status})", file=sys.stderr)
            return status or 1
        if arguments.json:
            arguments.json.write_text(result.read_text())
        return _report(json.loads(result.read_text()), arguments.plot)


def _report(result: dict[str, object], plot: Path) -> int:
    series = result["series"]
    assert isinstance(series, dict)
    found = {name: {m: Series(*pair) for m, pair in measures.items()} for name, measures in series.items()}
    lines, grew = judge(found)
    ends = result["ends"]
    assert isinstance(ends, dict)
    answered = ends.get("answered", 0) / max(1, sum(ends.values()))
    if answered < ANSWERED_SHARE_MIN:
        grew.append(f"only {answered:.1%} of the prompts were answered")
    grew += [f"{name} did not end on SIGTERM" for name in result["ended_badly"]]  # type: ignore[attr-defined]  # a list
    hours = float(str(result["lasted_s"])) / 3600.0
    draw(found, plot, f"{hours:.2g} h of steady load, {DEVICES} devices")
    print(*lines, "", f"{hours:.2f} h, prompts: {ends}, machine's load {result['load']}, plot: {plot}", sep="\n")
    print(*(f"GREW {one}" for one in grew), "something grew" if grew else "nothing grew", sep="\n")
    return int(bool(grew))


if __name__ == "__main__":
    sys.exit(main())
