"""Whom a client believes to be a broker: a certificate of the right authority, for the right name.

A device's own broker is found at whatever address the network gave it, so its certificate names the device, not the
address. Next to the URL's host a broker may therefore be known by the device whose home it is. OpenSSL checks chain,
validity, purpose and revocation; it can compare only one name, so names are compared here, after the handshake and
before the first byte of MQTT: until then nothing has been said that a stranger could use.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from edge_agent.tls import ClosingSocket, client_context


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
    files: TlsFiles, names: tuple[str, ...], on_certificate: Callable[[frozenset[str]], None] | None = None
) -> ssl.SSLContext:
    """Returns a context that connects only to a broker whose certificate has one of `names`, the URL's host first.

    Raises:
        TlsFileError: a file cannot be read or used; one line that names it.
    """
    context = client_context(files.ca, files.certificate, files.key, files.revoked)
    if files.ca is not None:
        context.check_hostname = False  # `_CheckedSocket` does it, for more than one name
    context.sslsocket_class = _checking(names if files.ca is not None else names[:1], on_certificate)
    return context


def named_by(certificate: Mapping[str, Any], names: tuple[str, ...]) -> frozenset[str]:
    """Returns those of `names` that a certificate, as `getpeercert` returns it, has among its alternative names."""
    held = certificate.get("subjectAltName", ())
    return frozenset(name for name in names if any(_matches(kind, value, name) for kind, value in held))


def _matches(kind: str, value: str, name: str) -> bool:
    address = _address(name)
    if address is not None:
        return kind == "IP Address" and _address(value) == address
    if kind != "DNS":
        return False
    value, name = value.casefold(), name.casefold()
    # RFC 6125: a star stands for the whole first label only, and never right under a top-level domain
    wild = value.startswith("*.") and value.count(".") >= 2 and value[1:] == name[name.find(".") :]
    return value == name or wild


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])  # a zone is this host's own matter
    except ValueError:
        return None


def _checking(names: tuple[str, ...], on_certificate: Callable[[frozenset[str]], None] | None) -> type[ssl.SSLSocket]:
    class _CheckedSocket(ClosingSocket):
        def check_name(self) -> None:
            """Raises `SSLCertVerificationError` unless the certificate has one of the names."""
            found = named_by(self.getpeercert() or {}, names)
            if not found:
                raise ssl.SSLCertVerificationError(f"the certificate names none of: {', '.join(names)}")
            if on_certificate is not None:
                on_certificate(found)

    return _CheckedSocket
