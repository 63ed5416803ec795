"""Runs a gateway from the command line."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.cli.mesh_options import MeshOptions
from edge_agent.cli.terminal import console, print_json, styled
from edge_agent.core.errors import SettingsError

LOG_LEVEL_VARIABLE = "MOAMESH_LOG_LEVEL"


def run(config: Path | None, where: MeshOptions, given: Mapping[str, Any], *, json: bool) -> None:
    """Runs it until it is told to stop.

    Raises:
        SettingsError: it cannot be started; one line.
    """
    try:
        from edge_agent.gateway.server import Listening, run_gateway
    except ImportError as error:
        raise SettingsError(f"{error.name} is not installed: pip install 'moamesh[gateway]'") from None
    from edge_agent.cli.gateway.options import gateway_options

    options = gateway_options(config, where, given)
    logging.basicConfig(
        level=os.environ.get(LOG_LEVEL_VARIABLE, "WARNING").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )

    def announce(listening: Listening) -> None:
        if json:
            place = {"url": listening.url, "key_needed": listening.key_needed}
            print_json(place | {"mesh": options.mesh, "device": options.device_id})
            return
        who = "with an API key" if listening.key_needed else "without a key"
        out = console()
        out.print(styled(("API", "label"), f"   {listening.url}/v1   ({who}; models: moa, moa-m2-k3, local)"))
        out.print(styled(("App", "label"), f"   {listening.url}/"))
        out.print(styled(("Docs", "label"), f"  {listening.url}/docs"))

    run_gateway(options, announce)
