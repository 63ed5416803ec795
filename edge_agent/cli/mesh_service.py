"""Runs the operator's services for `moamesh mesh serve`: claims and renewals, and jobs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Container, Mapping

from edge_agent.cli.job_run import job_service, open_desk
from edge_agent.wire.topics import OPERATOR_ID
from provisioning.authority import MeshAuthority
from provisioning.certificates import RENEWAL_MARGIN
from provisioning.errors import ProvisioningError
from provisioning.job_desk import JobDesk
from provisioning.mesh import MeshFolder
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from provisioning.registrar import Registrar
from provisioning.service import RegistrarService, operator_due

_log = logging.getLogger(__name__)

FOLLOW_S = 2.0  # how soon a device that got a broker of its own is served there; reading the settings is one small file


async def serve_mesh(mesh: MeshFolder, authority: MeshAuthority, broker_url: str) -> None:
    """Answers for `mesh` at one broker until it is cancelled; what it does is logged to stderr, a line each.

    Raises:
        ProvisioningError: the URL is none, or the mesh's files can't be used.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if operator_due(mesh, time.time(), RENEWAL_MARGIN.total_seconds()):
        mesh.renew_operator(authority)
    access = BrokerAccess(broker_url, OPERATOR_ID, mesh.ca_file, mesh.operator_certificate, mesh.operator_key)
    with mesh.inventory() as inventory:
        mesh.list_revoked(inventory, authority)  # should a revocation have been cut off
        service = RegistrarService(mesh, Registrar(authority, inventory), inventory, mqtt_connect(access))
        with contextlib.closing(open_desk(mesh)) as desk:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(service.run())
                own = OwnBrokers(mesh, desk)
                tasks.create_task(job_service(mesh, desk, broker_url, own.others).run())
                tasks.create_task(own.run())


class OwnBrokers:
    """Hands jobs to devices that run a broker of their own, at each of these; follows the mesh's settings."""

    def __init__(self, mesh: MeshFolder, desk: JobDesk) -> None:
        self._mesh = mesh
        self._desk = desk
        self._running: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self.others = _Others(self._running)
        """Every other device: whom to hand jobs to at the shared broker."""

    async def run(self) -> None:
        """Works until it is cancelled."""
        try:
            while True:
                try:
                    await self._follow(MeshFolder.open(self._mesh.folder).settings.own_brokers)
                except ProvisioningError as error:
                    _log.error("%s", error)
                await asyncio.sleep(FOLLOW_S)
        finally:
            await self._follow({})

    async def _follow(self, wanted: Mapping[str, str]) -> None:
        gone = [device for device, (url, _) in self._running.items() if wanted.get(device) != url]
        for device in gone:
            _, task = self._running.pop(device)
            task.cancel()
            await asyncio.wait([task])
        for device, url in wanted.items():
            if device not in self._running:
                serving = job_service(self._mesh, self._desk, url, [device]).run()
                self._running[device] = url, asyncio.create_task(serving, name=f"jobs of {device}")


class _Others:
    def __init__(self, own: Container[str]) -> None:
        self._own = own

    def __contains__(self, device: object) -> bool:
        return device not in self._own
