"""Pairing with a mesh that was made here: users in its inventory, or at a device's own broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from broker.mosquitto_config import WEB_PORT
from broker.passwords import hash_password
from broker.web_login import NotAdmittedError, until_admitted, web_door
from edge_agent.cli.pair.addresses import BROKERS_MAX, Addresses, web_url_of
from edge_agent.cli.pair.link import PairingLink
from edge_agent.cli.pair.pairing import CHECK_S, Paired, PairWish, as_before, chosen_devices
from edge_agent.core.errors import SettingsError
from edge_agent.operator.user_sync import bring_users, touched
from edge_agent.wire.topics import user_login
from provisioning.mesh import MeshFolder
from provisioning.proofs import new_secret


async def pair_with_mesh(mesh: MeshFolder, wish: PairWish) -> Paired:
    """Gives a user a new secret, remembers addresses that were given, and tries whether it works.

    Raises:
        SettingsError, ProvisioningError: an address or device is none, or the mesh's files can't be used.
    """
    with mesh.inventory() as inventory:
        before = {user.name: user for user in inventory.users()}
        had = before.get(wish.user)
        devices = chosen_devices(wish, had.devices if had else None, known=had is not None)
        at_home = own_home(mesh, devices)
        addresses = _addresses(mesh, wish, at_home)
        secret = new_secret()
        replaced = inventory.put_user(wish.user, hash_password(secret), devices)
    _remember(mesh, wish, at_home)
    problem = await bring_users(mesh, touched(mesh, devices, had.devices if had else ()))
    problem = problem or await _problem(mesh, addresses, wish.user, secret)
    link = PairingLink(addresses, mesh.name, wish.user, secret, devices)
    return Paired(link, replaced, as_before(wish, devices), problem)


def own_home(mesh: MeshFolder, devices: Sequence[str] | None) -> str | None:
    """Returns the one device, with a broker of its own, that these are; `None` where they share a broker.

    Raises:
        SettingsError: some have brokers of their own: one link leads to one of them.
    """
    own = [device for device in devices or () if device in mesh.settings.own_brokers]
    if own and len(devices or ()) > 1:
        raise SettingsError(f"{own[0]} has a broker of its own: pair a user with that device alone")
    return own[0] if own else None


def _addresses(mesh: MeshFolder, wish: PairWish, at_home: str | None) -> Addresses:
    settings = mesh.settings
    app = wish.app_url or settings.app_url
    if not app:
        raise SettingsError(
            f"where is the app of mesh {mesh.name} served? Say it with --app-url http://HOST:8080 (it is remembered); "
            "`moamesh gateway` serves it"
        )
    if wish.web_brokers:
        return Addresses(app, wish.web_brokers)
    if at_home is not None:
        return Addresses(app, (web_url_of(settings.own_brokers[at_home], WEB_PORT),))
    guessed = tuple(dict.fromkeys(web_url_of(url, WEB_PORT) for url in settings.brokers))
    return Addresses(app, (settings.web_brokers or guessed)[:BROKERS_MAX])


def _remember(mesh: MeshFolder, wish: PairWish, at_home: str | None) -> None:
    settings = replace(mesh.settings, app_url=wish.app_url or mesh.settings.app_url)
    if wish.web_brokers and at_home is None:
        settings = replace(settings, web_brokers=wish.web_brokers)
    if settings != mesh.settings:
        mesh.settings = settings
        mesh.save()


async def _problem(mesh: MeshFolder, addresses: Addresses, user: str, secret: str) -> str:
    """Tries the first broker as the app does; returns why that did not work."""
    try:
        await until_admitted(web_door(addresses.brokers[0], mesh.ca_file), user_login(user), secret, within_s=CHECK_S)
    except NotAdmittedError as error:
        return f"tried in vain from this computer: {error} (does `moamesh broker run` run there?)"
    return ""
