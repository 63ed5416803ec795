"""The steward of a device that is a member of a mesh with certificates: its jobs and its identity."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from broker.people_file import USERS_FILE, PeopleFile
from edge_agent.config import AgentConfig
from edge_agent.management.actions import DeviceActions
from edge_agent.management.certificates import CertificateManager
from edge_agent.management.job_record import JobRecord
from edge_agent.management.jobs import JobRunner
from edge_agent.management.operator_settings import OperatorSettings
from edge_agent.ports import ManagementLine
from edge_agent.wire.topics import Channel
from provisioning import revocation
from provisioning.files import read_file, read_if_there
from provisioning.identity_store import IdentityStore
from provisioning.jobs import JobReport, encode
from provisioning.mqtt_link import BrokerAccess, mqtt_connect

CONNECTED_POLL_S = 0.2


def open_record(config: AgentConfig) -> JobRecord:
    """Returns the device's record of jobs.

    Raises:
        OSError: its file cannot be read.
    """
    record = JobRecord(config.data_dir / "jobs.json")
    record.open()
    return record


class DeviceSteward:
    """`ports.Steward` of a real device."""

    def __init__(self, config: AgentConfig, settings: OperatorSettings, record: JobRecord) -> None:
        self.channels = frozenset({Channel.JOBS, Channel.CERTIFICATES, Channel.REVOCATIONS})
        self._config = config
        self._line: ManagementLine | None = None
        self._certificates = _make_certificates(config)
        self._runner = JobRunner(
            config.device.mesh,
            config.device.id,
            record,
            DeviceActions(settings, _people(config)),
            self._trusted,
            self._report,
            self._restart,
            self._tell,
        )

    async def take(self, channel: Channel, body: bytes) -> None:
        """Takes one body that came for this device."""
        if channel is Channel.JOBS:
            await self._runner.take(body)
        elif self._certificates is not None:
            await self._certificates.take(channel, body)

    async def attend(self, line: ManagementLine) -> None:
        """Works until it is cancelled. What waited for a restart counts as done once the device is connected."""
        self._line = line
        while not line.connected:  # noqa: ASYNC110 - the line has no event for it
            await asyncio.sleep(CONNECTED_POLL_S)
        self._runner.start()
        try:
            if self._certificates is not None:
                await self._certificates.attend(line)
            else:
                await asyncio.Event().wait()
        finally:
            await self._runner.stop()

    def _trusted(self) -> tuple[bytes, frozenset[int]]:
        broker = self._config.broker
        bundle = read_file(broker.ca_file) if broker.ca_file is not None else b""
        crl = None if broker.crl_file is None else read_if_there(broker.crl_file)
        if crl is None or broker.crl_file is None:
            return bundle, frozenset()
        return bundle, revocation.serials_of(broker.crl_file, crl)

    def _report(self, report: JobReport) -> None:
        if self._line is not None:
            self._line.publish(Channel.JOB_REPORTS, encode(report).encode())

    def _tell(self, detail: str) -> None:
        if self._line is not None:
            self._line.report(detail)

    def _restart(self) -> None:
        if self._line is not None:
            self._line.restart()


def _people(config: AgentConfig) -> PeopleFile | None:
    """Returns who comes to this device's own broker with a password, `None` where nobody can."""
    own = config.broker.mode == "own" and config.broker.web_port is not None
    return PeopleFile(config.data_dir / USERS_FILE) if own else None


def _make_certificates(config: AgentConfig) -> CertificateManager | None:
    """Returns who keeps the identity, `None` where the certificate is none that this device keeps itself."""
    broker = config.broker
    if broker.cert_file is None or broker.ca_file is None:
        return None
    folder: Path = broker.cert_file.parent
    store = IdentityStore(folder, config.device.mesh, config.device.id)
    if broker.cert_file != store.identity_file or broker.ca_file != store.ca_file:
        return None
    home = broker.home if broker.mode == "shared" else f"mqtts://127.0.0.1:{broker.port}"
    access = BrokerAccess(
        home,
        f"{config.device.mesh}.{config.device.id}-renewal",
        store.ca_file,
        store.identity_file,
        store.identity_file,
        crl_file=store.crl_file,
        broker_of="" if broker.mode == "shared" else config.device.id,  # its certificate names no loopback address
    )
    rng = random.Random()  # noqa: S311 - spreads messages in time
    return CertificateManager(store, mqtt_connect(access), spread=broker.mode == "own", rng=rng)
