"""What goes into a device's boot seed: its settings, software, model and logins, out of what is wanted of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, final

from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, load_config, write_config
from edge_agent.config.model import ENV_DELIMITER, ENV_PREFIX
from edge_agent.config.write import to_toml
from edge_agent.core.errors import SettingsError
from edge_agent.core.settings import AgentSettings
from edge_agent.models import DEFAULT_MODEL, why_not_whole
from provisioning.files import read_file
from provisioning.inventory import CLAIM_LIFETIME_S
from provisioning.mesh import MeshFolder
from provisioning.seed import Login, Membership, Model, Network, Packages, SeedContents, layout

_TO_COME = Membership(claim=b"{}")
"""Stands in a seed while it is checked: a device is invited only when everything else is right."""


@final
@dataclass(frozen=True, slots=True)
class SeedOptions:
    """What a device is to be.

    user: who may log in, with one of `ssh_keys` (files). model: a name, which the device pulls, or a GGUF file, which
    is put in. wheelhouse: a folder with the wheels to install. settings: more of them, by dotted key. lifetime_s: how
    long the claim holds.
    """

    name: str
    hostname: str = ""
    network: Network = field(default_factory=Network)
    user: str = "pi"
    ssh_keys: tuple[Path, ...] = ()
    engine: Literal["llama", "synthetic"] = "llama"
    model: str | None = None
    wheelhouse: Path | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    own_broker: bool = False
    lifetime_s: float = CLAIM_LIFETIME_S

    @property
    def address(self) -> str:
        """The device's fixed address; "" where it has none."""
        return self.network.static.address.partition("/")[0] if self.network.static is not None else ""


def seed_contents(mesh: MeshFolder, options: SeedOptions) -> SeedContents:
    """Returns all of a seed but its membership, for which something else stands.

    Raises:
        SettingsError, ProvisioningError: something is not right, or a file is not there.
    """
    model = _model(options)
    config = _config(mesh, options, model)
    keys = tuple(key for file in options.ssh_keys for key in _keys(file))
    return SeedContents(
        device_id=options.name,
        instance_id=f"moamesh-{secrets.token_hex(8)}",
        agent_toml=to_toml(config),
        membership=_TO_COME,
        hostname=options.hostname,
        network=options.network,
        login=Login(options.user, keys) if options.ssh_keys else None,
        packages=_packages(options, config),
        model=model if config.engine.kind == "llama" else Model(),
    )


def _config(mesh: MeshFolder, options: SeedOptions, model: Model) -> AgentConfig:
    identity = Path(layout.IDENTITY)
    agent = AgentSettings()
    if mesh.settings.layers is not None:
        agent = replace(agent, layers=mesh.settings.layers)
    if mesh.settings.fanout is not None:
        agent = replace(agent, fanout=mesh.settings.fanout)
    base = AgentConfig(
        device=DeviceSection(id=options.name, mesh=mesh.name, data_dir=Path(layout.DATA)),
        broker=BrokerSection(
            mode="own" if options.own_broker else "shared",
            urls=mesh.settings.brokers,
            address=options.address if options.own_broker else "",
            ca_file=identity / "ca.pem",
            crl_file=identity / "crl.pem",
            cert_file=identity / "identity.pem",
            key_file=identity / "identity.pem",
        ),
        engine=EngineSection(
            kind=options.engine,
            model=str(layout.MODELS / model.file.name) if model.file is not None else model.name,
        ),
        agent=agent,
    )
    with tempfile.TemporaryDirectory(prefix="moamesh-seed-") as folder, _own_settings_aside():
        path = Path(folder) / "agent.toml"
        write_config(base, path)
        return load_config(path, options.settings)


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


def _model(options: SeedOptions) -> Model:
    if options.engine != "llama":
        return Model()
    text = options.model or DEFAULT_MODEL
    path = Path(text).expanduser()
    if path.is_file():
        if why := why_not_whole(path.name):
            raise SettingsError(f"{path} {why}")
        return Model(file=path)
    if text.endswith(".gguf") and ":" not in text:
        raise SettingsError(f"{text}: no such file")
    return Model(name=text)


def _packages(options: SeedOptions, config: AgentConfig) -> Packages:
    extras = ["secure"]
    if config.engine.kind == "llama":
        extras.append("llama")
        if config.engine.model.startswith("hf:"):
            extras.append("models")
    if config.influx:
        extras.append("influx")
    wanted = f"moamesh[{','.join(extras)}]"
    if options.wheelhouse is None:
        raise SettingsError(
            f"give --wheelhouse DIR with the wheels of {wanted} and all it needs (docs/FLASHING.md says how to fill "
            "it): a device installs only files whose checksums are in its seed"
        )
    wheels = tuple(sorted(options.wheelhouse.glob("*.whl")))
    if not any(wheel.name.startswith("moamesh-") for wheel in wheels):
        raise SettingsError(
            f"{options.wheelhouse} holds no moamesh wheel: fill it with `pip wheel '{wanted}' "
            f"--wheel-dir {options.wheelhouse}` on a machine like the device"
        )
    debian = ("mosquitto",) if config.broker.mode == "own" else ()
    return Packages(wanted, wheels, debian)


def _keys(file: Path) -> list[str]:
    lines = read_file(file).decode("utf-8", "replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
