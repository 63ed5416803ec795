"""How many of some hundred small faults the tests of the core and the wire find: `make mutants`.

Each mutant is one change by cosmic-ray's operators (`draw.py`), drawn by a seed, in a copy of the tree. The tests of
its own file run first, then those of its folder; it is killed when one fails, or when they take ten times the processor
time that they take without it. Prints the survivors with their change. Those that are looked into stand in
`accepted.json` with the reason why no test can or need tell them apart. Exit status 1 below the bar.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rich.progress import track

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = Path(__file__).parent / "accepted.json"
TESTS = {"edge_agent/core": "tests/core", "edge_agent/wire": "tests/wire"}
BAR = 0.9
CPU_TIMES_MAX = 10
CPU_AT_LEAST_S = 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """A mutant, and the test that found it; "" if none did."""

    mutant: dict[str, Any]
    killed_by: str


def drawn(python: Path, seed: int, count: int) -> list[dict[str, Any]]:
    """Returns the mutants that a seed draws."""
    command = [python, "-m", "scripts.mutants.draw", str(seed), str(count), *TESTS]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def copied(folder: Path) -> Path:
    """Returns a copy of the tracked files: mutants change it."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def tests_of(path: str) -> list[list[str]]:
    """Returns what is run for a mutant of this file, in this order, until something fails."""
    folder = next(tests for package, tests in TESTS.items() if path.startswith(package))
    own = sorted(str(test.relative_to(ROOT)) for test in (ROOT / folder).glob(f"test_{Path(path).stem}*.py"))
    return [own, [folder]] if own else [[folder]]


def run_tests(tree: Path, tests: list[str], cpu_s: int) -> str:
    """Returns the first test that fails, "" if none does."""

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))

    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "--tb=no", *tests]
    done = subprocess.run(
        command, cwd=tree, capture_output=True, text=True, check=False, preexec_fn=bounded,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0] if failed else f"ended with {done.returncode}"


def tried(tree: Path, mutant: dict[str, Any], cpu_s: int) -> Outcome:
    """Puts a mutant into a tree, runs its tests, and takes it out again."""
    path = tree / mutant["path"]
    whole = path.read_text()
    path.write_text(mutant["source"])
    try:
        found = (run_tests(tree, tests, cpu_s) for tests in tests_of(mutant["path"]))
        return Outcome(mutant, next(filter(None, found), ""))
    finally:
        path.write_text(whole)


def outcomes(mutants: list[dict[str, Any]], jobs: int) -> Iterator[Outcome]:
    """Yields what became of each mutant.

    Raises:
        SystemExit: a test fails without any mutant.
    """
    with tempfile.TemporaryDirectory(prefix="moamesh-mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            trees.put(copied(Path(folder, str(number))))
        tree = trees.get()
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        for tests in TESTS.values():
            if failed := run_tests(tree, [tests], 3_600):
                raise SystemExit(f"without any mutant: {failed}")
        took_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        trees.put(tree)
        cpu_s = int(max(CPU_AT_LEAST_S, CPU_TIMES_MAX * took_s))

        def one(mutant: dict[str, Any]) -> Outcome:
            own = trees.get()
            try:
                return tried(own, mutant, cpu_s)
            finally:
                trees.put(own)

        yield from track(pool.map(one, mutants), description="mutants", total=len(mutants), transient=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="of an environment with cosmic-ray")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="a file for all outcomes")
    given = parser.parse_args()
    accepted = {(one["path"], *one["change"]): one["reason"] for one in json.loads(ACCEPTED.read_text())}
    found = list(outcomes(drawn(given.python, given.seed, given.count), given.jobs))
    survivors = [one.mutant for one in found if not one.killed_by]
    for mutant in survivors:
        reason = accepted.get((mutant["path"], *mutant["change"]), "")
        print(f"{mutant['path']}:{mutant['line']} {mutant['operator']}{': ' + reason if reason else ''}")
        print(*mutant["change"], sep="\n")
    killed = len(found) - len(survivors)
    print(f"killed {killed} of {len(found)} ({killed / len(found):.1%}), seed {given.seed}")
    if given.json:
        given.json.write_text(json.dumps([{**one.mutant, "source": "", "killed_by": one.killed_by} for one in found]))
    return 0 if killed >= BAR * len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
