"""mosquitto.conf: listeners, limits and where the access files lie, in the words of mosquitto 2.0 and of 2.1."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import final

from broker.kinds import PACKET_BYTES_MAX, QUEUED_MESSAGES_MAX, WEB_HEADER_BYTES_MAX, find_mosquitto
from edge_agent.children import run
from edge_agent.hosts import address_of

DEVICE_PORT = 8883
PASSWORD_PORT = 8884
WEB_PORT = 8885

LOCAL_ACL, LOCAL_PASSWORDS = "local.acl", "local.passwords"
"""Who may come in by the listener on loopback, in the broker's folder."""

VERSION_TIMEOUT_S = 10.0  # `mosquitto -h` answers in milliseconds; a busy memory card may not
PLUGINS_SINCE = (2, 1)
"""From here on access and password files belong to plugins, and the options that did the same go away with 3.0."""

_LIBRARY_FOLDERS = (
    *("/usr/lib", "/usr/local/lib", "/usr/lib64", "/opt/homebrew/lib"),
    *("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib/arm-linux-gnueabihf"),
)
_SUBFOLDERS = ("", "mosquitto")
"""Upstream installs its plugins among the libraries, Debian from 2.1 on in a folder below."""


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """What no client may exceed; for each of them, unless said otherwise."""

    packet_bytes_max: int = PACKET_BYTES_MAX  # devices refuse 256 KiB in words; far above it the broker hangs up
    queued_messages_max: int = QUEUED_MESSAGES_MAX  # above the number of retained topics, or some are not delivered
    queued_bytes_max: int = 64 * 1024 * 1024  # one stuck client must not take the machine's memory
    in_flight_max: int = 64  # as many as a device reads ahead (its ReceiveMaximum)
    connections_max: int = 1_000  # for each listener; by default a process may open 1024 files


SMALL = Limits(queued_messages_max=1_000, queued_bytes_max=16 * 1024 * 1024, connections_max=256)
"""For a broker on a device of 512 MB that carries one device's inboxes."""


@final
@dataclass(frozen=True, slots=True)
class Listeners:
    """Ports; `None` is not there. `host` "" is every interface, `plain` is on loopback and without TLS."""

    host: str = ""
    devices: int = DEVICE_PORT
    passwords: int | None = PASSWORD_PORT
    web: int | None = WEB_PORT
    plain: int | None = None

    def __post_init__(self) -> None:
        if re.fullmatch(r"[A-Za-z0-9.:%_-]*", self.host) is None:
            raise ValueError(f"host to listen on must be an address or a name, not {self.host[:80]!r}")
        ports = [port for port in (self.devices, self.passwords, self.web, self.plain) if port is not None]
        if len(set(ports)) != len(ports) or not all(0 < port < 65536 for port in ports):
            raise ValueError(f"ports must be different and from 1 to 65535, not {ports}")


@final
@dataclass(frozen=True, slots=True)
class Program:
    """An installed mosquitto. `plugins` is where its access plugins lie, `None` if it has none."""

    path: str
    version: tuple[int, int, int]
    plugins: Path | None = None

    @property
    def uses_plugins(self) -> bool:
        """Whether to write its configuration in the words of 2.1."""
        return self.version[:2] >= PLUGINS_SINCE and self.plugins is not None


def installed_program() -> Program:
    """Returns the mosquitto of this machine.

    Raises:
        RuntimeError: there is none, or it does not say its version; the message is one line with the way out.
    """
    path = find_mosquitto()
    if path is None:
        raise RuntimeError("mosquitto is not installed: `apt install mosquitto`")
    try:
        said = run([path, "-h"], timeout_s=VERSION_TIMEOUT_S).text
    except OSError as error:
        raise RuntimeError(f"{path} does not run: {error}") from None
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", said)
    if found is None:
        raise RuntimeError(f"{path} does not say which version of mosquitto it is")
    folders = [Path(folder, below) for folder in _LIBRARY_FOLDERS for below in _SUBFOLDERS]
    plugins = next((folder for folder in folders if (folder / "mosquitto_acl_file.so").exists()), None)
    return Program(path, (int(found[1]), int(found[2]), int(found[3])), plugins)


