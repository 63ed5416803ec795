"""Jobs for devices, asked for at every broker where they are to be found: settings, models, restarts, upgrades."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from edge_agent.tasks import together, unless
from edge_agent.tls import TlsFileError, load_identity
from edge_agent.wire.topics import OPERATOR_ID
from provisioning.errors import ProvisioningError
from provisioning.job_service import JobService
from provisioning.job_store import JobRow, JobStore
from provisioning.jobs import Action, Job, Value
from provisioning.link import Connect, Link
from provisioning.mesh import MeshFolder
from provisioning.mqtt_link import BrokerAccess, check_url, mqtt_connect
from provisioning.records import DeviceState

POLL_S = 0.1  # of the job store's file, while somebody waits

OnRows = Callable[[list[JobRow]], None]


def _unwatched(_rows: list[JobRow]) -> None:
    """For those who only wait."""


def open_job_store(mesh: MeshFolder) -> JobStore:
    """Opens the operator's jobs of a mesh; the caller closes them.

    Raises:
        ProvisioningError: the operator's certificate cannot be read.
    """
    try:
        load_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), mesh.operator_certificate, mesh.operator_key)
    except TlsFileError as error:
        raise ProvisioningError(f"{error}; put a copy back") from None
    return JobStore(mesh.folder / "jobs.sqlite3", mesh.name, mesh.operator.read)


def operator_connect(mesh: MeshFolder, broker_urls: Sequence[str], what: str, *, broker_of: str = "") -> Connect:
    """Returns what connects the operator, for `what`, to one of these brokers, which are one, or to the own one of a
    device: with each call in the next way, so that an address that is gone keeps nobody from those that are there.

    Raises:
        ProvisioningError: a URL is none.
    """
    for url in broker_urls:
        check_url(url)
    turn = itertools.count()

    def connect() -> AbstractAsyncContextManager[Link]:
        ways = [(files, url) for files in mesh.operator.identities() for url in broker_urls]
        (certificate, key), url = ways[next(turn) % len(ways)]
        # A stolen device may still run its broker, and who stole a broker's key another one.
        name = f"{mesh.name}.{OPERATOR_ID}-{what}"
        access = BrokerAccess(url, name, mesh.ca_file, certificate, key, crl_file=mesh.crl_file)
        return mqtt_connect(replace(access, broker_of=broker_of))()

    return connect


def job_service(
    mesh: MeshFolder,
    job_store: JobStore,
    broker_urls: Sequence[str],
    home: str = "",
    devices: Container[str] | None = None,
) -> JobService:
    """Returns what hands the jobs out at a broker.

    home: the device whose own broker it is; then it is the only one that is asked there.
    devices: whom to ask where all share the broker; everybody by default.

    Raises:
        ProvisioningError: a URL is none.
    """
    connect = operator_connect(mesh, broker_urls, "jobs", broker_of=home)
    return JobService(mesh.name, job_store, connect, devices=[home] if home else devices)


def job_services(
    mesh: MeshFolder, job_store: JobStore, devices: Sequence[str], broker_urls: Sequence[str]
) -> list[JobService]:
    """Returns what hands jobs to these devices: to each at its own broker, where it has one, else at the shared one.

    Raises:
        ProvisioningError: a URL is none.
    """
    own = {device: url for device, url in mesh.settings.own_brokers.items() if device in devices}
    others = [device for device in devices if device not in own]
    services = [job_service(mesh, job_store, [url], device) for device, url in own.items()]
    return services + ([job_service(mesh, job_store, broker_urls, devices=others)] if others else [])


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
        raise ProvisioningError(f"{unknown[0]} is not an active device of mesh {mesh.name}; see moamesh device list")
    if not active:
        raise ProvisioningError(f"mesh {mesh.name} has no active device yet; see moamesh device list")
    return list(dict.fromkeys(names)) or active


async def ask_and_watch(
    mesh: MeshFolder,
    job_store: JobStore,
    devices: Sequence[str],
    action: Action,
    arguments: Mapping[str, Value],
    *,
    broker_urls: Sequence[str],
    wait_s: float,
    on_rows: OnRows = _unwatched,
) -> list[JobRow]:
    """Records one job for each device, and waits up to `wait_s` seconds for all to end.

    Args:
        broker_urls: where the devices are that have no broker of their own.
        on_rows: told how far the jobs are, a few times a second.

    Raises:
        ProvisioningError: no broker of theirs could be reached in all that time, or the mesh's files can't be used.
    """
    jobs = [job_store.ask(device_id, action, dict(arguments)) for device_id in devices]
    problem = ""
    if wait_s > 0:
        problem = await hand_out(mesh, job_store, jobs, broker_urls=broker_urls, wait_s=wait_s, on_rows=on_rows)
    rows = rows_of(job_store, jobs)
    if problem and not any(row.told_at for row in rows):
        raise ProvisioningError(f"{problem}; the jobs are kept, and moamesh mesh serve delivers them")
    return rows


async def hand_out(
    mesh: MeshFolder,
    job_store: JobStore,
    jobs: Sequence[Job],
    *,
    broker_urls: Sequence[str],
    wait_s: float,
    on_rows: OnRows = _unwatched,
) -> str:
    """Hands jobs in the store to their devices until all have ended, for up to `wait_s` seconds; arguments as of
    `ask_and_watch`. Returns why a broker could not be reached in the end, "" if none was missed.

    Raises:
        ProvisioningError: a URL is none, or the mesh's files can't be used.
    """
    services = job_services(mesh, job_store, [job.device_id for job in jobs], broker_urls)

    async def until_ended() -> None:
        while not all(row.ended for row in rows_of(job_store, jobs)):
            on_rows(rows_of(job_store, jobs))
            await asyncio.sleep(POLL_S)

    with contextlib.suppress(TimeoutError):  # the store keeps them, and `mesh serve` goes on
        async with asyncio.timeout(wait_s):
            await unless(until_ended(), together(*(service.run() for service in services)))
    on_rows(rows_of(job_store, jobs))
    return next((service.problem for service in services if service.problem), "")


def rows_of(job_store: JobStore, jobs: Sequence[Job]) -> list[JobRow]:
    """Returns how far these jobs are; one that was cancelled meanwhile is left out."""
    return [row for row in (job_store.find(job.job_id) for job in jobs) if row is not None]
