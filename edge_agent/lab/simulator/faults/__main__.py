"""Fault seeds in many processes, with one JSON object as the answer: for machines that have nothing but Python.

    python -m edge_agent.lab.simulator.faults --seeds 1..100000 --jobs 16

Needs pydantic and no other package. Runs every seed, whatever breaks. Exit status as `moamesh simulate --faults`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from edge_agent.core import agent
from edge_agent.core.errors import SettingsError
from edge_agent.lab.simulator.faults.campaign import parse_seeds, run_campaign
from edge_agent.lab.simulator.faults.kinds import parse_faults

_NEWS_S = 10.0  # between two lines of progress


def main(arguments: list[str]) -> int:
    """Runs the campaign that the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="campaign", description="Runs fault seeds; prints one JSON object.")
    parser.add_argument("--faults", default="all", help="all, or kinds by name, commas between")
    parser.add_argument("--seeds", default="1..1000", help="A..B, both included")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; by default one a core")
    parser.add_argument("--without", default=None, help="a safeguard to take away (pure Python only)")
    given = parser.parse_args(arguments)
    began = said = time.monotonic()

    def progress(done: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _NEWS_S:
            said = time.monotonic()
            print(f"{done} seeds in {said - began:.0f} s", file=sys.stderr, flush=True)

    try:
        campaign = run_campaign(
            parse_seeds(given.seeds),
            parse_faults(given.faults),
            safeguard=given.without,
            jobs=given.jobs,
            go_on=True,
            progress=progress,
        )
    except SettingsError as error:
        print(f"campaign: {error}", file=sys.stderr)
        return 2
    seconds = round(time.monotonic() - began, 1)
    compiled = not str(agent.__file__).endswith(".py")
    print(json.dumps(campaign.as_object() | {"seconds": seconds, "jobs": given.jobs, "compiled": compiled}))
    return campaign.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
