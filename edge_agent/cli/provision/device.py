"""Makes a device's boot seed out of what a user asked for, invites the device, and writes the seed."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from broker.mosquitto_config import DEVICE_PORT
from broker.passwords import hash_password
from edge_agent.cli.agent.overrides import parse_overrides
from edge_agent.cli.durations import parse_duration
from edge_agent.cli.mesh.view import invitation_object
from edge_agent.cli.provision.images import flash_shown, planned
from edge_agent.cli.results import JsonObject
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, load_config, write_config
from edge_agent.config.broker import read_password_file
from edge_agent.config.model import ENV_DELIMITER, ENV_PREFIX
from edge_agent.config.write import to_toml
from edge_agent.core.errors import SettingsError
from edge_agent.core.settings import AgentSettings
from edge_agent.operator.user_sync import remember_broker
from provisioning.authority import MeshAuthority
from provisioning.errors import ProvisioningError
from provisioning.files import read_file
from provisioning.identity_store import IdentityStore
from provisioning.image import Compression, FirstBoot, ImageError, compression_of, put_seed
from provisioning.mesh import MeshFolder
from provisioning.seed import (
    Login,
    Membership,
    Model,
    Network,
    Packages,
    SeedContents,
    StaticAddress,
    Wifi,
    check_ssid,
    layout,
    render_seed,
    write_folder,
    write_iso,
)

_TO_COME = Membership(claim=b"{}")
"""Stands in a seed while it is checked: a device is invited only when everything else is right."""


@dataclass(frozen=True, slots=True)
class NetworkWish:
    """The options of the panel Network."""

    hostname: str = ""
    ethernet: str = "eth0"
    wifi_ssid: str | None = None
    wifi_country: str | None = None
    wifi_password_file: Path | None = None
    wifi_open: bool = False
    wifi_hidden: bool = False
    address: str | None = None
    gateway: str | None = None
    dns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeedWish:
    """What a user wants a device to be."""

    name: str
    network: NetworkWish = field(default_factory=NetworkWish)
    user: str = "pi"
    ssh_keys: tuple[Path, ...] = ()
    engine: str = "llama"
    model: str | None = None
    wheelhouse: Path | None = None
    settings: tuple[str, ...] = ()
    own_broker: bool = False
    offline: bool = False
    expires: str = "7d"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where a seed goes; at least one."""

    seed_dir: Path | None
    iso: Path | None
    image: Path | None
    to: Path | None
    first_boot: FirstBoot | None
    yes: bool


def provision(
    mesh: MeshFolder, wish: SeedWish, outputs: Outputs, authority: MeshAuthority | None, console: Console
) -> JsonObject:
    """Invites the device (or, with the authority, makes it a member) and writes its seed; returns what was done.

    Raises:
        SettingsError, ProvisioningError: something is not right. Unless the message says otherwise nothing was changed.
    """
    _check_outputs(outputs)
    contents = _contents(mesh, wish)
    render_seed(contents)
    plan = planned(outputs.image, outputs.to) if outputs.image and outputs.to else None
    membership, expires_at = _admit(mesh, wish, authority)
    if wish.own_broker:
        host = (wish.network.address or "").partition("/")[0] or f"{wish.name}.local"
        remember_broker(mesh, wish.name, f"mqtts://{f'[{host}]' if ':' in host else host}:{DEVICE_PORT}")
    seed = render_seed(replace(contents, membership=membership))
    written = []
    try:
        if outputs.seed_dir is not None:
            write_folder(seed, outputs.seed_dir)
            written.append(f"seed in the folder {outputs.seed_dir}")
        if outputs.iso is not None:
            write_iso(seed, outputs.iso)
            written.append(f"seed in the ISO {outputs.iso}")
        if plan is not None:
            flash_shown(console, plan, seed, outputs.first_boot, yes=outputs.yes)
            written.append(f"image with seed on {plan.target.path}")
        elif outputs.image is not None:
            put = put_seed(outputs.image, seed, first_boot=outputs.first_boot)
            written.append(f"seed in {outputs.image}, partition {put.partition}, read by {put.first_boot}")
    except (ProvisioningError, OSError) as error:
        undo = f"moamesh device revoke {wish.name}, then this command again" if wish.offline else "run this again"
        raise ProvisioningError(
            f"{error}. {wish.name} has been recorded, but its seed was not written: {undo}"
        ) from None
    return {
        "device_id": wish.name,
        "mesh": mesh.name,
        "instance_id": seed.instance_id,
        "claim_expires_at": expires_at,
        "written": written,
    }


