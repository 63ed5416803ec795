"""Runs the exact simulation over many meshes; each run is a line of a file with its seed and the error of its figures.

A line can be repeated alone: its case, lengths and seed decide it. Lines that a file has already are not run again.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import math
import random
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from types import ModuleType

from bench.law import exact
from bench.law.exact import Case

PLANS = ((0, 0), (1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (2, 3))
"""(M, k) of the paper's table."""
OTHER_PLANS = ((3, 1), (3, 2), (4, 3), (1, 6), (2, 5))
"""Some more, so that the fit has seen what lies around the table."""
SIZES = (4, 5, 7, 10, 20, 50, 200, 1000)
SHAPES = (1, 4, 0)
FACTORS = (1.0, 1.0, 3.0, 3.0, 2.0)
ITEMS = {1: 3_000_000, 2: 1_200_000}
"""Items of a run at load 0.9, for one server and for several, which cost five times as much."""
BATCHES = 20
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
FIGURES = ("wait", "mean", *SHARES)
DATA = Path(__file__).parent / "data"
COMPILED = Path("build/law")


def fast() -> ModuleType:
    """Returns `bench.law.exact` compiled by mypyc, as it is where that or a C compiler is missing."""
    source = Path(exact.__file__)
    folder = COMPILED / hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    binary = folder / f"exact{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not binary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "exact.py").write_bytes(source.read_bytes())
        made = subprocess.run([sys.executable, "-m", "mypyc", "exact.py"], cwd=folder, capture_output=True, text=True)
        if made.returncode:
            print("not compiled, so five times slower:", made.stderr.strip().splitlines()[-1:], file=sys.stderr)
            return exact
    spec = importlib.util.spec_from_file_location("exact", binary)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {binary}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["exact"] = module
    spec.loader.exec_module(module)
    return module


def drawn(servers: int, seed: int) -> Iterator[tuple[Case, int]]:
    """Yields meshes to fit on without end, and the seed of each one's run."""
    draw = random.Random(seed)
    while True:
        layers, fanout = draw.choice((*PLANS, *3 * PLANS[1:], *OTHER_PLANS))
        yield (
            Case(
                draw.choice([size for size in SIZES if size > fanout]),
                layers,
                fanout,
                round(draw.uniform(0.1, 0.92), 3),
                draw.choice(SHAPES),
                draw.choice(FACTORS) if layers else 1.0,
                (1.0,)
                if servers == 1
                else speed_up(draw.choice((4, 4, 4, 2, 8)), draw.choice((0.2, 0.4, 0.6, 0.8, 1.0))),
            ),
            draw.randrange(2**32),
        )


def alone(servers: int, seed: int) -> Iterator[tuple[Case, int]]:
    """Yields devices that ask no others (M = 0), to fit on."""
    draw = random.Random(seed)
    while True:
        speeds = speed_up(draw.choice((4, 4, 2, 8)), draw.uniform(0.1, 1.0)) if servers > 1 else (1.0,)
        yield Case(20, 0, 0, round(draw.uniform(0.1, 0.92), 3), draw.choice(SHAPES), 1.0, speeds), draw.randrange(2**32)


def held_out(servers: int, seed: int) -> Iterator[tuple[Case, int]]:
    """Yields meshes to test on: the paper's table, other sizes and speed-ups, loads to 0.9."""
    draw = random.Random(seed)
    while True:
        layers, fanout = draw.choice((*PLANS, *3 * PLANS[1:]))
        yield (
            Case(
                draw.choice((4, 4, 6, 12, 30, 100, 400, 1000)),
                layers,
                fanout,
                round(draw.uniform(0.2, 0.9), 3),
                draw.choice(SHAPES),
                draw.choice((1.0, 3.0)) if layers else 1.0,
                (1.0,) if servers == 1 else speed_up(servers, draw.uniform(0.1, 1.0)),
            ),
            draw.randrange(2**32),
        )


def speed_up(servers: int, power: float) -> tuple[float, ...]:
    """Returns j ** power for j items at once: 0, they do not help each other at all; 1, they are independent."""
    return tuple(round((at + 1) ** power, 4) for at in range(servers))


