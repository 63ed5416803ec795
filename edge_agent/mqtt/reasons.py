"""Why a broker does not let us in, hangs up or does not take something: in words, and with the way out.

A lasting trouble is one that only somebody can mend, and that trying again at once makes no better: it is tried again
slowly.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, replace
from typing import final

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.mqtt.trust import TlsFiles
from edge_agent.tls import say

BROKEN = (aiomqtt.MqttError, OSError, ValueError)
"""What a connection raises that does not come about, or is lost. ValueError: its certificate files cannot be used."""

SESSION_TAKEN_OVER = 142
PACKET_TOO_LARGE = 149
RETAIN_NOT_SUPPORTED = 154
QOS_NOT_SUPPORTED = 155
WILDCARDS_NOT_SUPPORTED = 162
_FAILURES_FROM = 0x80

_LOGIN = "check the user name and password ([broker] username, password_file; --username, --password-file)"
_RIGHTS = "check its access rules for this name (`moamesh broker check` shows what it lets through)"
_CERTIFICATE = "claim or renew it (`moamesh device invite`), and ask the operator whether it was revoked"


@final
@dataclass(frozen=True, slots=True)
class Trouble:
    """One line that says what is wrong and the way out. `code` is the broker's reason code, 0 if it gave none.

    recurs: whether the same is to be expected again though the broker lets us in.
    """

    detail: str
    lasting: bool = False
    code: int = 0
    recurs: bool = False


@final
class HungUpError(aiomqtt.MqttError):
    """The broker closed the connection before its CONNACK."""


@final
class WordlessError(aiomqtt.MqttError):
    """A connection that stood is lost, and the broker gave no reason: it ended, or the network did, or it is as old as
    mosquitto 2.0.11, which says nothing to a client whose session another takes over."""


THROWN_OUT = Trouble(
    "it accepts this device and then closes the connection without a reason, again and again: a copy of this device "
    "may run elsewhere (a cloned card or data folder; the broker's log says so), or the network is bad",
    recurs=True,
)


@final
class RefusedError(aiomqtt.MqttError):
    """The broker keeps something back without which a device cannot work."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.detail)
        self.trouble = trouble


_OF_CODE: dict[int, tuple[str, str, bool]] = {
    128: ("unspecified error", "the broker's log says more", False),
    129: ("malformed packet", "the broker's log says more", True),
    130: ("protocol error", "the broker's log says more", True),
    131: ("implementation specific error", "the broker's log says more", False),
    132: ("it does not speak MQTT 5", "use a broker that does, such as mosquitto 1.6 or later", True),
    133: ("client id not valid", "let it take ids of 150 characters with dots and hyphens", True),
    134: ("bad user name or password", _LOGIN, True),
    135: ("not authorized", f"{_LOGIN}, and {_RIGHTS}", True),
    136: ("server unavailable", "", False),
    137: ("server busy", "", False),
    138: ("banned", "ask who runs the broker", True),
    139: ("server shutting down", "", False),
    140: ("bad authentication method", _LOGIN, True),
    141: ("keep alive timeout", "the network is slow or this machine was stopped for a while", False),
    SESSION_TAKEN_OVER: (
        "another client took this session over",
        "a copy of this device runs elsewhere (a cloned card or data folder): stop one of them, or give one another id",
        True,
    ),
    143: ("topic filter not valid", _RIGHTS, True),
    144: ("topic name not valid", _RIGHTS, True),
    147: ("receive maximum exceeded", "the broker's log says more", False),
    PACKET_TOO_LARGE: ("packet too large", "raise the broker's limit (mosquitto: max_packet_size)", False),
    151: ("quota exceeded", "raise the broker's limits (mosquitto: max_connections, max_queued_messages)", False),
    152: ("administrative action", "ask who runs the broker", True),
    RETAIN_NOT_SUPPORTED: ("retain not supported", "", True),
    QOS_NOT_SUPPORTED: ("QoS not supported", "", True),
    156: ("use another server", "give its address in [broker] urls", True),
    157: ("server moved", "give its new address in [broker] urls", True),
    159: ("connection rate exceeded", "", False),
    160: ("maximum connect time", "", False),
    WILDCARDS_NOT_SUPPORTED: (
        "wildcard subscriptions not supported",
        "devices need them: allow them at the broker, or use another broker",
        True,
    ),
}

