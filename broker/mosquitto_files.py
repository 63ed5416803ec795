"""The folder that one mosquitto runs from: configuration, access files, and its own copies of certificates.

Everything it needs lies there, so the folder can be taken to another machine, and a half-written file elsewhere does
not matter. Each file is replaced as a whole.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import final

from broker.access import People
from broker.kinds import PASSWORDS, PEOPLE_ACL
from broker.local_login import LocalLogin
from broker.mosquitto_acl import certificate_acl, loopback_acl, password_acl, password_file
from broker.mosquitto_config import LOCAL_ACL, LOCAL_PASSWORDS, MosquittoConfig
from edge_agent.files import PRIVATE, read_file, reason, write_atomically
from edge_agent.tls import TlsFileError, check_authorities, check_revocations, load_identity
from edge_agent.wire.topics import ANY, CLAIM_LOGIN, check_id

PEM_BYTES_MAX = 4 * 1024 * 1024  # a revocation list of tens of thousands of devices; beyond it something is wrong

CONFIG = "mosquitto.conf"
_CLAIMS = CLAIM_LOGIN.encode()
CRL = "crl.pem"


class BrokerFilesError(Exception):
    """A file is missing or is not what it should be. The message is one line."""


class HalfWrittenError(OSError):
    """The disk failed between two files: the next look sees only the rest as changed."""


class Change(IntEnum):
    """What a running mosquitto must do about new files; the greater includes the smaller."""

    NOTHING = 0
    RELOAD = 1
    """Read access and password files again (SIGHUP)."""
    RESTART = 2
    """End and start again: a reload leaves the live sessions of who was shut out."""


@final
@dataclass(frozen=True, slots=True)
class ServerFiles:
    """PEM files of a broker: its own certificate and key, whom it trusts, and who is revoked."""

    certificate: Path
    key: Path
    ca: Path
    crl: Path

    def read(self) -> dict[str, bytes]:
        """Returns the contents by the names that they have in the broker's folder.

        Raises:
            BrokerFilesError: one is missing, too large, or not what its name says.
        """
        found = {
            "server.pem": _read(self.certificate, b"-----BEGIN CERTIFICATE-----", "a certificate"),
            "server.key": _read(self.key, b"PRIVATE KEY-----", "a private key"),
            "ca.pem": _read(self.ca, b"-----BEGIN CERTIFICATE-----", "a certificate"),
            CRL: _read(self.crl, b"-----BEGIN X509 CRL-----", "a revocation list"),
        }
        try:
            load_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.certificate, self.key)
            check_authorities(self.ca)
        except TlsFileError as error:
            raise BrokerFilesError(str(error)) from None
        check_crl(self.crl)
        return found


def check_crl(path: Path) -> None:
    """Makes sure that a revocation list can be read: with a broken one the broker would not start any more.

    Raises:
        BrokerFilesError: it cannot.
    """
    try:
        check_revocations(path)
    except TlsFileError as error:
        raise BrokerFilesError(str(error)) from None


@final
@dataclass(frozen=True, slots=True)
class MosquittoFiles:
    """Writes the folder.

    home: the device whose own broker it is, or `ANY` for one that all share.
    local: who comes by the listener on loopback besides the users.
    """

    config: MosquittoConfig
    mesh: str
    server: ServerFiles
    home: str = ANY
    local: LocalLogin | None = None

    def __post_init__(self) -> None:
        check_id(self.mesh, "mesh")
        if self.home != ANY:
            check_id(self.home, "device")

    def write(self, people: People, into: Path | None = None) -> Change:
        """Writes what differs from what is there, and returns what a running broker must do about it.

        `into` writes it elsewhere, to be taken to the folder that the configuration names.

        Raises:
            BrokerFilesError: a certificate file is missing or broken, or the port that new users need is taken; nothing
                was written.
            ValueError: a password hash is none; nothing was written.
            OSError: the folder cannot be written.
        """
        folder = into or self.config.folder
        contents = {**self.server.read(), **{name: text.encode() for name, text in self._texts(people).items()}}
        self._check_new_ports(folder, contents[CONFIG].decode())
        return write_folder(folder, contents, lambda name: name.endswith(".acl"))

    def _texts(self, people: People) -> dict[str, str]:
        config = self.config
        if self.home != ANY and not people.logins:  # a device opens no door that nobody can come in by
            config = replace(config, listeners=replace(config.listeners, passwords=None, web=None))
        devices = certificate_acl(self.mesh, self.home, home_assistant=people.home_assistant)
        texts = {CONFIG: config.text(), "devices.acl": devices}
        listeners = config.listeners
        if listeners.passwords is not None or listeners.web is not None:
            texts[PEOPLE_ACL] = password_acl(self.mesh, people, self.home)
            texts[PASSWORDS] = password_file(people)
        if listeners.plain is not None:
            texts[LOCAL_ACL] = loopback_acl(self.mesh, people, self.home)
            texts[LOCAL_PASSWORDS] = password_file(people)
            if self.local is not None:
                texts[LOCAL_PASSWORDS] += f"{self.local.login}:{self.local.password_hash}\n"
        return texts

    def _check_new_ports(self, folder: Path, text: str) -> None:
        """A device's broker that could not open a door for new users would be down for everybody."""
        before = _content(folder / CONFIG)
        if self.home == ANY or before is None:
            return
        listeners = self.config.listeners
        for port in (listeners.passwords, listeners.web):
            line = f"listener {port} {listeners.host}".rstrip()
            if port is not None and line in text.splitlines() and line not in before.decode().splitlines():
                _check_free(port)


def write_folder(folder: Path, contents: Mapping[str, bytes], reloads: Callable[[str], bool]) -> Change:
    """Writes what differs, and returns what that means for a broker that runs from the folder.

    `reloads` says which files a running broker can read again. Everything else needs a restart, but for passwords:
    there it depends on whether a user is gone, who must lose the live session too. A used claim may keep its own: once
    the rules are read again it has no rights, and newcomers should not cut off a mesh's members.

    Raises:
        HalfWrittenError: some of the files are written, others are not.
        OSError: the folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = {name: _content(folder / name) for name in contents}
    changed = {name for name, content in contents.items() if before[name] != content}
    for count, name in enumerate(sorted(changed)):
        try:
            write_atomically(folder / name, contents[name], PRIVATE)  # some hold keys, none concerns others
        except OSError as error:
            if count:
                raise HalfWrittenError(error.errno, error.strerror, error.filename) from error
            raise
    if not changed:
        return Change.NOTHING
    if any(name not in (PASSWORDS, LOCAL_PASSWORDS) and not reloads(name) for name in changed):
        return Change.RESTART
    gone = {
        line
        for name in (PASSWORDS, LOCAL_PASSWORDS)
        for line in set((before.get(name) or b"").splitlines()) - set(contents.get(name, b"").splitlines())
    }
    return Change.RESTART if any(not line.startswith(_CLAIMS) for line in gone) else Change.RELOAD


def _check_free(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are over do not count
        try:
            probe.bind(("", port))
        except OSError:
            raise BrokerFilesError(f"port {port} is taken, so users cannot connect there") from None


def _read(path: Path, mark: bytes, what: str) -> bytes:
    try:
        content = read_file(path, PEM_BYTES_MAX)
    except OSError as error:
        raise BrokerFilesError(f"cannot read {path}: {reason(error)}") from None
    if mark not in content:
        raise BrokerFilesError(f"{path} is not {what} in PEM form")
    return content


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
