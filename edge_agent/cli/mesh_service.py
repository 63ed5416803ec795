"""Runs the operator's services for `moamesh mesh serve`: claims and renewals, and jobs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time

from edge_agent.cli.job_run import job_service, open_desk
from edge_agent.wire.topics import OPERATOR_ID
from provisioning.authority import MeshAuthority
from provisioning.certificates import RENEWAL_MARGIN
from provisioning.mesh import MeshFolder
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from provisioning.registrar import Registrar
from provisioning.service import RegistrarService, operator_due


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
                tasks.create_task(job_service(mesh, desk, broker_url, _Others(mesh)).run())
                for device, url in mesh.settings.own_brokers.items():
                    tasks.create_task(job_service(mesh, desk, url, [device]).run())


class _Others:
    """The devices without a broker of their own: whom to hand jobs to at the shared one."""

    def __init__(self, mesh: MeshFolder) -> None:
        self._own = mesh.settings.own_brokers

    def __contains__(self, device: object) -> bool:
        return device not in self._own
