"""Where the local network reaches this computer."""

from __future__ import annotations

import contextlib
import socket


def lan_address() -> str:
    """Returns the IPv4 address by which the local network most likely reaches this computer; "" if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # sends nothing: only asks which way it would go (an address of no network)
        return str(probe.getsockname()[0])
    return ""
