"""`moamesh telemetry status`: how far each database of a device has got with its spool."""

from __future__ import annotations

from edge_agent.cli import options as opt


def status(config: opt.ConfigFile, json: opt.Json = False) -> None:
    """Show what happened to a device's points: written, sent to each database, waiting, lost, refused.

    Reads the device's own files; it may be running or not. No database is asked.
    """
    from edge_agent.adapters.telemetry.shipping_status import look_at_spool
    from edge_agent.cli.telemetry.state_view import spool_object, spool_view
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.config import load_config
    from edge_agent.runtime.databases import telemetry_servers

    loaded = load_config(config)
    servers = telemetry_servers(loaded, with_secrets=False)
    spool = look_at_spool(loaded.telemetry_folder, loaded.device.id, servers)
    if json:
        print_json(spool_object(spool))
    else:
        console().print(spool_view(spool), soft_wrap=True)
