"""Runs a device with its steward, if it is a member of a mesh with certificates; begins the process anew when asked."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from edge_agent.config import load_config
from edge_agent.core.errors import MoameshError, SettingsError
from edge_agent.management.operator_settings import OperatorSettings
from edge_agent.runtime.app import run_agent

log = logging.getLogger(__name__)


def run_device(config_path: Path | None, flags: Mapping[str, object]) -> None:
    """Runs the device until it is told to stop. If a job asks for a restart, this process becomes a new one.

    Raises:
        MoameshError: it cannot be started; one line. If a job has just changed something, that is taken back first and
            the device begins anew without it.
    """
    plain = load_config(config_path, flags)
    if plain.broker.cert_file is None or plain.broker.ca_file is None:
        asyncio.run(run_agent(plain))
        return
    # here, not above: only members need cryptography
    from edge_agent.management.actions import DeviceActions
    from edge_agent.management.jobs import revert_unproven
    from edge_agent.management.steward import DeviceSteward, open_record
    from provisioning.errors import ProvisioningError

    settings = OperatorSettings(config_path, flags, plain.data_dir)
    try:
        record = open_record(plain)
        try:
            config = settings.load()
            restart = asyncio.run(run_agent(config, DeviceSteward(config, settings, record)))
        except MoameshError as error:
            if not revert_unproven(record, DeviceActions(settings), str(error)):
                raise
            restart = True
    except (ProvisioningError, OSError) as error:
        raise SettingsError(str(error)) from None
    if restart:
        log.info("beginning anew")
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the very command this process was started by
