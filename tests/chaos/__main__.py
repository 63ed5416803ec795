"""`python -m tests.chaos`: exit status 0 if every promise was kept, 1 if not, 2 if it cannot run here."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
from pathlib import Path

from tests.chaos.run import ChaosRun, Plan, write_summary
from tests.chaos.sandbox import CannotRunError, check_needs, folder_for_a_run, run_inside
from tests.chaos.world import FAKETIME, Size

EXIT_VIOLATED, EXIT_CANNOT = 1, 2
SEED_MAX = 2**31


def main() -> int:
    """Runs chaos in namespaces of its own."""
    arguments = _parser().parse_args()
    if arguments.inside is not None:
        return _inside(arguments)
    try:
        check_needs(("mosquitto", "influxd"), arguments.keep)
        if not FAKETIME:
            raise CannotRunError("libfaketime is not installed: make programs")
    except CannotRunError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CANNOT
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(SEED_MAX)
    print(
        f"seed {seed}, {arguments.kills} kills; again: make chaos KILLS={arguments.kills} SEED={seed}",
        file=sys.stderr,
        flush=True,
    )
    with folder_for_a_run(arguments.keep) as folder:
        inner = ["--inside", str(folder), "--kills", str(arguments.kills), "--seed", str(seed)]
        inner += ["--devices", str(arguments.devices), *(["--model", str(arguments.model)] if arguments.model else [])]
        status = run_inside("tests.chaos", inner)
        found = folder / "summary.json"
        if not found.exists():
            print(f"the run was cut off (status {status}), seed {seed}", file=sys.stderr)
            return status or EXIT_VIOLATED
        summary = json.loads(found.read_text(encoding="utf-8"))
        if summary["violations"] and arguments.keep is None:
            kept = Path.cwd() / "build" / "chaos" / f"seed-{seed}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept)
            print(f"journals, telemetry and logs: {kept}", file=sys.stderr)
    print(json.dumps(summary, indent=2) if arguments.json else say_summary(summary))
    return EXIT_VIOLATED if summary["violations"] else 0


def say_summary(summary: dict[str, object]) -> str:
    """Returns the summary for people."""
    lines = [
        "seed {seed}: {prompts} prompts, {wall_s} s, machine's load {load:.1f}",
        "faults: {faults}",
        "ends: {outcomes}; gateway: {gateway}; users gave up: {users_gave_up}",
        "accepted for good {accepted} = ended {ended} = told {told}; lost {lost}; two different ends {two_ends}",
        "accepted with durable: false {not_durable}, of them lost {not_durable_lost}",
        "telemetry: {points} points, {points_missing} missing, {points_strange} strange",
    ]
    violations = summary["violations"]
    said = [line.format(**summary) for line in lines]
    said += [f"VIOLATION {one}" for one in violations] if isinstance(violations, list) else []
    return "\n".join([*said, "broken" if violations else "every promise was kept"])


def _inside(arguments: argparse.Namespace) -> int:
    size = Size(arguments.devices, models=int(arguments.model is not None), model_file=arguments.model)
    plan = Plan(arguments.seed, arguments.kills, size)
    run = ChaosRun(plan, arguments.inside, lambda line: print(line, file=sys.stderr, flush=True))
    try:
        write_summary(asyncio.run(run.run()), arguments.inside)
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="end after so many kills, with other faults between")
    parser.add_argument("--seed", type=int, help="decides what is done to whom and when; by default a new one")
    parser.add_argument("--devices", type=int, default=5)
    parser.add_argument("--model", type=Path, help="a GGUF file: the last device runs it with llama.cpp")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")
    parser.add_argument("--keep", type=Path, help="a folder where everything of the run stays")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
