"""A mesh's own broker: its listeners, its server certificate, its files."""

from __future__ import annotations

import datetime
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from broker.ejabberd import NodeSettings, new_cookie
from broker.mosquitto_config import WEB_PORT, Listeners, MosquittoConfig, Program, installed_program
from broker.mosquitto_files import BrokerFilesError, MosquittoFiles, ServerFiles
from edge_agent.children import ChildStartError
from edge_agent.core.errors import SettingsError
from edge_agent.operator.broker.people import broker_folder
from provisioning.authority import MeshAuthority, utc_now
from provisioning.certificates import hosts_of
from provisioning.device_names import device_hosts
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, read_file, read_if_there, write_atomically
from provisioning.mesh import MeshFolder
from provisioning.mqtt_link import check_url

RENEW_BEFORE = datetime.timedelta(days=60)
"""A server certificate that ends within this is made anew at the next start."""


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """What is wanted of a broker's listeners; `None` takes what the mesh's settings say."""

    host: str = ""
    port: int | None = None
    password_port: int | None = None
    web: bool = True
    web_port: int = WEB_PORT
    names: tuple[str, ...] = ()
    """Host names and addresses by which clients know it, beside those of the mesh's settings."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What goes wrong with brokers, as an error of one line."""
    try:
        yield
    except (BrokerFilesError, ChildStartError, RuntimeError, OSError, ValueError) as error:
        raise SettingsError(str(error)) from error


def listeners_of(mesh: MeshFolder, options: BrokerOptions) -> Listeners:
    """Returns the ports: those of the mesh's broker URLs, unless the options say others.

    Raises:
        ProvisioningError: a URL of the mesh is none.
    """
    device_port = options.port or check_url(mesh.settings.brokers[0])[1]
    password_port = options.password_port or check_url(mesh.settings.claim_broker)[1]
    return Listeners(options.host, device_port, password_port, options.web_port if options.web else None)


@one_line_errors()
def mosquitto_files(
    mesh: MeshFolder,
    options: BrokerOptions,
    server: ServerFiles,
    *,
    folder: Path | None = None,
    program: Program | None = None,
    stays_root: bool | None = None,
) -> MosquittoFiles:
    """Returns what writes the mesh's mosquitto folder.

    Raises:
        SettingsError: mosquitto is not installed, or an option is out of range.
    """
    config = MosquittoConfig(folder or broker_folder(mesh), listeners_of(mesh, options), program or installed_program())
    if stays_root is not None:
        config = MosquittoConfig(config.folder, config.listeners, config.program, stays_root=stays_root)
    return MosquittoFiles(config, mesh.name, server)


@one_line_errors()
def node_settings(
    mesh: MeshFolder,
    options: BrokerOptions,
    server: ServerFiles,
    node: str,
    peers: tuple[str, ...],
    node_port: int,
    cookie: Path | None,
) -> NodeSettings:
    """Returns a cluster node; the secret that nodes share is made in the mesh's folder unless a file is given.

    Raises:
        ProvisioningError: that file can't be read or written.
        SettingsError: a node's name is none.
    """
    path = cluster_secret(mesh, cookie)
    folder = broker_folder(mesh) / node.partition("@")[0]
    return NodeSettings(folder, node, mesh.name, listeners_of(mesh, options), server, path, peers, node_port)


def cluster_secret(mesh: MeshFolder, cookie: Path | None) -> Path:
    """Returns the file of the secret that a cluster's nodes share, made in the mesh's folder unless one is given.

    Raises:
        ProvisioningError: it can't be read or written, or is damaged.
    """
    path = cookie or mesh.folder / "cluster.cookie"
    if cookie is None and read_if_there(path) is None:
        write_atomically(path, new_cookie().encode(), PRIVATE)
    secret = read_file(path).strip()
    if not secret or not secret.isascii() or not secret.decode().isprintable():
        what = "is damaged" if secret else "is empty"
        raise ProvisioningError(
            f"{path} {what}: it must hold the secret that the cluster's nodes share; copy another node's"
        )
    return path


def server_files(mesh: MeshFolder, names: Sequence[str], authority: Callable[[], MeshAuthority]) -> ServerFiles:
    """Returns the broker's certificate and key, made anew where they no longer serve. Only then is the CA opened.

    names: host names and addresses by which clients know the broker, beside those of the mesh's settings.

    Raises:
        ProvisioningError: a name is none, or the mesh's files can't be used.
    """
    hosts = server_hosts(mesh, names)
    certificate, key = mesh.broker_certificate, mesh.broker_key
    if not (certificate.exists() and key.exists() and _serves(mesh, certificate, hosts)):
        mesh.renew_broker(authority(), hosts)
    return ServerFiles(certificate, key, mesh.ca_file, mesh.crl_file)


def server_hosts(mesh: MeshFolder, names: Sequence[str]) -> list[str]:
    """Returns the host names and addresses by which clients may know this machine: the mesh's, its own, and `names`.
    Its own are left out where a device has that name.

    Raises:
        SettingsError: a name is none.
        ProvisioningError: the mesh's files can't be used.
    """
    urls = (*mesh.settings.brokers, mesh.settings.claim_broker)
    for name in names:
        if re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", name) is None:
            raise SettingsError(f"a server's name must be a host name or an address, not {name[:80]!r}")
    own = socket.gethostname().lower()
    found = [*(check_url(url)[0] for url in urls), *names, "localhost", "127.0.0.1"]
    if own.replace("-", "").replace(".", "").isalnum() and own.isascii():
        with mesh.inventory() as inventory:
            taken = device_hosts(inventory, mesh.bundle())
        found += [host for host in (own, f"{own.partition('.')[0]}.local") if host not in taken]
    return list(dict.fromkeys(found))


def _serves(mesh: MeshFolder, path: Path, hosts: Sequence[str]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(read_file(path))
    except ValueError:
        return False
    with mesh.inventory() as inventory:
        row = inventory.certificate(certificate.serial_number)
    in_time = certificate.not_valid_after_utc - utc_now() > RENEW_BEFORE
    known = set(hosts_of(certificate))
    good = row is None or not row.revoked
    return good and in_time and set(hosts) <= known and mesh.bundle().issuer_of(certificate) is not None
