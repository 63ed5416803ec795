"""Where things are on a device that a seed has made, and which files the seed puts there."""

from __future__ import annotations

import importlib.resources
import shlex
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import final

from provisioning.seed.contents import SeedContents
from provisioning.seed.files import PAYLOAD
from provisioning.seed.requirements import pinned

AGENT_TOML = PurePosixPath("/etc/moamesh/agent.toml")
REQUIREMENTS = PurePosixPath("/etc/moamesh/requirements.txt")
STATE = PurePosixPath("/var/lib/moamesh")
IDENTITY = STATE / "identity"
DATA = STATE / "device"
MODELS = STATE / "models"
CLAIM = STATE / "claim.json"
SETUP = PurePosixPath("/usr/local/sbin/moamesh-setup")
NETWORK_SETUP = PurePosixPath("/usr/local/sbin/moamesh-network")
NETWORK_FILES = PurePosixPath("/etc/moamesh/network")
UNITS = ("moamesh-setup.service", "moamesh-claim.service", "moamesh-agent.service")
_PRIVATE, _PUBLIC, _PROGRAM = 0o600, 0o644, 0o755


@final
@dataclass(frozen=True, slots=True)
class DeviceFile:
    """A file of the booted system, root's until `moamesh-setup` gives the agent what is its own."""

    path: PurePosixPath
    mode: int
    content: bytes = field(repr=False)


def device_files(contents: SeedContents) -> list[DeviceFile]:
    """Returns what the first boot writes."""
    files = [
        DeviceFile(AGENT_TOML, _PRIVATE, contents.agent_toml.encode()),
        DeviceFile(PurePosixPath("/etc/moamesh/setup.conf"), _PRIVATE, _setup_conf(contents).encode()),
        DeviceFile(SETUP, _PROGRAM, resource("moamesh-setup")),
    ]
    files += [DeviceFile(PurePosixPath("/etc/systemd/system") / unit, _PUBLIC, resource(unit)) for unit in UNITS]
    if contents.packages.wheels:
        text = pinned(contents.packages.requirement, contents.packages.wheels)
        files.append(DeviceFile(REQUIREMENTS, _PUBLIC, text.encode()))
    if contents.membership.claim is not None:
        files.append(DeviceFile(CLAIM, _PRIVATE, contents.membership.claim))
    files += [DeviceFile(IDENTITY / name, _PRIVATE, content) for name, content in contents.membership.identity]
    return files


def payload_files(contents: SeedContents) -> dict[str, bytes]:
    """Returns the payload's small part: a word to whoever finds the folder on a card."""
    text = (
        f"The boot seed of the moamesh device {contents.device_id}: its packages and its model.\n"
        "They may be removed once the device has joined its mesh.\n"
    )
    return {f"{PAYLOAD}/README.txt": text.encode()}


def _setup_conf(contents: SeedContents) -> str:
    values = {
        "DEBIAN_PACKAGES": " ".join(contents.packages.debian),
        "MODEL_FILE": contents.model.file.name if contents.model.file is not None else "",
        "MODEL_NAME": contents.model.name,
        "CPU_PERCENT": str(contents.cpu_percent),
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def resource(name: str) -> bytes:
    """Returns a file that goes to every device as it is."""
    return (importlib.resources.files("provisioning.seed") / "device" / name).read_bytes()
