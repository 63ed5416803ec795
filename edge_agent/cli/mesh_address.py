"""Which mesh a command speaks to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.adapters.mqtt import TlsFiles
from edge_agent.cli.own_client import own_client
from edge_agent.client import Access, MeshClient
from edge_agent.config.broker import read_password_file
from edge_agent.core.errors import SettingsError
from edge_agent.fleet.runs import find_running
from edge_agent.tls import TlsFileError, client_context

DEFAULT_MESH = "home"


@dataclass(frozen=True, slots=True)
class MeshAddress:
    """A broker, the name of a mesh on it, and how to get in."""

    broker: str
    mesh: str
    access: Access = field(default_factory=Access)

    def client(self) -> MeshClient:
        """Returns a client for it, not connected yet."""
        client_id = self.access.client or own_client()
        return MeshClient(self.broker, self.mesh, client_id, access=self.access)


def make_access(
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    username: str | None,
    password_file: Path | None,
    broker_of: str | None,
) -> Access:
    """Returns what a command line says about getting in.

    Raises:
        SettingsError: options do not fit together, or a file is not there.
    """
    if (cert_file is None) != (key_file is None):
        raise SettingsError("--cert-file and --key-file belong together")
    if password_file is not None and username is None:
        raise SettingsError("--password-file needs --username")
    for option, file in (("--ca-file", ca_file), ("--cert-file", cert_file), ("--key-file", key_file)):
        if file is not None and not file.is_file():
            raise SettingsError(f"{option} {file}: there is no such file")
    password = read_password_file(password_file, "--password-file") if password_file is not None else None
    tls = TlsFiles(*(str(file) if file is not None else None for file in (ca_file, cert_file, key_file)))
    try:
        client_context(tls.ca, tls.certificate, tls.key, None)
    except TlsFileError as error:
        raise SettingsError(str(error)) from None
    return Access(username, password.get_secret_value() if password else None, tls, broker_of or "")


def options_again(
    broker: str | None,
    mesh: str | None,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    username: str | None,
    password_file: Path | None,
    broker_of: str | None,
) -> tuple[str, ...]:
    """Returns what was given of these as words of another command line to the same mesh, wherever it was given."""
    given = {
        "--broker": broker,
        "--mesh": mesh,
        "--ca-file": ca_file,
        "--cert-file": cert_file,
        "--key-file": key_file,
        "--username": username,
        "--password-file": password_file,
        "--broker-of": broker_of,
    }
    return tuple(word for option, value in given.items() if value is not None for word in (option, str(value)))


def find_mesh(broker: str | None, mesh: str | None, access: Access | None = None) -> MeshAddress:
    """Returns what was asked for, or the local mesh that is running, which needs no `access`.

    Raises:
        SettingsError: no broker was named and no local mesh is running.
    """
    if broker is not None:
        return MeshAddress(broker, mesh or DEFAULT_MESH, access or Access())
    running = find_running()
    if running is None:
        raise SettingsError("no local mesh is running: start one with `moamesh up`, or name a broker with --broker URL")
    return MeshAddress(running.broker, mesh or running.mesh)
