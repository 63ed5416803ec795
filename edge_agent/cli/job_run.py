"""Asks devices for jobs and shows how far they are, for `moamesh job`."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Container, Mapping, Sequence

from rich.live import Live

from edge_agent.cli.terminal import console
from edge_agent.cli.views.jobs import jobs_table
from edge_agent.wire.topics import OPERATOR_ID
from provisioning.errors import ProvisioningError
from provisioning.files import read_file
from provisioning.job_desk import JobDesk, JobRow
from provisioning.job_service import JobService
from provisioning.jobs import Action, Value
from provisioning.mesh import MeshFolder
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from provisioning.records import DeviceState

POLL_S = 0.2


def open_desk(mesh: MeshFolder) -> JobDesk:
    """Opens the operator's jobs of a mesh; the caller closes them.

    Raises:
        ProvisioningError: the operator's certificate cannot be read.
    """
    operator = (read_file(mesh.operator_certificate), read_file(mesh.operator_key))
    return JobDesk(mesh.folder / "jobs.sqlite3", mesh.name, operator)


def job_service(mesh: MeshFolder, desk: JobDesk, broker_url: str, devices: Container[str] | None = None) -> JobService:
    """Returns what hands the jobs out at a broker.

    Raises:
        ProvisioningError: the URL is none.
    """
    access = BrokerAccess(
        broker_url,
        f"{OPERATOR_ID}-jobs-{secrets.token_hex(4)}",  # several may run at once, beside `mesh serve`
        mesh.ca_file,
        mesh.operator_certificate,
        mesh.operator_key,
    )
    return JobService(mesh.name, desk, mqtt_connect(access), devices=devices)


def choose_devices(mesh: MeshFolder, names: Sequence[str], everybody: bool) -> list[str]:
    """Returns the devices that are meant.

    Raises:
        ProvisioningError: none is named, or one is no active member.
    """
    with mesh.inventory() as inventory:
        active = [row.device_id for row in inventory.devices() if row.state is DeviceState.ACTIVE]
    if everybody == bool(names):
        raise ProvisioningError("name devices, or give --all")
    if unknown := [name for name in names if name not in active]:
        raise ProvisioningError(f"{unknown[0]} is no active device of mesh {mesh.name}; see moamesh device list")
    if not active:
        raise ProvisioningError(f"mesh {mesh.name} has no active device yet; see moamesh device list")
    return list(dict.fromkeys(names)) or active


async def ask_and_watch(
    mesh: MeshFolder,
    desk: JobDesk,
    devices: Sequence[str],
    action: Action,
    arguments: Mapping[str, Value],
    *,
    broker_url: str,
    wait_s: float,
    show: bool,
) -> list[JobRow]:
    """Records one job for each device, and waits up to `wait_s` for all to end, with a live table if `show`."""
    jobs = [desk.ask(device_id, action, dict(arguments)) for device_id in devices]

    def rows() -> list[JobRow]:
        return [row for row in (desk.find(job.job_id) for job in jobs) if row is not None]

    if wait_s <= 0:
        return rows()
    service = job_service(mesh, desk, broker_url, devices)
    running = asyncio.create_task(service.run())
    live = Live(jobs_table(rows()), console=console(), refresh_per_second=4) if show else contextlib.nullcontext()
    try:
        with live, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while not all(row.ended for row in rows()):
                    await asyncio.sleep(POLL_S)
                    if isinstance(live, Live):
                        live.update(jobs_table(rows()))
        if isinstance(live, Live):
            live.update(jobs_table(rows()), refresh=True)
    finally:
        running.cancel()
        await asyncio.wait([running])
    if service.problem and not any(row.told_at for row in rows()):
        raise ProvisioningError(f"{service.problem}; the jobs are kept, and handed out by: moamesh mesh serve")
    return rows()
