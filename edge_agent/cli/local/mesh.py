"""A local fleet for a command: its model pulled, its start shown, its plan made from the options."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec

from rich.console import Console
from rich.status import Status

from broker.embedded_web import ALL_INTERFACES
from broker.loopback import port_is_free
from edge_agent.adapters.llama_server import find_server
from edge_agent.cli import options as opt
from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.models.files import ready_models
from edge_agent.cli.terminal import styled
from edge_agent.cli.watch.watching import watch_client
from edge_agent.client import MeshClient
from edge_agent.core.errors import SettingsError
from edge_agent.fleet.engines import choose_engine
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.service_time import parse_service

GATEWAY_PORT = 8080  # where README and most servers of this kind are
GATEWAY_NEEDS = ("fastapi", "uvicorn")


@dataclass(frozen=True, slots=True)
class WebOptions:
    """What a command line says about the gateway. `port` None is its usual one, or any that is free."""

    port: int | None = None
    lan: bool = False


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
    web: WebOptions | None = None,
) -> FleetPlan:
    """Checks the options and makes sure that the models are here; pulling one takes minutes.

    web: what was asked for of the gateway; `None`: no gateway.

    Raises:
        SettingsError: an option is wrong.
        ModelError: a model cannot be fetched.
    """
    kind = _engine_kind(console, engine)
    parse_service(service)
    names = ready_models(console, models) if kind.loads_model else ()
    gateway_port = find_gateway_port(console, web) if web is not None else None
    lan = web is not None and web.lan
    return FleetPlan(
        *(devices, kind, names, service), port=port, layers=layers, fanout=fanout, gateway_port=gateway_port, lan=lan
    )


def _engine_kind(console: Console, engine: str) -> EngineKind:
    if engine == opt.AUTO:
        choice = choose_engine()
        if choice.remark:
            console.print(choice.remark, style="quiet", soft_wrap=True, highlight=False)
        return choice.kind
    try:
        kind = EngineKind(engine)
    except ValueError:
        kinds = [opt.AUTO, *(each.value for each in EngineKind)]
        raise SettingsError(f"--engine must be {', '.join(kinds[:-1])} or {kinds[-1]}, not {engine!r}") from None
    if kind is EngineKind.LLAMA_SERVER:
        find_server("")
    return kind


def find_gateway_port(console: Console, web: WebOptions) -> int | None:
    """Returns where the gateway is to listen: where it was wished, else its usual port if that is free, else any.

    `None` where it is not installed, which is said.

    Raises:
        SettingsError: it was wished for explicitly and is not installed.
    """
    if missing := [name for name in GATEWAY_NEEDS if find_spec(name) is None]:
        way_out = f"{missing[0]} is not installed: pip install 'moamesh[gateway]'"
        if web.lan or web.port is not None:
            raise SettingsError(way_out)
        console.print(f"the app and the API are not available: {way_out}", style="busy", soft_wrap=True)
        return None
    if web.port is not None:
        return web.port
    host = ALL_INTERFACES if web.lan else "127.0.0.1"
    return GATEWAY_PORT if port_is_free(host, GATEWAY_PORT) else 0


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
            styled(
                "up. Ask from another terminal: ",
                ('moamesh ask "Why is the sky blue?"', "label"),
                f"\n{_elsewhere(fleet)}",
            )
        )
        show_web(console, fleet)
        await client.discover(at_least=plan.devices)
        await watch_client(
            console, client, MeshAddress(fleet.url, fleet.mesh), json=False, note="Ctrl-C stops everything"
        )


def show_web(console: Console, fleet: LocalFleet) -> None:
    """Says where the app and the API are, who reaches them, and what they ask for."""
    if fleet.gateway_url:
        url = fleet.reached(fleet.gateway_url)
        console.print(f"app: {url}   API for OpenAI clients: {url}/v1", soft_wrap=True)
        if fleet.plan.lan:
            console.print(
                f"this network reaches both, unencrypted; the API asks for this key: {fleet.api_key}",
                style="busy",
                soft_wrap=True,
            )
            if url == fleet.gateway_url:
                console.print("this computer has no network address at the moment", style="bad")
    if fleet.web_url and fleet.gateway_url:
        console.print(
            styled("to pair a phone or browser, scan the code of: ", ("moamesh pair NAME", "label")), soft_wrap=True
        )
    elif fleet.broker.web_hint:
        console.print(f"the app cannot connect: {fleet.broker.web_hint}", style="busy", soft_wrap=True)


def _elsewhere(fleet: LocalFleet) -> str:
    return f"{fleet.broker.kind} at {fleet.url}; from elsewhere on this host: --broker {fleet.url} --mesh {fleet.mesh}"
