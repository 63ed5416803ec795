"""A device's own broker: its home, reached by every other device over mutual TLS, shared with nobody.

Its certificate is the device's own, which names the device; whoever connects checks that name. It carries the topics of
this one device and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from broker.access import People
from broker.health import TlsHealth
from broker.local_login import LOCAL_SECRET_FILE, LocalLogin
from broker.mosquitto import MosquittoBroker
from broker.mosquitto_config import DEVICE_PORT, SMALL, Limits, Listeners, MosquittoConfig, Program, installed_program
from broker.mosquitto_files import PEM_BYTES_MAX, Change, MosquittoFiles, ServerFiles, check_crl
from edge_agent.files import PUBLIC, read_file, write_atomically
from edge_agent.tasks import ProblemListener, log_only


class DeviceBroker(MosquittoBroker):
    """One device's broker as a supervised child: `start`, `stop`, `kill`, `apply_crl`. Use it in the main thread.

    Args:
        folder: for its configuration, its copies of the certificates, and its log; made if it is not there.
        certificate, key, ca_bundle, crl: the device's PEM files. They are followed: a renewed certificate, a new CA or
            a new revocation list takes effect within a second, by a restart that takes some ten milliseconds.
        host: address to listen on; "" is every one.
        port: where other devices connect.
        plain_port: if given, a listener on loopback without TLS, for users with their passwords and for whoever may
            read the file `LOCAL_SECRET_FILE` beside `folder`, which is made if it is not there: `ANYBODY`.
        people: users (and their `password_port`) who come with passwords; called again and again.
        program: which mosquitto; `None` looks for the installed one.
        told: hears in one line what is wrong with it, and "" when it is well again.
    """

    def __init__(
        self,
        folder: Path,
        device_id: str,
        mesh: str,
        certificate: Path,
        key: Path,
        ca_bundle: Path,
        crl: Path,
        host: str = "",
        port: int = DEVICE_PORT,
        *,
        plain_port: int | None = None,
        password_port: int | None = None,
        web_port: int | None = None,
        people: Callable[[], People] = People,
        limits: Limits = SMALL,
        program: Program | None = None,
        on_problem: ProblemListener = log_only,
    ) -> None:
        self._crl = crl
        listeners = Listeners(host, port, password_port, web_port, plain_port)
        # Nothing is worth keeping over a restart: senders repeat, and memory cards wear out.
        config = MosquittoConfig(folder, listeners, program or installed_program(), limits, persistent=False)
        self._local = LocalLogin(folder.parent / LOCAL_SECRET_FILE) if plain_port is not None else None
        server = ServerFiles(certificate, key, ca_bundle, crl)
        files = MosquittoFiles(config, mesh, server, home=device_id, local=self._local)
        here = host if host not in ("", "0.0.0.0", "::") else "127.0.0.1"  # noqa: S104 - compared, not bound
        health = TlsHealth(here, port, folder / "ca.pem", folder / "server.pem", folder / "server.key")
        super().__init__(files, people, health=health, on_problem=on_problem)

    async def start(self) -> None:
        """Starts it; returns when it answers.

        Raises:
            BrokerFilesError: a certificate, key or revocation list is missing or broken.
            ChildStartError: it did not start; the message has its last words.
            OSError: its folder cannot be written.
        """
        if self._local is not None:
            await asyncio.to_thread(self._local.write)
        await super().start()

    async def apply_crl(self, crl: Path | None = None) -> Change:
        """Takes over the revocation list at once and cuts every session, so that who is revoked cannot come back.

        `crl` replaces the file given at the start; without it that file is read again. The caller has checked the
        list's signature.

        Raises:
            BrokerFilesError: it is no revocation list; the old one stays in force.
            ChildStartError: the broker did not come back; it is tried again, with pauses.
            OSError: a file cannot be written.
        """
        if crl is not None and crl != self._crl:
            await asyncio.to_thread(check_crl, crl)
            await asyncio.to_thread(_copy, crl, self._crl)
        return await self.follow()


def _copy(crl: Path, to: Path) -> None:
    write_atomically(to, read_file(crl, PEM_BYTES_MAX), PUBLIC)
