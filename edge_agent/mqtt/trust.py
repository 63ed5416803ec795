"""Whom a client believes to be a broker: a certificate of the right authority, for the right device or host.

OpenSSL checks chain, validity, purpose and revocation; it can compare only one name and knows no kinds of certificates.
Whom one may serve is therefore looked at here (`edge_agent.homes`), after the handshake and before the first byte of
MQTT: until then nothing has been said that a stranger could use.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import final

from edge_agent.homes import Device, Host, Whom, checking_socket
from edge_agent.mqtt.urls import BrokerUrl
from edge_agent.tls import client_context


@final
@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: whom to trust, and who we are. They are read at every connect, so renewed ones count from then on.

    ca: the mesh's authority; `None` is the system's own list, with which only a URL's host names a broker.
    certificate, key: who we are; `None` is nobody.
    revoked: a list (CRL) of certificates no longer good; `None`, or a file that is not there yet, is none of them.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    revoked: str | None = None


def make_context(
    files: TlsFiles, whoms: Collection[Whom], told: Callable[[tuple[Whom, ...]], None] | None = None
) -> ssl.SSLContext:
    """Returns a context that connects only to a broker that may serve one of `whoms`; `told` hears which it may.

    Raises:
        TlsFileError: a file cannot be read or used; one line that names it.
    """
    context = client_context(files.ca, files.certificate, files.key, files.revoked)
    if files.ca is not None:
        context.check_hostname = False  # the socket does it and knows kinds; of the system's authorities OpenSSL, too
    context.sslsocket_class = checking_socket(whoms, told)
    return context


def whoms_at(where: BrokerUrl, device: str, hosts: Collection[str] | None) -> tuple[Whom, ...]:
    """Returns for whom a broker there is to be the right one; see `client.open_client`."""
    host = Host.of_settings(where.host) if hosts is None else Host(where.host, frozenset(hosts))
    return (host, Device(device)) if device else (host,)