_RECURRING = frozenset({SESSION_TAKEN_OVER, 152})
"""What ends a connection that the broker will let in again, for the same to follow."""

_OF_TEXT: tuple[tuple[str, str, str, bool], ...] = (
    ("not yet valid", "its certificate is not valid yet", "set this machine's clock", False),
    ("certificate has expired", "its certificate has expired", "renew it, or set this machine's clock", True),
    ("verify failed: certificate revoked", "its certificate is revoked", "give the broker a new one", True),
    (
        "certificate names none of",
        "its certificate is for another name",
        "name the broker by a host name in its certificate",
        True,
    ),
    (
        "may serve",
        "its certificate is not valid for this broker",
        "a device's own broker is named with --broker-of; one that many share needs a broker's certificate",
        True,
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not of an authority that is trusted here",
        "give the mesh's ca.pem as ca_file",
        True,
    ),
    ("alert certificate revoked", "this device's certificate is revoked", _CERTIFICATE, True),
    ("alert certificate expired", "this device's certificate has expired", _CERTIFICATE, True),
    ("certificate required", "it wants a certificate", "give cert_file and key_file", True),
    ("alert unknown ca", "it does not trust this device's certificate", _CERTIFICATE, True),
    ("alert bad certificate", "it rejects this device's certificate", _CERTIFICATE, True),
    ("alert handshake failure", "it refuses the TLS handshake", "give cert_file and key_file", True),
    ("WRONG_VERSION_NUMBER", "there is no TLS on that port", "use mqtt:// or the port for TLS", True),
    (
        "Connection reset",
        "it closed the connection at the first byte",
        "is it the right port, with TLS or without?",
        False,
    ),
    ("timed out", "it does not answer", "it hangs, or a firewall or the network drops the packets", False),
    ("Connection refused", "nothing listens there", "start the broker, or correct the address", False),
    ("Name or service not known", "there is no host with that name", "correct the address", False),
    ("No route to host", "that host cannot be reached", "check the network", False),
    ("Network is unreachable", "the network cannot be reached", "check the network", False),
)


_OF_FILES = frozenset(
    {"not yet valid", "certificate has expired", "CERTIFICATE_VERIFY_FAILED", "alert certificate expired"}
)
"""Where the files and this machine's clock tell more than OpenSSL does."""


def explain(error: BaseException, tls: TlsFiles | None = None) -> Trouble:
    """Says in words what went wrong with a connection. `tls` are the files that it was made with, to be named."""
    if isinstance(error, RefusedError):
        return replace(error.trouble, lasting=True)
    code = code_of(getattr(error, "rc", None))
    if code:
        return of_code(code)
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    for sign, words, way_out, lasting in _OF_TEXT:
        if sign.casefold() in text.replace("_", " ").casefold() or sign in text:
            if tls is not None and sign in _OF_FILES:
                return Trouble(say(error, ca=tls.ca, certificate=tls.certificate) or _bare(text), lasting)
            return Trouble(f"{words}: {way_out} ({_bare(text)})", lasting)
    if isinstance(error, HungUpError):
        return Trouble(
            f"{text}: it may be full (mosquitto: max_connections), be starting, or expect TLS or another port", False
        )
    if isinstance(error, ssl.SSLError | ValueError) and not isinstance(error, aiomqtt.MqttError):
        return Trouble(text, True)  # a file of ours cannot be used
    return Trouble(text)


def of_code(code: int) -> Trouble:
    """Says in words what a reason code of MQTT 5 means."""
    words, way_out, lasting = _OF_CODE.get(code, ("a reason not known here", "the broker's log says more", False))
    detail = f"{words} (reason {code}){': ' if way_out else ''}{way_out}"
    return Trouble(detail, lasting, code, recurs=code in _RECURRING)


def code_of(reason: object) -> int:
    """Returns the code of a failure as paho hands it out, 0 for anything else."""
    value = reason.value if isinstance(reason, ReasonCode) else 0
    return value if value >= _FAILURES_FROM else 0


def _bare(text: str) -> str:
    """Without the line of C where OpenSSL noticed."""
    return re.sub(r" ?\(_ssl\.c:\d+\)", "", text)
