"""The addresses of brokers, as people and messages write them down."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final
from urllib.parse import SplitResult, urlsplit

HOME_URLS_MAX = 8  # addresses of one home: a cluster has a few nodes, and a message names them all
_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}(%[A-Za-z0-9]+)?")  # names, IPv4 and IPv6 with a zone


@final
@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A broker's address, taken apart. Two URLs that mean the same address are equal."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_url(url: str) -> BrokerUrl:
    """Takes `mqtt://host[:port]` or `mqtts://host[:port]` apart.

    Raises:
        ValueError: it is neither; the message is one line. User names belong into the settings, since a device's
            broker URL is shown to every other device.
    """
    try:
        parts = urlsplit(url)
        port = _DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        port = 0
        parts = SplitResult("", "", "", "", "")
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
    known = parts.scheme in _DEFAULT_PORTS
    if not (known and port and plain and parts.hostname and _HOST.fullmatch(parts.hostname)):
        raise ValueError(f"broker URL must be mqtt://host:port or mqtts://host:port, not {shown(url)}")
    return BrokerUrl(parts.hostname, port, parts.scheme == "mqtts")


def shown(url: str) -> str:
    """Returns what may be said of a text that was to be a URL: never a password into a log."""
    return "one with a user name" if "@" in url else repr(url[:80])


def parse_home(home: str) -> tuple[BrokerUrl, ...]:
    """Takes a home broker apart: one URL, or the addresses of one cluster with commas between.

    Raises:
        ValueError: it is neither; the message is one line.
    """
    urls = tuple(dict.fromkeys(parse_url(text.strip()) for text in home.split(",")))
    if len(urls) > HOME_URLS_MAX:
        raise ValueError(f"a home broker has at most {HOME_URLS_MAX} addresses, not {len(urls)}")
    if len({url.tls for url in urls}) > 1:
        raise ValueError("the addresses of one home broker are all mqtt:// or all mqtts://")
    return urls
