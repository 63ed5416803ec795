"""The seed for cloud-init's NoCloud data source: Raspberry Pi OS since Trixie, Ubuntu, Debian's cloud images."""

from __future__ import annotations

from typing import Any

import yaml

from provisioning.seed.contents import Login, SeedContents
from provisioning.seed.layout import NETWORK_FILES, NETWORK_SETUP, STATE, UNITS, DeviceFile, device_files, resource
from provisioning.seed.network import Network
from provisioning.seed.network_files import cloud_init_network, netplan_name_servers, network_manager_files

# Named here although `moamesh-setup` would make it: a list without any user is warned of.
_AGENT_USER = {
    "name": "moamesh",
    "system": True,
    "homedir": str(STATE),
    "no_create_home": True,
    "shell": "/usr/sbin/nologin",
    "lock_passwd": True,
}
MARK = "# moamesh seed"
"""By this line `moamesh-setup` knows, and empties, what holds secrets once it was used."""


def user_data(contents: SeedContents) -> bytes:
    """Returns `user-data`: who may log in, which files are written, what is started."""
    network = _network_files(contents.network)
    config: dict[str, Any] = {
        "hostname": contents.host,
        "manage_etc_hosts": True,
        "locale": "C.UTF-8",
        "ssh_pwauth": False,
        "users": [_AGENT_USER, *([_login(contents.login)] if contents.login is not None else [])],
        "write_files": [_write(file) for file in (*device_files(contents), *network)],
        "runcmd": [
            *([[str(NETWORK_SETUP)]] if network else []),
            ["systemctl", "daemon-reload"],
            *([["sh", "-c", "systemctl enable --now ssh || true"]] if contents.login is not None else []),
            ["systemctl", "enable", *UNITS],
            ["systemctl", "start", "--no-block", UNITS[0]],
        ],
        "final_message": "moamesh: cloud-init has read the seed, after $UPTIME s",
    }
    return b"#cloud-config\n" + _dump(config)


def meta_data(contents: SeedContents) -> bytes:
    """Returns `meta-data`. It holds no secret, and stays: by its id cloud-init knows that it was here before."""
    return _dump({"instance-id": contents.instance_id, "local-hostname": contents.host})


def network_config(contents: SeedContents) -> bytes:
    """Returns `network-config`."""
    return _dump(cloud_init_network(contents.network))


def _network_files(network: Network) -> list[DeviceFile]:
    """What `network-config` cannot say so that every system takes it; see `provisioning.seed.network_files`."""
    if network.wifi is None:
        return []
    files = [DeviceFile(NETWORK_SETUP, 0o755, resource("moamesh-network"))]
    files += [
        DeviceFile(NETWORK_FILES / name, 0o600, text.encode()) for name, text in network_manager_files(network).items()
    ]
    if (servers := netplan_name_servers(network)) is not None:
        files.append(DeviceFile(NETWORK_FILES / "netplan.yaml", 0o600, _dump(servers)))
    return files


def _login(login: Login) -> dict[str, Any]:
    return {
        "name": login.name,
        "groups": ["adm", "sudo"],
        "shell": "/bin/bash",
        "lock_passwd": True,
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": list(login.ssh_keys),
    }


def _write(file: DeviceFile) -> dict[str, Any]:
    return {"path": str(file.path), "permissions": f"{file.mode:04o}", "content": file.content.decode()}


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that people can read what a device will get."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _dump(value: Any) -> bytes:
    # ASCII, with escapes: whatever reads it, no character can be taken for another
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=1000)
    return f"{MARK}\n{text}".encode("ascii")
