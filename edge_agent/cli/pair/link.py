"""The pairing link: all that the app needs, behind the `#` of the page's address, which browsers send to no server."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from edge_agent.cli.pair.addresses import Addresses
from edge_agent.wire.topics import user_login

VERSION = 1


@dataclass(frozen=True, slots=True)
class PairingLink:
    """Everything a link says. `devices` are the only ones the user may ask; `None` is all."""

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
