"""Pairing with the local mesh that `moamesh up` or `moamesh demo` runs, from another process of the same user."""

from __future__ import annotations

from pathlib import Path

from broker.embedded_web import HINT
from broker.web_login import NotAdmittedError, until_admitted, web_door
from edge_agent.cli.pair.addresses import Addresses, on_host
from edge_agent.cli.pair.link import PairingLink
from edge_agent.cli.pair.pairing import Paired, PairWish, as_before, chosen_devices
from edge_agent.core.errors import SettingsError
from edge_agent.fleet.network import lan_address
from edge_agent.fleet.people import FleetPeople
from edge_agent.fleet.runs import RunningFleet
from edge_agent.wire.topics import user_login


async def pair_locally(running: RunningFleet, wish: PairWish) -> Paired:
    """Gives a user a new secret, and returns once the broker lets them in with it.

    Raises:
        SettingsError: the mesh has no web side, an address or device is none, or the broker did not take the user.
    """
    if not running.web:
        raise SettingsError(HINT)
    if unknown := [device for device in wish.devices if device not in running.devices]:
        raise SettingsError(f"no device is called {unknown[0]!r}; there are {', '.join(running.devices)}")
    addresses = _addresses(running, wish)
    people = FleetPeople(Path(running.folder))
    before = {user.name: user for user in people.users()}
    had = before.get(wish.user)
    devices = chosen_devices(wish, had.devices if had else None, known=had is not None)
    secret, replaced = people.put(wish.user, devices)
    try:
        await until_admitted(web_door(running.web), user_login(wish.user), secret)
    except NotAdmittedError as error:
        raise SettingsError(f"the broker did not take the new secret: {error}") from None
    return Paired(
        PairingLink(addresses, running.mesh, wish.user, secret, devices),
        replaced,
        as_before(wish, devices),
        lasting=False,
    )


def remove_locally(running: RunningFleet, user: str) -> None:
    """Takes a user's secret back; the broker follows within a second and ends their sessions.

    Raises:
        SettingsError: nobody is called so.
    """
    FleetPeople(Path(running.folder)).remove(user)


def _addresses(running: RunningFleet, wish: PairWish) -> Addresses:
    host = lan_address() if running.lan else ""
    if running.lan and not host and not (wish.app_url and wish.web_brokers):
        raise SettingsError("this computer has no network address just now: name them with --app-url and --web-broker")
    app = wish.app_url or (on_host(running.gateway, host) if host and running.gateway else running.gateway)
    if not app:
        raise SettingsError(
            "the app is not served here: start the mesh without --no-gateway, or say where it is with --app-url URL"
        )
    return Addresses(app, wish.web_brokers or (on_host(running.web, host) if host else running.web,))
