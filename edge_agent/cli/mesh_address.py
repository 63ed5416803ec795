"""Which mesh a command speaks to."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.cli.mesh_options import MeshOptions
from edge_agent.cli.own_client import own_client
from edge_agent.client import Access, MeshClient
from edge_agent.config.broker import read_password_file
from edge_agent.core.errors import SettingsError
from edge_agent.fleet.runs import find_running
from edge_agent.mqtt import TlsFiles
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


def make_access(given: MeshOptions) -> Access:
    """Returns what a command line says about getting in.

    Raises:
        SettingsError: options do not fit together, or a file is not there or damaged.
    """
    if (given.cert_file is None) != (given.key_file is None):
        raise SettingsError("--cert-file and --key-file belong together")
    if given.password_file is not None and given.username is None:
        raise SettingsError("--password-file needs --username")
    files = {name: getattr(given, name) for name in ("ca_file", "cert_file", "key_file", "crl_file")}
    for name, file in files.items():
        if file is not None and not file.is_file():
            raise SettingsError(f"--{name.replace('_', '-')} {file}: there is no such file")
    password = None
    if given.password_file is not None:
        password = read_password_file(given.password_file, "--password-file").get_secret_value()
    tls = TlsFiles(*(str(file) if file is not None else None for file in files.values()))
    try:
        client_context(tls.ca, tls.certificate, tls.key, tls.revoked)
    except TlsFileError as error:
        raise SettingsError(str(error)) from None
    return Access(given.username, password, tls, given.broker_of or "")


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
