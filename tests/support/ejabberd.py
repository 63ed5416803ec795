"""An ejabberd cluster of two nodes on this host, each on a loopback address of its own."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from broker.ejabberd import EjabberdNode, NodeSettings, new_cookie
from broker.mosquitto_config import Limits, Listeners
from broker.mosquitto_files import ServerFiles
from broker.probe_client import Endpoint
from tests.conftest import missing
from tests.support.ports import free_ports
from tests.support.secured import SecuredMesh

HOSTS = ("127.0.0.2", "127.0.0.3")


class Cluster:
    """Two nodes that know each other's names. `start`, `stop` and `kill` one by one, or use `running_cluster`."""

    def __init__(self, mesh: SecuredMesh, folder: Path) -> None:
        if shutil.which("ejabberdctl") is None:
            missing("ejabberd is not installed: `apt install ejabberd` as root on Debian")
        self.mesh = mesh
        self.revoked: tuple[str, ...] = ()
        server = mesh.authority.issue_broker(["localhost", *HOSTS])
        certificate, key, cookie = folder / "node.pem", folder / "node.key", folder / "cookie"
        certificate.write_bytes(server.certificate_pem)
        for file, content in ((key, server.key_pem), (cookie, new_cookie().encode())):
            file.touch(mode=0o600)
            file.write_bytes(content)
        files = ServerFiles(certificate, key, mesh.ca, mesh.crl)
        device_port, password_port, node_port = free_ports(3)
        names = [f"node{number}@{host}" for number, host in enumerate(HOSTS, 1)]
        first = NodeSettings(
            folder / "node1",
            names[0],
            mesh.name,
            Listeners(HOSTS[0], device_port, password_port, None),
            files,
            cookie,
            (names[1],),
            node_port,
            Limits(),
        )
        second = replace(
            first,
            folder=folder / "node2",
            name=names[1],
            listeners=replace(first.listeners, host=HOSTS[1]),
            peers=(names[0],),
        )
        self.nodes = [EjabberdNode(one, lambda: mesh.people, lambda: self.revoked) for one in (first, second)]
        self.device_port, self.password_port = device_port, password_port

    @property
    def urls(self) -> list[str]:
        """Where devices connect."""
        return [f"mqtts://{host}:{self.device_port}" for host in HOSTS]

    def endpoint(self, node: int) -> Endpoint:
        """Where devices connect to one node."""
        return Endpoint(HOSTS[node], self.device_port, self.mesh.ca)

    def password_endpoint(self, node: int) -> Endpoint:
        """Where users connect to one node."""
        return Endpoint(HOSTS[node], self.password_port, self.mesh.ca)


@contextlib.asynccontextmanager
async def running_cluster(mesh: SecuredMesh, folder: Path, nodes: int = 2) -> AsyncIterator[Cluster]:
    """Both nodes, joined, or the first alone: a node takes three seconds of computing to start."""
    cluster = Cluster(mesh, folder)
    try:
        for node in cluster.nodes[:nodes]:
            await node.start()
        yield cluster
    finally:
        for node in cluster.nodes[:nodes]:
            await node.stop()
