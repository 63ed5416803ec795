"""Runs the operator's services at every broker: claims, renewals, revocations and jobs.

A device with a broker of its own is reached there and nowhere else, so what an operator does has to go to each of these
brokers as well as to the shared one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence

from edge_agent.operator.jobs import job_service, open_job_store, operator_connect
from edge_agent.tasks import TaskSupervisor
from provisioning.authority import MeshAuthority
from provisioning.certificates import RENEWAL_MARGIN
from provisioning.errors import ProvisioningError
from provisioning.inventory import Inventory
from provisioning.job_store import JobStore
from provisioning.mesh import MeshFolder
from provisioning.records import DeviceState
from provisioning.registrar import Registrar
from provisioning.service import RegistrarService, operator_due

_log = logging.getLogger(__name__)

FOLLOW_S = 2.0  # how soon a device that got a broker of its own is served there; reading the settings is one small file


async def serve_mesh(mesh: MeshFolder, authority: MeshAuthority, broker_urls: Sequence[str]) -> None:
    """Answers for `mesh` at one of these brokers, which are one, and at every device's own, until it is cancelled.

    What it does is logged, a line each. A service that fails in a way nobody foresaw is logged and begun again.

    Raises:
        ProvisioningError: a URL is none, or the mesh's files can't be used.
    """
    if operator_due(mesh, time.time(), RENEWAL_MARGIN.total_seconds()):
        mesh.renew_operator(authority)
    supervisor = TaskSupervisor(f"mesh {mesh.name}")
    with mesh.inventory() as inventory, contextlib.closing(open_job_store(mesh)) as job_store:
        mesh.enter_known(inventory)
        mesh.list_revoked(inventory, authority)  # should a revocation have been cut off
        registrar = Registrar(authority, inventory)
        connect = operator_connect(mesh, broker_urls, "service")
        shared = RegistrarService(mesh, registrar, inventory, connect, where=", ".join(broker_urls))
        # To everybody: who has moved to a broker of its own, or back, is asked at the wrong place once and is harmed
        # by nothing.
        jobs = job_service(mesh, job_store, broker_urls)
        own = OwnBrokers(mesh, registrar, inventory, job_store)
        try:
            supervisor.keep("claims and renewals", shared.run)
            supervisor.keep("jobs", jobs.run)
            supervisor.keep("own brokers", own.run)
            await asyncio.Event().wait()
        finally:
            await supervisor.stop()


class OwnBrokers:
    """Serves each device that runs a broker of its own, at that broker; follows the mesh's settings."""

    def __init__(self, mesh: MeshFolder, registrar: Registrar, inventory: Inventory, job_store: JobStore) -> None:
        self._mesh = mesh
        self._registrar = registrar
        self._inventory = inventory
        self._job_store = job_store
        self._running: dict[str, tuple[str, TaskSupervisor]] = {}

    async def run(self) -> None:
        """Works until it is cancelled."""
        try:
            while True:
                try:
                    await self._follow(self._wanted())
                except ProvisioningError as error:
                    _log.error("%s", error)
                await asyncio.sleep(FOLLOW_S)
        finally:
            await self._follow({})

    def _wanted(self) -> dict[str, str]:
        """Who is to be served where. A device that is no member any more is not asked again."""
        active = {row.device_id for row in self._inventory.devices() if row.state is DeviceState.ACTIVE}
        known = MeshFolder.open(self._mesh.folder).settings.own_brokers
        return {device: url for device, url in known.items() if device in active}

    async def _follow(self, wanted: Mapping[str, str]) -> None:
        gone = [device for device, (url, _) in self._running.items() if wanted.get(device) != url]
        for device in gone:
            await self._running.pop(device)[1].stop()
        for device, url in wanted.items():
            if device not in self._running:
                self._running[device] = url, self._serve(device, url)

    def _serve(self, device: str, url: str) -> TaskSupervisor:
        connect = operator_connect(self._mesh, [url], f"service-{device}", broker_of=device)
        registrar = RegistrarService(
            self._mesh, self._registrar, self._inventory, connect, where=f"{device}'s own broker, {url}", home=device
        )
        jobs = job_service(self._mesh, self._job_store, [url], device)
        supervisor = TaskSupervisor(f"mesh {self._mesh.name} at {device}'s own broker")
        supervisor.keep("renewals and revocations", registrar.run)
        supervisor.keep("jobs", jobs.run)
        return supervisor
