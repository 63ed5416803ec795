"""The gateway of a device, as the agent starts it: `python -m edge_agent.gateway --config FILE`.

Imports no command line library, so that it stays small in memory.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

from edge_agent.core.errors import MoameshError, SettingsError

LOG_LEVEL_VARIABLE = "MOAMESH_LOG_LEVEL"


def main() -> int:
    """Runs the gateway until it is told to stop; returns the exit status: 2 if it cannot be started."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.gateway")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--stop-timeout", type=float, required=True, help="seconds for answers under way at the end")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=os.environ.get(LOG_LEVEL_VARIABLE, "WARNING").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        _run(arguments.config, arguments.stop_timeout)
    except MoameshError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(config: Path, stop_timeout_s: float) -> None:
    try:
        from edge_agent.config import load_config
        from edge_agent.gateway.of_config import options_of
        from edge_agent.gateway.server import run_gateway
    except ImportError as error:
        raise SettingsError(f"{error.name} is not installed: pip install 'moamesh[gateway]'") from None
    options = replace(options_of(load_config(config)), stop_timeout_s=stop_timeout_s)
    run_gateway(options, lambda listening: logging.getLogger(__name__).warning("serving %s", listening.url))


if __name__ == "__main__":
    sys.exit(main())
