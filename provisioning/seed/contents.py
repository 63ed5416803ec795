"""What a boot seed says: everything that makes a blank system one device of a mesh."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from edge_agent.wire.topics import is_id
from provisioning.seed.errors import SeedError
from provisioning.seed.network import Network

CPU_PERCENT_DEFAULT = 90  # of all cores: enough is left to log in
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LOGIN = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_SSH_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+ [A-Za-z0-9+/=]+( [\x20-\x7e]*)?")
_REQUIREMENT = re.compile(r"moamesh(\[[a-z,-]+\])?(==[A-Za-z0-9.+]+)?")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,200}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_MODEL_NAME = re.compile(r"[\x21-\x7e]{1,500}")
# Debian has these users already, most of them without a shell: nobody could log in as one.
_RESERVED_LOGINS = frozenset(
    {
        "root",
        "moamesh",
        "daemon",
        "bin",
        "sys",
        "sync",
        "games",
        "man",
        "lp",
        "mail",
        "news",
        "uucp",
        "proxy",
        "www-data",
    }
    | {"www-data", "backup", "list", "irc", "gnats", "nobody", "sshd", "messagebus", "mosquitto"}
    | {"systemd-network", "systemd-resolve", "systemd-timesync"}
)
_RESERVED_HOSTS = frozenset({"localhost"})


@final
@dataclass(frozen=True, slots=True)
class Login:
    """Somebody who may log in by SSH key and use sudo. There is no password.

    Raises:
        SeedError: the name may not be a user's, or a key is none.
    """

    name: str
    ssh_keys: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _LOGIN.fullmatch(self.name) or self.name in _RESERVED_LOGINS:
            raise SeedError(
                f"{self.name!r} cannot be a login name: 1 to 32 of a-z, 0-9, - and _, not starting with a digit, "
                "and not a user of the system"
            )
        if not self.ssh_keys:
            raise SeedError(f"the login {self.name} needs an SSH public key: there is no password")
        for key in self.ssh_keys:
            if "PRIVATE KEY" in key:
                raise SeedError("that is an SSH private key; a seed gets the public one (.pub)")
            if not _SSH_KEY.fullmatch(key):
                raise SeedError(
                    f"{key[:30]!r}... is not an SSH public key: it has a type, the key and a comment in ASCII"
                )
            if not _is_whole_key(key):
                raise SeedError(f"the SSH public key {key[:30]!r}... is incomplete: nobody could log in with it")


def _is_whole_key(key: str) -> bool:
    """Whether a key's fields, each behind its length (RFC 4253, section 6.6), begin with its kind and come out even."""
    kind, encoded = key.split(" ")[:2]
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError:
        return False
    fields = []
    while data:
        size = int.from_bytes(data[:4], "big")
        fields.append(data[4 : 4 + size])
        if len(data) < 4 + size:
            return False
        data = data[4 + size :]
    return len(fields) >= 2 and fields[0] == kind.encode()


@final
@dataclass(frozen=True, slots=True)
class Packages:
    """What the agent is installed from: wheels that go into the seed, each with its checksum, and nothing else.

    requirement: what pip is asked for, such as "moamesh[secure,llama]".
    wheels: files for the seed, with all that the requirement needs. Without them the device installs nothing, and says
        so: `moamesh provision device` makes no such seed.
    debian: Debian packages that are needed beside, such as mosquitto.
    """

    requirement: str = "moamesh[secure]"
    wheels: tuple[Path, ...] = ()
    debian: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _REQUIREMENT.fullmatch(self.requirement):
            raise SeedError(f"{self.requirement!r} is not a requirement such as moamesh[secure]==0.1")
        for wheel in self.wheels:
            if wheel.suffix != ".whl" or not _FILE_NAME.fullmatch(wheel.name):
                raise SeedError(f"{wheel} is not a wheel")
        for package in self.debian:
            if not _PACKAGE.fullmatch(package):
                raise SeedError(f"{package!r} is not the name of a Debian package")


@final
@dataclass(frozen=True, slots=True)
class Model:
    """Where the language model comes from: a GGUF file that goes into the seed, or a name that the device pulls."""

    file: Path | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.file is not None and not _FILE_NAME.fullmatch(self.file.name):
            raise SeedError(f"{self.file.name!r}: a model's file name has letters, digits and . _ + - only")
        if self.name and not _MODEL_NAME.fullmatch(self.name):
            raise SeedError("a model's name contains no spaces")


@final
@dataclass(frozen=True, slots=True)
class Membership:
    """How the device becomes a member: by a claim, or with an identity that was made by the operator.

    claim: the invitation, as `moamesh device claim` reads it.
    identity: files of an identity folder by name, as `provisioning.identity_store` has them.
    """

    claim: bytes | None = field(default=None, repr=False)
    identity: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if (self.claim is None) == (not self.identity):
            raise SeedError("a device gets either a claim or an identity")


@final
@dataclass(frozen=True, slots=True)
class SeedContents:
    """All of a seed.

    agent_toml: the device's settings; paths in it are those of the booted system (`provisioning.seed.layout`).
    instance_id: new for each seed, else a system that booted before would take no notice of it.

    Raises:
        SeedError: something can't be written into a seed.
    """

    device_id: str
    instance_id: str
    agent_toml: str = field(repr=False)
    membership: Membership
    hostname: str = ""
    network: Network = field(default_factory=Network)
    login: Login | None = None
    packages: Packages = field(default_factory=Packages)
    model: Model = field(default_factory=Model)
    cpu_percent: int = CPU_PERCENT_DEFAULT

    def __post_init__(self) -> None:
        if not is_id(self.device_id):
            raise SeedError(f"{self.device_id!r} is not a device's name: 1 to 64 of a-z, 0-9 and -")
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", self.instance_id):
            raise SeedError("an instance id has letters, digits and - only")
        if not _HOSTNAME.fullmatch(self.host):
            raise SeedError(
                f"{self.host!r} can't be a host name (1 to 63 of a-z, 0-9 and -, not - at an end): give --hostname"
            )
        if self.host in _RESERVED_HOSTS:
            raise SeedError(f"{self.host!r} means the device itself everywhere: give another --hostname")
        if not 1 <= self.cpu_percent <= 100:
            raise SeedError("the share of the processor is 1 to 100 percent")

    @property
    def host(self) -> str:
        """The host's name: the device's, if no other is given."""
        return self.hostname or self.device_id
