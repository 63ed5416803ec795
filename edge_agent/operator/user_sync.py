"""Brings users to devices that run a broker of their own: as a signed job at each device's broker."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from edge_agent.operator.jobs import hand_out, open_job_store
from provisioning.errors import ProvisioningError
from provisioning.job_store import ASKED, JobStore
from provisioning.jobs import ARGUMENTS_MAX, Action, Job, JobState
from provisioning.mesh import MeshFolder
from provisioning.mqtt_link import check_url
from provisioning.records import DeviceState, UserRow

WAIT_S = 10.0  # a device that is there takes it within a second; the one that is not gets it from `mesh serve`


async def bring_users(mesh: MeshFolder, devices: Sequence[str], *, wait_s: float = WAIT_S) -> str:
    """Tells devices with a broker of their own who may use them now, and nobody else; waits until they have it.

    Returns what is still to be done, "" if nothing.

    Raises:
        ProvisioningError: a device has too many users, or the mesh's files can't be used.
    """
    if not devices:
        return ""
    with mesh.inventory() as inventory:
        users = inventory.users()
        active = {row.device_id for row in inventory.devices() if row.state is DeviceState.ACTIVE}
    with contextlib.closing(open_job_store(mesh)) as job_store:
        jobs = [_ask(job_store, device, hashes_for(device, users)) for device in devices if device in active]
        if jobs:
            await hand_out(mesh, job_store, jobs, broker_urls=mesh.settings.brokers, wait_s=wait_s)
        return "; ".join(filter(None, (_still(job_store, job) for job in jobs)))


def touched(mesh: MeshFolder, devices: Sequence[str] | None, before: Sequence[str] | None) -> list[str]:
    """Returns the devices with brokers of their own that must hear of a user who has these devices, and had those;
    `None` is all of them."""
    own = mesh.settings.own_brokers
    return sorted(own if devices is None or before is None else own.keys() & {*devices, *before})


def remember_broker(mesh: MeshFolder, device: str, url: str) -> None:
    """Writes down that a device runs a broker of its own, and where.

    Raises:
        ProvisioningError: there is no such device, the URL is none, or speaks no TLS.
    """
    with mesh.inventory() as inventory:
        inventory.device(device)
    if not check_url(url)[2]:
        raise ProvisioningError(f"{url}: a device's own broker must use TLS (mqtts://)")
    mesh.settings = replace(mesh.settings, own_brokers={**mesh.settings.own_brokers, device: url})
    mesh.save()


def hashes_for(device: str, users: Sequence[UserRow]) -> dict[str, str]:
    """Returns the password hashes of those users who may use a device.

    Raises:
        ProvisioningError: they are more than one job holds.
    """
    hashes = {user.name: user.password_hash for user in users if user.devices is None or device in user.devices}
    if len(hashes) > ARGUMENTS_MAX:
        raise ProvisioningError(f"{device} has a broker of its own and takes {ARGUMENTS_MAX} users, not {len(hashes)}")
    return hashes


def _ask(job_store: JobStore, device: str, hashes: dict[str, str]) -> Job:
    for row in job_store.rows(device):
        if row.job.action is Action.USERS and row.state == ASKED:
            job_store.cancel(row.job.job_id)  # what is asked now replaces it
    return job_store.ask(device, Action.USERS, dict(hashes))


def _still(job_store: JobStore, job: Job) -> str:
    row = job_store.find(job.job_id)
    if row is None or row.state == JobState.DONE:
        return ""
    if row.ended:
        return f"{job.device_id} did not accept its users: {row.detail}"
    return f"{job.device_id} has not been told yet: run `moamesh mesh serve`, or `moamesh user sync` again"
