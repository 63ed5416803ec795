"""A local fleet for a command: its model pulled, its start shown, its plan made from the options."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

from rich.console import Console
from rich.status import Status

from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.model_files import ready_models
from edge_agent.cli.watching import watch_client
from edge_agent.client import MeshClient
from edge_agent.core.errors import SettingsError
from edge_agent.core.service_time import parse_service
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan


def make_plan(
    console: Console,
    *,
    devices: int,
    engine: str,
    models: Sequence[str] | None,
    service: str,
    port: int = 0,
    layers: int | None = None,
    fanout: int | None = None,
) -> FleetPlan:
    """Checks the options and makes sure that the models are here; pulling one takes minutes.

    Raises:
        SettingsError: an option is wrong.
        ModelError: a model cannot be fetched.
    """
    try:
        kind = EngineKind(engine)
    except ValueError:
        raise SettingsError(f"--engine must be {' or '.join(EngineKind)}, not {engine!r}") from None
    parse_service(service)
    names = ready_models(console, models) if kind is EngineKind.LLAMA else ()
    return FleetPlan(devices, kind, names, service, port=port, layers=layers, fanout=fanout)


@asynccontextmanager
async def shown_fleet(console: Console, plan: FleetPlan) -> AsyncIterator[LocalFleet]:
    """A fleet that is up; its start is shown on `console`."""
    starting = f"starting a broker and {plan.devices} devices"
    fleet = LocalFleet(plan)
    with _shown(console, starting) as status:
        if status is not None:
            fleet.on_progress = lambda online, count: status.update(f"{starting}: {online} of {count} online")
        await fleet.start()
    try:
        if fleet.broker.limitations:
            console.print(fleet.broker.limitations, style="busy")
        yield fleet
    finally:
        died = fleet.dead()
        with _shown(console, "stopping the devices"):
            await fleet.stop()
        for device in died:
            console.print(f"{device.device_id} died; its log: {device.log_path}", style="bad")


def _shown(console: Console, text: str) -> AbstractContextManager[Status | None]:
    if console.is_terminal:
        return console.status(text)
    console.print(text)
    return nullcontext()


async def run_until_stopped(console: Console, plan: FleetPlan) -> None:
    """A fleet with a live table, until cancelled."""
    async with shown_fleet(console, plan) as fleet, MeshClient(fleet.url, fleet.mesh) as client:
        console.print(
            f'up. Ask from another terminal: [label]moamesh ask "Why is the sky blue?"[/]\n{_elsewhere(fleet)}'
        )
        await client.discover(at_least=plan.devices)
        await watch_client(
            console, client, MeshAddress(fleet.url, fleet.mesh), json=False, note="Ctrl-C stops everything"
        )


def _elsewhere(fleet: LocalFleet) -> str:
    return f"{fleet.broker.kind} at {fleet.url}; from elsewhere on this host: --broker {fleet.url} --mesh {fleet.mesh}"
