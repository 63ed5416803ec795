"""Entry of one device process: `python -m edge_agent.fleet.agent_process --config agent.toml`.

Imports no command line library, so that a device stays small in memory. With `--parent PID` the process ends together
with that process, however it dies.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> int:
    """Runs the device until it is told to stop (SIGTERM, SIGINT); returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.fleet.agent_process")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--parent", type=int, default=0, help="end with this process")
    arguments = parser.parse_args()
    if arguments.parent:
        _end_with(arguments.parent)

    from edge_agent.core.errors import MoameshError  # after the parent is watched: importing takes a while
    from edge_agent.management.run import run_device

    try:
        run_device(arguments.config, {})
    except MoameshError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _end_with(parent: int) -> None:
    # SIGTERM, not SIGKILL: a device whose parent died still says that it stopped
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before we asked to be told
        sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