@dataclass(frozen=True)
class Run:
    """A case, what came of it in mean item times, and the standard errors, by batch means."""

    case: Case
    prompts: int
    warm_up: int
    seed: int
    figures: dict[str, float]
    errors: dict[str, float]

    def row(self) -> dict[str, str]:
        """Returns it as a line of a file has it."""
        fields = asdict(self.case) | {"speeds": " ".join(map(str, self.case.speeds))}
        fields |= {"prompts": self.prompts, "warm_up": self.warm_up, "seed": self.seed}
        numbers = self.figures | {f"{name}_se": error for name, error in self.errors.items()}
        return {name: str(value) for name, value in fields.items()} | {n: f"{v:.5g}" for n, v in numbers.items()}


def read(name: str) -> list[Run]:
    """Returns the runs of a file in bench/law/data."""
    with (DATA / f"{name}.csv").open(newline="") as file:
        return [_run_of(row) for row in csv.DictReader(file)]


def _run_of(row: dict[str, str]) -> Run:
    whole = {name: int(row[name]) for name in ("devices", "layers", "fanout", "shape")}
    speeds = tuple(map(float, row["speeds"].split()))
    case = Case(**whole, load=float(row["load"]), factor=float(row["factor"]), speeds=speeds)
    figures = {name: float(row[name]) for name in FIGURES}
    errors = {name: float(row[f"{name}_se"]) for name in FIGURES}
    return Run(case, int(row["prompts"]), int(row["warm_up"]), int(row["seed"]), figures, errors)


def run(module: ModuleType, case: Case, seed: int, longer: float = 1.0) -> Run:
    """Simulates a case."""
    items = case.layers * (case.fanout + 1) + 1
    wanted = ITEMS[min(2, len(case.speeds))] * longer * min(1.0, max(0.3, 0.1 / (1.0 - case.load)))
    rate = case.load * case.speeds[-1] / items * case.devices
    prompts = int(wanted / items)
    relaxed = 10.0 / (1.0 - case.load) ** 2 / case.speeds[-1] + 20.0  # a queue forgets within this that it began empty
    warm_up = int(relaxed * rate) + 100
    made = module.simulate(module.Case(**asdict(case)), prompts, warm_up, seed)
    ordered = sorted(made.latencies)
    parts = [slice(at * prompts // BATCHES, (at + 1) * prompts // BATCHES) for at in range(BATCHES)]
    each = [made.latencies[part] for part in parts]
    figures = {"wait": fmean(made.waits) / items, "mean": fmean(ordered)}
    errors = {
        "wait": _error([fmean(made.waits[part]) / items for part in parts]),
        "mean": _error([fmean(part) for part in each]),
    }
    for name, share in SHARES.items():
        figures[name] = quantile(ordered, share)
        errors[name] = _error([quantile(sorted(part), share) for part in each])
    return Run(case, prompts, warm_up, seed, figures, errors)


def _error(batches: list[float]) -> float:
    return stdev(batches) / math.sqrt(len(batches))


def quantile(ordered: list[float], share: float) -> float:
    """Returns the value that `share` of the values do not exceed."""
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


DRAWS = {"drawn": drawn, "alone": alone, "held-out": held_out}


def main() -> None:
    """Adds runs to a file until it has as many as are wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the file in bench/law/data")
    parser.add_argument("--servers", type=int, default=1, help="1, or more: then with drawn speed-ups")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, required=True, help="of the drawing of meshes")
    parser.add_argument("--draw", choices=DRAWS, default="drawn")
    parser.add_argument("--longer", type=float, default=1.0)
    chosen = parser.parse_args()
    file = DATA / f"{chosen.name}.csv"
    done = len(read(chosen.name)) if file.exists() else 0
    module = fast()
    for at, (case, seed) in enumerate(DRAWS[chosen.draw](chosen.servers, chosen.seed)):
        if at >= chosen.count:
            return
        if at < done:
            continue
        row = run(module, case, seed, chosen.longer).row()
        with file.open("a", newline="") as lines:
            writer = csv.DictWriter(lines, list(row), lineterminator="\n")
            if not at:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()