def _check_outputs(outputs: Outputs) -> None:
    if outputs.seed_dir is None and outputs.iso is None and outputs.image is None:
        raise SettingsError("say where the seed goes: --seed-dir DIR, --iso FILE, or --image FILE with or without --to")
    if outputs.to is not None and outputs.image is None:
        raise SettingsError("--to needs the image to write: --image FILE")
    if outputs.image is not None and outputs.to is None and compression_of(outputs.image) is not Compression.NONE:
        raise ImageError(f"{outputs.image} is packed: give --to TARGET, or unpack it first")


def _contents(mesh: MeshFolder, wish: SeedWish) -> SeedContents:
    model = _model(wish)
    config = _config(mesh, wish, model)
    return SeedContents(
        device_id=wish.name,
        instance_id=f"moamesh-{secrets.token_hex(8)}",
        agent_toml=to_toml(config),
        membership=_TO_COME,
        hostname=wish.network.hostname,
        network=_network(wish.network),
        login=Login(wish.user, tuple(key for file in wish.ssh_keys for key in _keys(file))) if wish.ssh_keys else None,
        packages=_packages(wish, config),
        model=model if config.engine.kind == "llama" else Model(),
    )


def _config(mesh: MeshFolder, wish: SeedWish, model: Model) -> AgentConfig:
    identity = Path(layout.IDENTITY)
    agent = AgentSettings()
    if mesh.settings.layers is not None:
        agent = replace(agent, layers=mesh.settings.layers)
    if mesh.settings.fanout is not None:
        agent = replace(agent, fanout=mesh.settings.fanout)
    base = AgentConfig(
        device=DeviceSection(id=wish.name, mesh=mesh.name, data_dir=Path(layout.DATA)),
        broker=BrokerSection(
            mode="own" if wish.own_broker else "shared",
            urls=mesh.settings.brokers,
            address=(wish.network.address or "").partition("/")[0] if wish.own_broker else "",
            ca_file=identity / "ca.pem",
            crl_file=identity / "crl.pem",
            cert_file=identity / "identity.pem",
            key_file=identity / "identity.pem",
        ),
        engine=EngineSection(
            kind="llama" if wish.engine == "llama" else "synthetic",
            model=str(layout.MODELS / model.file.name) if model.file is not None else model.name,
        ),
        agent=agent,
    )
    with tempfile.TemporaryDirectory(prefix="moamesh-seed-") as folder, _own_settings_aside():
        path = Path(folder) / "agent.toml"
        write_config(base, path)
        return load_config(path, parse_overrides(wish.settings))


@contextlib.contextmanager
def _own_settings_aside() -> Iterator[None]:
    """This machine's own MOAMESH_SECTION__KEY variables are no settings of the device."""
    own = {
        name: os.environ.pop(name) for name in list(os.environ) if name.startswith(ENV_PREFIX) and ENV_DELIMITER in name
    }
    try:
        yield
    finally:
        os.environ.update(own)


def _model(wish: SeedWish) -> Model:
    from edge_agent.models import DEFAULT_MODEL, why_not_whole

    if wish.engine != "llama":
        return Model()
    text = wish.model or DEFAULT_MODEL
    path = Path(text).expanduser()
    if path.is_file():
        if why := why_not_whole(path.name):
            raise SettingsError(f"{path} {why}")
        return Model(file=path)
    if text.endswith(".gguf") and ":" not in text:
        raise SettingsError(f"{text}: no such file")
    return Model(name=text)


