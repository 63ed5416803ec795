"""Whom a broker may serve, by the certificate that it shows: one function for devices, users, the operator and the CLI.
And whose word a certificate's signature is (`device_of`).

A mesh's authority signs for devices and for brokers, and a device's certificate is good for its own broker, too. It
names the device's host; so a device could take an address in another's name, and TLS alone would agree. What a
certificate is good for follows from its kind, which the authority wrote into it (OU), and not from its list of names:

| certificate | serves a device | serves everybody at a host |
|---|---|---|
| a device's (OU device) | itself, wherever it is reached | never |
| a broker's (OU broker) | never by name alone | the hosts that stand in it **and** in the settings of who connects |
| the operator's, an authority's, any other of the mesh | never | never |
| of an authority that is not of moamesh's making | never by name alone | as a broker's: there are no kinds there |

The hosts in the settings are those of the URLs that somebody wrote down. What gossip says adds none to them.

Knows little more than the standard library, so that every room may use it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, final

from edge_agent.hosts import address_of
from edge_agent.tls import ClosingSocket

Certificate = Mapping[str, Any]
"""As `ssl.SSLSocket.getpeercert` returns it. That its authority is trusted has been looked at before: by OpenSSL, with
validity, purpose and revocation, or by whoever made this of a certificate."""

_DEVICE, _BROKER, _CA = "device", "broker", "ca"
_CA_NAME = re.compile(r"CA [1-9][0-9]{0,8}")


@final
@dataclass(frozen=True, slots=True)
class Device:
    """Whoever writes to one device, at its home."""

    device_id: str


@final
@dataclass(frozen=True, slots=True)
class Host:
    """Whoever connects to a host that many share. `named`: the hosts that the settings name."""

    name: str
    named: frozenset[str]

    @classmethod
    def of_settings(cls, name: str) -> Host:
        """A host whose URL stands in the settings itself."""
        return cls(name, frozenset({name}))


Whom = Device | Host


def device_of(certificate: Certificate) -> str:
    """Returns the device that the mesh's authority made a certificate for; "" if it is no device's, or another's."""
    return _subject(certificate, "commonName") if _kind(certificate) == _DEVICE else ""


def may_serve(certificate: Certificate, whom: Whom) -> bool:
    """Whether a broker that shows this certificate is the right one for `whom`."""
    kind = _kind(certificate)
    if isinstance(whom, Device):
        return device_of(certificate) == whom.device_id != ""
    if kind not in (_BROKER, None):
        return False
    return _has(certificate, whom.name) and any(_same_host(whom.name, host) for host in whom.named)


def refusal(certificate: Certificate, whoms: Collection[Whom]) -> str:
    """Says in one line why a certificate may serve none of these."""
    kind = _kind(certificate)
    if kind == _DEVICE:
        return f"the certificate is of device {_subject(certificate, 'commonName')[:64]}, which may serve itself only"
    if kind not in (_BROKER, None):
        return f"the certificate is of kind {kind[:64]!r}, which is not valid for a server"
    hosts = [whom for whom in whoms if isinstance(whom, Host)]
    if any(_has(certificate, host.name) for host in hosts):
        return f"{hosts[0].name} is a broker that is not named in [broker] urls, aliases or hosts"
    names = [whom.name if isinstance(whom, Host) else whom.device_id for whom in whoms]
    return f"the certificate names none of: {', '.join(names)}"


def check(certificate: Certificate | None, whoms: Collection[Whom]) -> tuple[Whom, ...]:
    """Returns those whom a broker may serve.

    Raises:
        SSLCertVerificationError: it is none of them; one line.
    """
    served = tuple(whom for whom in whoms if may_serve(certificate or {}, whom))
    if not served:
        raise ssl.SSLCertVerificationError(refusal(certificate or {}, whoms))
    return served


def checking_socket(
    whoms: Collection[Whom], told: Callable[[tuple[Whom, ...]], None] | None = None
) -> type[ClosingSocket]:
    """Returns a socket class, for `SSLContext.sslsocket_class`, that goes on only with a broker for one of `whoms`.

    It is asked after the handshake and before the first byte of MQTT. `told` hears whom the broker may serve, in the
    thread that connects. The context is not to compare host names itself: it knows no kinds.
    """

    class _CheckingSocket(ClosingSocket):
        def check_name(self) -> None:
            """Raises `SSLCertVerificationError` unless the broker is the right one."""
            served = check(self.getpeercert(), whoms)
            if told is not None:
                told(served)

    return _CheckingSocket


def _kind(certificate: Certificate) -> str | None:
    """What the mesh's authority made this certificate for; `None` if it is of another authority."""
    issuer = _names(certificate, "issuer")
    names = issuer.get("commonName", [])
    if issuer.get("organizationalUnitName") != [_CA] or len(names) != 1 or not _CA_NAME.fullmatch(names[0]):
        return None
    return _subject(certificate, "organizationalUnitName")


def _subject(certificate: Certificate, field: str) -> str:
    """A part of the subject's name; "" unless there is exactly one."""
    values = _names(certificate, "subject").get(field, [])
    return values[0] if len(values) == 1 else ""


def _names(certificate: Certificate, whose: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in certificate.get(whose, ()):
        for field, value in part:
            found.setdefault(field, []).append(value)
    return found


def _has(certificate: Certificate, name: str) -> bool:
    return any(_matches(kind, value, name) for kind, value in certificate.get("subjectAltName", ()))


def _matches(kind: str, value: str, name: str) -> bool:
    address = address_of(name)
    if address is not None:
        return kind == "IP Address" and address_of(value) == address
    if kind != "DNS":
        return False
    value, name = value.casefold(), name.casefold()
    # RFC 6125: a star stands for the whole first label only, and never right under a top-level domain
    wild = value.startswith("*.") and value.count(".") >= 2 and value[1:] == name[name.find(".") :]
    return value == name or wild


def _same_host(one: str, other: str) -> bool:
    address = address_of(one)
    return address == address_of(other) if address is not None else one.casefold() == other.casefold()
