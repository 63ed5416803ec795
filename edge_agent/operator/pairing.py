"""Pairing a user's phone or browser: with the local mesh that runs, or with one that was made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, final

from broker.embedded_web import HINT
from broker.mosquitto_config import WEB_PORT
from broker.passwords import hash_password
from broker.web_login import ADMITTED_WITHIN_S, NotAdmittedError, until_admitted, web_endpoint
from edge_agent.core.errors import SettingsError
from edge_agent.fleet.network import lan_address
from edge_agent.fleet.people import FleetPeople
from edge_agent.fleet.runs import RunningFleet
from edge_agent.operator.pairing_link import BROKERS_MAX, Addresses, PairingLink, on_host, web_url_of
from edge_agent.operator.users import check_user_name, remove_user
from edge_agent.wire.topics import check_id, user_login

if TYPE_CHECKING:  # it brings cryptography along, which a local mesh does not need
    from provisioning.mesh import MeshFolder

CHECK_S = 3.0  # how long the broker of a mesh that was made here is asked whether it lets the user in


@final
@dataclass(frozen=True, slots=True)
class PairingOptions:
    """Whom to pair. `devices` are the only ones the user may ask; none named: as before, else all. Addresses that are
    left open are found out.

    Raises:
        SettingsError: the name may not be a user's, or a device's name is none.
    """

    user: str
    devices: tuple[str, ...] = ()
    app_url: str | None = None
    web_brokers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_user_name(self.user)
        try:
            for device in self.devices:
                check_id(device, "device")
        except ValueError as error:
            raise SettingsError(str(error)) from None

    def devices_after(self, before: Sequence[str] | None) -> tuple[str, ...] | None:
        """Returns the devices that a user gets who had those; `None` is all, and for somebody new."""
        if self.devices:
            return tuple(dict.fromkeys(self.devices))
        return None if before is None else tuple(before)


@final
@dataclass(frozen=True, slots=True)
class Paired:
    """A user's new secret and the link with it.

    replaced: an earlier secret of theirs holds no more. as_before: they keep their devices, since none was named.
    problem: why the link may not work yet; "" if it was tried. lasting: whether it outlives the mesh's processes; a
    local mesh forgets its users when it ends.
    """

    link: PairingLink
    replaced: bool
    as_before: bool
    problem: str
    lasting: bool


async def pair_with(mesh: RunningFleet | MeshFolder, options: PairingOptions) -> Paired:
    """Gives a user a new secret, and tries whether it works.

    Raises:
        SettingsError, ProvisioningError: an address or device is none, the mesh has no web side, or its files can't be
            used; unless the message says otherwise nothing changed.
    """
    if isinstance(mesh, RunningFleet):
        return await _pair_with_running(mesh, options)
    return await _pair_with_made(mesh, options)


async def unpair(mesh: RunningFleet | MeshFolder, user: str) -> str:
    """Takes a user's secret back; the broker ends their sessions. Returns what is still to be done about it, "" if
    nothing.

    Raises:
        SettingsError, ProvisioningError: there is no such user, or a file can't be used.
    """
    if isinstance(mesh, RunningFleet):
        FleetPeople(Path(mesh.folder)).remove(user)
        return ""
    return await remove_user(mesh, user)


async def _pair_with_running(running: RunningFleet, options: PairingOptions) -> Paired:
    if not running.web:
        raise SettingsError(HINT)
    if unknown := [device for device in options.devices if device not in running.devices]:
        raise SettingsError(f"no device is called {unknown[0]!r}; there are {', '.join(running.devices)}")
    addresses = _addresses_here(running, options)
    people = FleetPeople(Path(running.folder))
    had = {user.name: user.devices for user in people.users()}
    devices = options.devices_after(had.get(options.user))
    secret, replaced = people.put(options.user, devices)
    if problem := await _why_not_admitted(running.web, None, options.user, secret, ADMITTED_WITHIN_S):
        raise SettingsError(f"the broker did not accept the new secret: {problem}")
    link = PairingLink(addresses, running.mesh, options.user, secret, devices)
    return Paired(link, replaced, _as_before(options, devices), "", lasting=False)


def _addresses_here(running: RunningFleet, options: PairingOptions) -> Addresses:
    host = lan_address() if running.lan else ""
    if running.lan and not host and not (options.app_url and options.web_brokers):
        raise SettingsError(
            "this computer has no network address at the moment: name them with --app-url and --web-broker"
        )
    app = options.app_url or (on_host(running.gateway, host) if host and running.gateway else running.gateway)
    if not app:
        raise SettingsError(
            "the app is not served here: start the mesh without --no-gateway, or say where it is with --app-url URL"
        )
    return Addresses(app, options.web_brokers or (on_host(running.web, host) if host else running.web,))


async def _pair_with_made(mesh: MeshFolder, options: PairingOptions) -> Paired:
    from edge_agent.operator.user_sync import bring_users, touched
    from provisioning.proofs import new_secret

    with mesh.inventory() as inventory:
        had = {user.name: user.devices for user in inventory.users()}
        devices = options.devices_after(had.get(options.user))
        at_home = _own_home(mesh, devices)
        addresses = _addresses_of(mesh, options, at_home)
        secret = new_secret()
        replaced = inventory.put_user(options.user, hash_password(secret), devices)
    _remember(mesh, options, at_home)
    problem = await bring_users(mesh, touched(mesh, devices, had.get(options.user, ())))
    if not problem and (why := await _why_not_admitted(addresses.brokers[0], mesh.ca_file, options.user, secret)):
        problem = f"this computer could not connect: {why} (does `moamesh broker run` run there?)"
    link = PairingLink(addresses, mesh.name, options.user, secret, devices)
    return Paired(link, replaced, _as_before(options, devices), problem, lasting=True)


def _own_home(mesh: MeshFolder, devices: Sequence[str] | None) -> str | None:
    """The one device, with a broker of its own, that these are; `None` where they share a broker."""
    own = [device for device in devices or () if device in mesh.settings.own_brokers]
    if own and len(devices or ()) > 1:  # one link leads to one of them
        raise SettingsError(f"{own[0]} has a broker of its own: pair a user with that device alone")
    return own[0] if own else None


def _addresses_of(mesh: MeshFolder, options: PairingOptions, at_home: str | None) -> Addresses:
    settings = mesh.settings
    app = options.app_url or settings.app_url
    if not app:
        raise SettingsError(
            f"where is the app of mesh {mesh.name} served? Give --app-url http://HOST:8080 (it is remembered); "
            "`moamesh gateway` serves it"
        )
    if options.web_brokers:
        return Addresses(app, options.web_brokers)
    if at_home is not None:
        return Addresses(app, (web_url_of(settings.own_brokers[at_home], WEB_PORT),))
    guessed = tuple(dict.fromkeys(web_url_of(url, WEB_PORT) for url in settings.brokers))
    return Addresses(app, (settings.web_brokers or guessed)[:BROKERS_MAX])


def _remember(mesh: MeshFolder, options: PairingOptions, at_home: str | None) -> None:
    settings = replace(mesh.settings, app_url=options.app_url or mesh.settings.app_url)
    if options.web_brokers and at_home is None:
        settings = replace(settings, web_brokers=options.web_brokers)
    if settings != mesh.settings:
        mesh.settings = settings
        mesh.save()


def _as_before(options: PairingOptions, devices: Sequence[str] | None) -> bool:
    return devices is not None and not options.devices


async def _why_not_admitted(url: str, ca: Path | None, user: str, secret: str, within_s: float = CHECK_S) -> str:
    """Tries a broker as the app does; returns why it does not let the user in, "" if it does."""
    try:
        await until_admitted(web_endpoint(url, ca), user_login(user), secret, within_s=within_s)
    except NotAdmittedError as error:
        return str(error)
    return ""
