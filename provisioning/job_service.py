"""Hands jobs to devices and takes their reports, at one broker, over connections that may break."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Container, Iterator

from edge_agent.tasks import together
from edge_agent.wire.topics import ANY, Channel, build, parse, topic_filter
from provisioning.errors import ProvisioningError
from provisioning.job_store import RESEND_S, JobStore
from provisioning.jobs import JobMessageError, decode_report
from provisioning.link import Connect, Link, Received, Serving

_log = logging.getLogger(__name__)

LOOK_S = 0.5  # how soon a job that another command has recorded goes out


class JobService(Serving):
    """The jobs of one mesh, or of some devices of it. Asking again is harmless: devices know what they have done.

    Args:
        devices: whom to hand jobs to, and whose reports are believed; everybody by default. At a device's own broker
            only that device is to be believed.
    """

    def __init__(
        self,
        mesh: str,
        job_store: JobStore,
        connect: Connect,
        devices: Container[str] | None = None,
    ) -> None:
        super().__init__(connect, "jobs: ")
        self._mesh = mesh
        self._job_store = job_store
        self._devices = devices
        self._asked_at: dict[str, float] = {}

    async def _begin(self, link: Link) -> None:
        for channel in (Channel.JOB_REPORTS, Channel.PRESENCE):
            await link.subscribe(topic_filter(self._mesh, ANY, channel))
        self._asked_at.clear()

    async def _serve(self, link: Link) -> None:
        await together(self._hand_out(link), self._listen(link))

    async def _listen(self, link: Link) -> None:
        while True:
            received = await link.receive()
            try:
                self._take(received)
            except ProvisioningError as error:  # the store's disk, say; the device reports again when it is asked again
                _log.error("jobs: %s", error)

    async def _hand_out(self, link: Link) -> None:
        while True:
            try:
                for topic, body in self._due():
                    await link.publish(topic, body)
            except ProvisioningError as error:
                _log.error("jobs: %s", error)
            await asyncio.sleep(LOOK_S)

    def _due(self) -> Iterator[tuple[str, bytes]]:
        now = time.monotonic()
        for job in self._job_store.due():
            if self._serves(job.device_id) and now - self._asked_at.get(job.job_id, -RESEND_S) >= RESEND_S:
                self._asked_at[job.job_id] = now
                yield build(self._mesh, job.device_id, Channel.JOBS), self._job_store.body(job)

    def _serves(self, device_id: str) -> bool:
        return self._devices is None or device_id in self._devices

    def _take(self, received: Received) -> None:
        address = parse(received.topic)
        if address is None or address.mesh != self._mesh or received.retained or not self._serves(address.device):
            return
        if address.channel is Channel.PRESENCE:  # it is there: what it has not ended is asked for at once
            job = self._job_store.next_for(address.device)
            if job is not None:
                self._asked_at.pop(job.job_id, None)
            return
        try:
            report = decode_report(received.body.decode(errors="replace"))
        except JobMessageError as error:
            _log.warning("%s: report refused: %s", address.device, error)
            return
        self._job_store.take(report, address.device)