@final
@dataclass(frozen=True, slots=True)
class MosquittoConfig:
    """Everything mosquitto.conf says. The names of files are those of `broker.mosquitto_files`, all in `folder`.

    persistent: keeps sessions and retained messages over a restart, which a reload of the revocation list is.
    stays_root: started by root it would become another user, and a child that does is no longer ended with its parent.
    """

    folder: Path
    listeners: Listeners
    program: Program
    limits: Limits = Limits()
    persistent: bool = True
    stays_root: bool = field(default_factory=lambda: os.geteuid() == 0)

    def text(self) -> str:
        """Returns the file."""
        return "\n".join([*self._general(), *self._plugins(), *self._listeners()]) + "\n"

    def _general(self) -> Iterator[str]:
        limits = self.limits
        yield "# Made by moamesh; changes here are lost."
        if not self.program.uses_plugins:
            yield "per_listener_settings true"
        if self.stays_root:
            yield "user root"
        yield "# Without it a small message waits up to 44 ms for the acknowledgement of the one before."
        yield "set_tcp_nodelay true"
        yield f"max_packet_size {limits.packet_bytes_max}"
        yield f"max_queued_messages {limits.queued_messages_max}"
        yield f"max_queued_bytes {limits.queued_bytes_max}"
        yield f"max_inflight_messages {limits.in_flight_max}"
        yield "persistent_client_expiration 1d"
        yield f"persistence {'true' if self.persistent else 'false'}"
        if self.persistent:
            yield f"persistence_location {self.folder}/"
            yield "# Often enough that little is lost, rarely enough for a memory card; a clean stop saves all."
            yield "autosave_interval 300"
        if self.listeners.web is not None:
            yield f"websockets_headers_size {WEB_HEADER_BYTES_MAX}"
        yield "connection_messages false"
        yield "sys_interval 0"
        yield "log_dest stderr"
        yield "log_type error"
        yield "log_type warning"

    def _plugins(self) -> Iterator[str]:
        """2.1 loads each access file as a plugin under a name, and a listener uses it by that name."""
        if not self.program.uses_plugins:
            return
        has = self.listeners
        yield from self._load("devices_acl", "acl_file", "devices.acl")
        if has.passwords is not None or has.web is not None:
            yield from self._load("people_acl", "acl_file", "people.acl")
            yield from self._load("people_passwords", "password_file", "passwords")
        if has.plain is not None:
            yield from self._load("local_acl", "acl_file", LOCAL_ACL)
            yield from self._load("local_passwords", "password_file", LOCAL_PASSWORDS)

    def _load(self, name: str, kind: str, file: str) -> Iterator[str]:
        yield f"plugin_load {name} {self.program.plugins}/mosquitto_{kind}.so"
        yield f"plugin_opt_{kind} {self.folder}/{file}"

    def _listeners(self) -> Iterator[str]:
        has = self.listeners
        yield from self._listener(
            "devices and the operator: mutual TLS, the certificate's name is the user", has.devices
        )
        yield from self._tls()
        yield f"cafile {self.folder}/ca.pem"
        yield f"crlfile {self.folder}/crl.pem"
        yield "require_certificate true"
        yield "use_identity_as_username true"
        yield from self._access("devices.acl")
        if has.passwords is not None:
            yield from self._listener("users and claims: TLS and a password", has.passwords)
            yield from self._tls()
            yield from self._access("people.acl", "passwords")
        if has.web is not None:
            yield from self._listener("users in a browser: WebSockets over TLS, and a password", has.web)
            if isinstance(address_of(self.listeners.host), IPv4Address):
                yield "# Without it mosquitto 2.0 listens for WebSockets on every interface whatever the address says."
                yield "socket_domain ipv4"
            yield "protocol websockets"
            yield from self._tls()
            yield from self._access("people.acl", "passwords")
        if has.plain is not None:
            yield from self._listener("who is on this very device", has.plain, "127.0.0.1")
            yield from self._access(LOCAL_ACL, LOCAL_PASSWORDS)

    def _listener(self, why: str, port: int, host: str | None = None) -> Iterator[str]:
        where = self.listeners.host if host is None else host
        yield ""
        yield f"# {why}"
        yield f"listener {port} {where}".rstrip()
        yield f"max_connections {self.limits.connections_max}"

    def _tls(self) -> Iterator[str]:
        yield f"certfile {self.folder}/server.pem"
        yield f"keyfile {self.folder}/server.key"
        yield "tls_version tlsv1.2"

    def _access(self, acl: str, passwords: str = "") -> Iterator[str]:
        if not self.program.uses_plugins:
            yield "allow_anonymous false"
            yield f"acl_file {self.folder}/{acl}"
            if passwords:
                yield f"password_file {self.folder}/{passwords}"
            return
        yield "listener_allow_anonymous false"
        yield f"plugin_use {acl.removesuffix('.acl')}_acl"
        if passwords:
            yield f"plugin_use {'local' if passwords == LOCAL_PASSWORDS else 'people'}_passwords"


def mosquitto_command(program: Program, folder: Path) -> list[str]:
    """Returns how to start it."""
    return [shutil.which(program.path) or program.path, "-c", str(folder / "mosquitto.conf")]
