"""Host names and addresses, as text."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(host: str) -> Address | None:
    """Returns the address that a host is written as, `None` if it is a name. A zone (`%eth0`) is its own machine's."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, for this machine alone."""
    address = address_of(host)
    return host == "localhost" or host.endswith(".localhost") if address is None else address.is_loopback
