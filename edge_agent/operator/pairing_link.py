"""The link that pairs an app with a mesh: what it says, who can follow it and what is safe about it, its QR code."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from edge_agent.core.errors import SettingsError
from edge_agent.hosts import is_loopback
from edge_agent.wire.topics import user_login
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, write_atomically

if TYPE_CHECKING:
    import segno

VERSION = 1
BROKERS_MAX = 4  # each makes the code larger; a cluster's nodes are two or three
URL_CHARACTERS_MAX = 200
QUIET_ZONE = 4  # modules of white around the code, as the standard (ISO/IEC 18004) wants
PICTURE_SCALE = 8  # pixels for each module: a code of 60 modules fills a phone's width
_URL = re.compile(r"[a-z]+://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~/-]*)?")

Matrix = tuple[tuple[bool, ...], ...]
"""Rows of modules, `True` is dark, the quiet zone included."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the app is served, and where it reaches the broker.

    Raises:
        SettingsError: one is none, or a browser would not go from the one to the other.
    """

    app: str
    brokers: tuple[str, ...]

    def __post_init__(self) -> None:
        _check(self.app, ("http", "https"), "--app-url must be http://host:port or https://host:port")
        for url in self.brokers:
            _check(url, ("ws", "wss"), "--web-broker must be ws://host:port or wss://host:port")
        if not 1 <= len(self.brokers) <= BROKERS_MAX:
            raise SettingsError(f"--web-broker: give 1 to {BROKERS_MAX}")
        open_ones = [url for url in self.brokers if not is_secure(url)]
        if is_secure(self.app) and open_ones:
            raise SettingsError(
                f"browsers let no page on https:// connect to {open_ones[0]}: use a wss:// broker or an http:// page"
            )

    @property
    def here_only(self) -> bool:
        """Whether nobody outside this computer can follow the link."""
        return any(is_here(url) for url in (self.app, *self.brokers))

    @property
    def secure(self) -> bool:
        """Whether all of it is encrypted."""
        return all(is_secure(url) for url in (self.app, *self.brokers))

    @property
    def needs_ca(self) -> bool:
        """Whether a phone must trust the mesh's certificate authority first."""
        return any(is_secure(url) for url in (self.app, *self.brokers))

    def reach(self) -> str:
        """Who can follow the link, in one line."""
        if self.here_only:
            return "this computer only: phones cannot reach a loopback address"
        return f"whoever reaches {_host(self.app)} and has this link, such as a phone in the same network"

    def security(self) -> str:
        """What others in the network could do, in one line."""
        if self.secure:
            return "encrypted (TLS); the phone must trust the mesh's authority: moamesh mesh ca --output ca.crt"
        if self.here_only:
            return "unencrypted, but it never leaves this computer"
        if self.needs_ca:
            return (
                "the broker is TLS, and the phone must trust the mesh's authority (moamesh mesh ca --output ca.crt); "
                "the page is plain HTTP, so whoever controls this network could change it"
            )
        return (
            "unencrypted: whoever listens in this network can read the secret, prompts and answers; "
            "use it only where you trust everyone"
        )


@dataclass(frozen=True, slots=True)
class PairingLink:
    """Everything a link says; all of it stands behind the `#` of the page's address, which browsers send to no server.

    `devices` are the only ones the user may ask; `None` is all.
    """

    addresses: Addresses
    mesh: str
    user: str
    secret: str = field(repr=False)
    devices: tuple[str, ...] | None = None

    @property
    def login(self) -> str:
        """The broker user name."""
        return user_login(self.user)

    def text(self) -> str:
        """The link, **the secret in it**."""
        said: dict[str, object] = {
            "v": VERSION,
            "mesh": self.mesh,
            "brokers": list(self.addresses.brokers),
            "user": self.user,
            "secret": self.secret,
        }
        if self.devices is not None:
            said["devices"] = list(self.devices)
        packed = base64.urlsafe_b64encode(json.dumps(said, separators=(",", ":")).encode()).rstrip(b"=").decode()
        return f"{self.addresses.app.rstrip('/')}/#pair={packed}"


def make_matrix(text: str) -> Matrix:
    """Returns the code of `text`.

    Raises:
        SettingsError: it is too long for one, or segno is not installed.
    """
    return tuple(tuple(module > 0 for module in row) for row in _make(text).matrix_iter(border=QUIET_ZONE))


def write_picture(text: str, path: Path, kind: str) -> None:
    """Writes the code as "png" or "svg", readable by its owner alone: whoever sees it has the secret.

    Raises:
        SettingsError: as `make_matrix`, or the file cannot be written.
    """
    content = io.BytesIO()
    _make(text).save(content, kind=kind, scale=PICTURE_SCALE, border=QUIET_ZONE, dark="black", light="white")
    try:
        write_atomically(path, content.getvalue(), PRIVATE)
    except ProvisioningError as error:
        raise SettingsError(str(error)) from None


def is_here(url: str) -> bool:
    """Whether only this computer is meant."""
    return is_loopback(_host(url))


def is_secure(url: str) -> bool:
    """Whether it is TLS."""
    return urlsplit(url).scheme in ("https", "wss")


def on_host(url: str, host: str) -> str:
    """Returns the URL with another host and its own port."""
    parts = urlsplit(url)
    shown = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(netloc=f"{shown}:{parts.port}" if parts.port else shown))


def web_url_of(broker_url: str, port: int) -> str:
    """Returns the wss:// URL on the host of an mqtts:// one."""
    host = _host(broker_url)
    return f"wss://{f'[{host}]' if ':' in host else host}:{port}"


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _check(url: str, schemes: Sequence[str], wanted: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not _URL.fullmatch(url) or len(url) > URL_CHARACTERS_MAX:
        raise SettingsError(f"{wanted}, not {url[:URL_CHARACTERS_MAX]!r}")


def _make(text: str) -> segno.QRCode:
    try:
        import segno
        from segno import DataOverflowError
    except ImportError:
        raise SettingsError("QR codes need segno: pip install 'moamesh[pair]' (--json works without)") from None
    try:
        return segno.make(text, micro=False, error="m")
    except DataOverflowError:
        raise SettingsError("the link is too long for a QR code: give fewer --device or --web-broker") from None
