"""How a user is let in by a broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from edge_agent.mqtt import TlsFiles
from edge_agent.wire.topics import ANYBODY, CLIENT_DEFAULT, is_principal


@final
@dataclass(frozen=True, slots=True)
class Access:
    """Who a user is to a broker, and whom the user takes for one.

    username, password: as `moamesh user add` shows them; `None` where a certificate counts, or everyone is let in.
    tls: whom to trust, and a certificate, for `mqtts://`; `None` trusts the system's own list.
    broker_of: a device whose own broker this is. Its certificate may then be that device's; no other device's is ever
        good for anybody's broker.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsFiles | None = None
    broker_of: str = ""

    @property
    def principal(self) -> str:
        """Whom the broker knows this user as; `ANYBODY` where it knows nobody."""
        return self.username if self.username and is_principal(self.username) else ANYBODY

    @property
    def client(self) -> str:
        """Which client of this user to be, where the caller does not say: the same each time, so that a prompt that is
        sent again is known to be the same one's. "" where others may share the name and must not be confused."""
        return "" if self.principal == ANYBODY else CLIENT_DEFAULT
