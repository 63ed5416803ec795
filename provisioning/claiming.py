"""The device's side of a claim or a renewal: asks until it has a certificate, over a connection that may break."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from cryptography import x509

from edge_agent.wire.topics import Channel, build
from provisioning.errors import ProvisioningError
from provisioning.identity_store import IdentityStore
from provisioning.link import Connect, Link, LinkError
from provisioning.messages import (
    CertificateConfirmed,
    CertificateIssued,
    CertificateRefused,
    ClaimRequest,
    MessageError,
    RefusalReason,
    RenewalRequest,
    decode,
    encode,
)

_log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 5.0  # the operator's service answers in milliseconds; a loaded one in a second or two
PAUSE_MIN_S = 1.0  # before asking again
PAUSE_MAX_S = 60.0  # longest pause: what a mesh of a hundred unclaimed devices costs its broker stays small

Request = ClaimRequest | RenewalRequest


class RefusedError(ProvisioningError):
    """The operator's service refuses for good: asking again with the same claim is useless."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(f"no certificate: {detail} ({reason})")
        self.reason = reason


async def claim(
    store: IdentityStore,
    secret: str,
    connect: Connect,
    *,
    give_up_s: float | None = None,
    pause_min_s: float = PAUSE_MIN_S,
    answer_timeout_s: float = ANSWER_TIMEOUT_S,
) -> x509.Certificate:
    """Claims this device's first certificate, and returns it once it is on disk. Cancel it at any time and call it
    again: the key made on the device stays the same, and so does the answer.

    Args:
        connect: to the broker, as the claim's login (`wire.topics.claim_login`) with `secret` as password.
        give_up_s: after how long to stop; `None` is never. Meanwhile each different problem is one line in the log.

    Raises:
        RefusedError: the claim is used, expired or wrong; the device must be invited again.
        ProvisioningError: it took too long; the message is the last problem.
    """
    asking = _Asking(store, Channel.CLAIMS, lambda: store.claim_request(secret), pause_min_s, answer_timeout_s)
    return await asking.run(connect, give_up_s)


async def renew(
    store: IdentityStore,
    connect: Connect,
    *,
    give_up_s: float | None = None,
    pause_min_s: float = PAUSE_MIN_S,
    answer_timeout_s: float = ANSWER_TIMEOUT_S,
) -> x509.Certificate:
    """Renews this device's certificate, with a new key, and returns it once it is on disk. The caller then connects
    with it and calls `store.prove`, or `store.roll_back` if no broker takes it.

    Raises:
        RefusedError: the device is revoked, or its certificate is not known.
        ProvisioningError: it took too long; the message is the last problem.
    """
    asking = _Asking(store, Channel.RENEWALS, store.renewal_request, pause_min_s, answer_timeout_s)
    return await asking.run(connect, give_up_s)


class _Asking:
    def __init__(
        self,
        store: IdentityStore,
        channel: Channel,
        request: Callable[[], Request],
        pause_min_s: float,
        answer_timeout_s: float,
    ) -> None:
        self._store = store
        self._channel = channel
        self._request = request
        self._pause_min_s = pause_min_s
        self._answer_timeout_s = answer_timeout_s
        self._problem = ""

    async def run(self, connect: Connect, give_up_s: float | None) -> x509.Certificate:
        try:
            async with asyncio.timeout(give_up_s):
                return await self._until_answered(connect)
        except TimeoutError:
            raise ProvisioningError(self._problem or f"no certificate within {give_up_s:g} s") from None

    async def _until_answered(self, connect: Connect) -> x509.Certificate:
        pause_s = self._pause_min_s
        while True:
            try:
                async with connect() as link:
                    await link.subscribe(self._topic(Channel.CERTIFICATES))
                    while True:
                        certificate = await self._ask_once(link)
                        if certificate is not None:
                            return certificate
                        await self._pause(pause_s)
                        pause_s = min(2 * pause_s, PAUSE_MAX_S)
            except LinkError as error:
                self._trouble(str(error))
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _ask_once(self, link: Link) -> x509.Certificate | None:
        try:
            request = self._request()
            await link.publish(self._topic(self._channel), encode(request))
            async with asyncio.timeout(self._answer_timeout_s):
                issued = await self._answer(link, request.request_id)
            certificate = self._store.accept(issued)
        except RefusedError:
            raise
        except TimeoutError:
            self._trouble("the broker can be reached, but nobody answers the claim; is `moamesh mesh serve` running?")
            return None
        except ProvisioningError as error:  # a full disk, a wrong CA: what is on disk is as it was
            self._trouble(str(error))
            return None
        _log.info("%s: certificate %x is safe on disk", self._store.device_id, certificate.serial_number)
        await self._confirm(link, certificate)
        return certificate

    async def _answer(self, link: Link, request_id: str) -> CertificateIssued:
        while True:
            received = await link.receive()
            if received.topic != self._topic(Channel.CERTIFICATES):
                continue
            try:
                message: Any = decode(received.body, Channel.CERTIFICATES)
            except MessageError as error:
                self._trouble(f"an answer that can't be read: {error}")
                continue
            if isinstance(message, CertificateIssued) and message.request_id == request_id:
                return message
            if isinstance(message, CertificateRefused) and message.request_id in ("", request_id):
                if message.reason.final:
                    raise RefusedError(message.reason, message.detail)
                raise ProvisioningError(f"try again later: {message.detail}")

    async def _confirm(self, link: Link, certificate: x509.Certificate) -> None:
        try:
            await link.publish(
                self._topic(self._channel), encode(CertificateConfirmed(f"{certificate.serial_number:x}"))
            )
        except LinkError as error:  # being seen with the certificate confirms as well
            _log.debug("%s: not confirmed: %s", self._store.device_id, error)

    def _topic(self, channel: Channel) -> str:
        return build(self._store.mesh, self._store.device_id, channel)

    def _trouble(self, problem: str) -> None:
        if problem != self._problem:  # the same line every minute says no more
            _log.warning("%s: no certificate yet: %s", self._store.device_id, problem)
        self._problem = problem

    async def _pause(self, pause_s: float) -> None:
        # Devices of a house that had a power cut would otherwise all come back at the same moments.
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, decides nothing
