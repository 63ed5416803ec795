"""Where a web server may send a download on to."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from edge_agent.models.errors import DownloadRefusedError

REDIRECTS_MAX = 5  # a release page and two stores make three
_SCHEMES = ("https", "http")


def check_redirect(said: str, origin: str, target: str) -> None:
    """Refuses a redirect that a model's server has no reason for.

    Args:
        said: what is downloaded, for the message.
        origin: the address that was asked first.
        target: where the server sends us.

    Raises:
        DownloadRefusedError: to another scheme than HTTP's, from encrypted to plain, or out of the internet into this
            network: a server elsewhere must not choose what this device asks its neighbours.
    """
    before, after = urlsplit(origin), urlsplit(target)
    if after.scheme not in _SCHEMES:
        raise DownloadRefusedError(f"{said} redirects to {after.scheme or 'nowhere'}://, which is not followed")
    if before.scheme == "https" and after.scheme != "https":
        raise DownloadRefusedError(
            f"{said} redirects from https to {after.scheme}://{after.netloc}, which is not secure"
        )
    if after.hostname != before.hostname and _is_public(before.hostname) and not _is_public(after.hostname):
        raise DownloadRefusedError(f"{said} redirects from the internet to {after.hostname}, which is in this network")


def _is_public(host: str | None) -> bool:
    """Whether a host is reached over the internet. One without an address here, as behind a proxy, counts as that: what
    asks for it is not this device."""
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return True
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return all((getattr(address, "ipv4_mapped", None) or address).is_global for address in addresses)
