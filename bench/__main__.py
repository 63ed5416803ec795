"""Runs every benchmark, one after the other: `python -m bench [NAME ...] [--OPTION ...]`. Each prints a ratio beside a
peer, and gets the options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PEERLESS = {"__init__", "__main__", "echo", "page_device", "page_echo", "page_load", "page_tokens"}
"""No benchmarks of their own: parts of one, or what it is measured against."""


def main() -> int:
    """Runs the named benchmarks, or all; returns the number that failed."""
    there = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in PEERLESS)
    options = [said for said in sys.argv[1:] if said.startswith("-")]
    wanted = [said for said in sys.argv[1:] if not said.startswith("-")] or there
    if unknown := [name for name in wanted if name not in there]:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(there)}", file=sys.stderr)
        return 2
    failed = 0
    for name in wanted:
        print(f"== {name}", file=sys.stderr, flush=True)
        failed += subprocess.run([sys.executable, "-m", f"bench.{name}", *options], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
