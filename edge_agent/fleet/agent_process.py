"""Entry of one device process: `python -m edge_agent.fleet.agent_process --config agent.toml`.

Imports no command line library, so that a device stays small in memory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Runs the device until it is told to stop (SIGTERM, SIGINT); returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.fleet.agent_process")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()

    from edge_agent.core.errors import MoameshError  # after the arguments: importing takes a while
    from edge_agent.management.run import run_device

    try:
        run_device(arguments.config, {})
    except MoameshError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
