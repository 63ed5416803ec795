"""What a gateway is told: by a device's agent.toml, by the command line, or by the local mesh that runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge_agent.cli.mesh_options import MeshOptions
from edge_agent.config import load_config
from edge_agent.config.surfaces import GatewaySection
from edge_agent.core.errors import SettingsError
from edge_agent.folders import data_folder
from edge_agent.gateway.of_config import options_of
from edge_agent.gateway.options import GatewayOptions
from edge_agent.wire.topics import is_id

KEYS_FILE = "api-keys.json"
_FLAGS = {"host": "--host", "cors_origins": "--cors-origin", "web_broker": "--web-broker"}
"""Options whose form the section [gateway] checks."""


def default_keys_file() -> Path:
    """Where API keys are kept without an agent.toml: `gateway/api-keys.json` in the data folder."""
    return data_folder() / "gateway" / KEYS_FILE


def keys_file_of(keys_file: Path | None, config: Path | None) -> Path:
    """Which file of keys is meant.

    Raises:
        SettingsError: the configuration cannot be loaded.
    """
    if keys_file is not None:
        return keys_file
    return options_of(load_config(config)).keys_file if config is not None else default_keys_file()


def gateway_options(config: Path | None, where: MeshOptions, given: Mapping[str, Any]) -> GatewayOptions:
    """Returns what `config` and the command line say together; `given` counts, by the names of `GatewayOptions`.

    Raises:
        SettingsError: they contradict each other, or there is no mesh to speak to.
    """
    if config is not None:
        if where.broker is not None:
            raise SettingsError("--config names the broker already: leave out --broker, or --config")
        options = options_of(load_config(config))
        if where.mesh is not None and where.mesh != options.mesh:
            raise SettingsError(f"{config} is of mesh {options.mesh}, not {where.mesh}")
        access = where.access()
        if access.username is not None:
            options = replace(options, access=access)
    else:
        address = where.find()
        section = GatewaySection()
        options = GatewayOptions(
            broker=address.broker,
            mesh=address.mesh,
            access=address.access,
            keys_file=default_keys_file(),
            host=section.host,
            port=section.port,
        )
    _check(given)
    options = replace(options, **given)
    if (options.cert_file is None) != (options.key_file is None):
        raise SettingsError("--tls-cert and --tls-key belong together")
    return options


def _check(given: Mapping[str, Any]) -> None:
    """The command line is held to the same rules as the section of the file."""
    checked = {name: given[name] for name in _FLAGS if name in given}
    try:
        GatewaySection.model_validate(checked)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        flag = _FLAGS[str(first["loc"][0])]
        raise SettingsError(f"{flag}: {first['msg'].removeprefix('Value error, ')}") from None
    device_id = given.get("device_id")
    if isinstance(device_id, str) and not is_id(device_id):
        raise SettingsError(f"--device: must be 1 to 64 of a-z, 0-9 and -, not {device_id[:64]!r}")