def _packages(wish: SeedWish, config: AgentConfig) -> Packages:
    extras = ["secure"]
    if config.engine.kind == "llama":
        extras.append("llama")
        if config.engine.model.startswith("hf:"):
            extras.append("models")
    if config.influx:
        extras.append("influx")
    wanted = f"moamesh[{','.join(extras)}]"
    if wish.wheelhouse is None:
        raise SettingsError(
            f"give --wheelhouse DIR with the wheels of {wanted} and all it needs (docs/FLASHING.md says how to fill "
            "it): a device installs nothing whose checksum its seed does not hold"
        )
    wheels = tuple(sorted(wish.wheelhouse.glob("*.whl")))
    if not any(wheel.name.startswith("moamesh-") for wheel in wheels):
        raise SettingsError(
            f"{wish.wheelhouse} holds no moamesh wheel: fill it with `pip wheel '{wanted}' "
            f"--wheel-dir {wish.wheelhouse}` on a machine like the device"
        )
    debian = ("mosquitto",) if config.broker.mode == "own" else ()
    return Packages(wanted, wheels, debian)


def _network(wish: NetworkWish) -> Network:
    static = StaticAddress(wish.address, wish.gateway, wish.dns) if wish.address is not None else None
    if static is None and (wish.gateway is not None or wish.dns):
        raise SettingsError("--gateway and --dns go with a fixed --address")
    if wish.wifi_ssid is None:
        if wish.wifi_country or wish.wifi_password_file or wish.wifi_open or wish.wifi_hidden:
            raise SettingsError(
                "--wifi-country, --wifi-password-file, --wifi-open and --wifi-hidden go with --wifi-ssid"
            )
        return Network(wish.ethernet, None, static)
    check_ssid(wish.wifi_ssid)  # before a password is asked for
    if wish.wifi_country is None:
        raise SettingsError("--wifi-ssid needs --wifi-country, such as GB: the radio stays off without it")
    wifi = Wifi(wish.wifi_ssid, wish.wifi_country, _wifi_password(wish), hidden=wish.wifi_hidden)
    return Network(wish.ethernet, wifi, static)


def _wifi_password(wish: NetworkWish) -> str | None:
    if wish.wifi_open:
        return None
    if wish.wifi_password_file is not None:
        return read_password_file(wish.wifi_password_file, "--wifi-password-file").get_secret_value()
    if not sys.stdin.isatty():
        raise SettingsError("give the Wi-Fi password as --wifi-password-file FILE, or say --wifi-open")
    return getpass.getpass(f"Password of the Wi-Fi {wish.wifi_ssid}: ")


def _keys(file: Path) -> list[str]:
    lines = read_file(file).decode("utf-8", "replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _admit(mesh: MeshFolder, wish: SeedWish, authority: MeshAuthority | None) -> tuple[Membership, str | None]:
    addresses = [wish.network.address.partition("/")[0]] if wish.network.address is not None else []
    if authority is None:
        invitation = mesh.invite(
            wish.name,
            hash_password=hash_password,
            lifetime_s=parse_duration(wish.expires),
            ip_addresses=addresses,
        )
        shown = invitation_object(invitation)
        return Membership(claim=json.dumps(shown).encode()), shown["expires_at"]
    identity = mesh.enrol(wish.name, authority, addresses)
    with tempfile.TemporaryDirectory(prefix="moamesh-identity-") as folder:
        store = IdentityStore(Path(folder), mesh.name, wish.name)
        store.trust(mesh.bundle().pem)
        store.adopt(identity)
        files = [store.identity_file, store.ca_file]
        held = [(file.name, read_file(file)) for file in files]
    if mesh.crl_file.exists():
        held.append(("crl.pem", read_file(mesh.crl_file)))
    return Membership(identity=tuple(held)), None
