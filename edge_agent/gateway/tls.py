"""HTTPS with certificate files that are followed: a renewed certificate counts from the next connection on."""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl
from pathlib import Path
from typing import final

from edge_agent.core.errors import SettingsError
from edge_agent.tls import TlsFileError, load_identity, out_of_date

log = logging.getLogger(__name__)

FOLLOW_S = 30.0  # between looks at the files: certificates are renewed days before they end


@final
class ServerTls:
    """A server's TLS.

    Args:
        cert_file, key_file: PEM; they may be one file.

    Raises:
        SettingsError: a file is missing, damaged, or not of the other.
    """

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._files = (cert_file, key_file)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._signature()
        try:
            load_identity(self.context, *self._files)
        except TlsFileError as error:
            raise SettingsError(f"HTTPS: {error}") from None
        if late := out_of_date(cert_file, datetime.datetime.now(datetime.UTC)):
            log.warning("HTTPS: %s", late)

    async def follow(self, every_s: float = FOLLOW_S) -> None:
        """Takes files that changed, until it is cancelled. Damaged ones are said and the ones of before kept."""
        while True:
            await asyncio.sleep(every_s)
            signature = self._signature()
            if signature == self._seen:
                continue
            try:
                _check(*self._files)
                load_identity(self.context, *self._files)
                log.info("HTTPS: a new certificate in %s", self._files[0])
            except TlsFileError as error:  # perhaps one of two files is not there yet: the next look tells
                log.warning("HTTPS: %s; the previous certificate stays in use", error)
                continue
            self._seen = signature

    def _signature(self) -> tuple[int, ...]:
        try:
            return tuple(number for file in self._files for number in (file.stat().st_mtime_ns, file.stat().st_ino))
        except OSError:
            return ()


def _check(cert_file: Path, key_file: Path) -> None:
    """On a context of its own: half a change must not spoil the one in use."""
    load_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert_file, key_file)
