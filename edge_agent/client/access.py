"""How a user is let in by a broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from edge_agent.adapters.mqtt import TlsFiles
from edge_agent.wire.topics import USER_LOGIN, is_id


@final
@dataclass(frozen=True, slots=True)
class Access:
    """Who a user is to a broker, and whom the user takes for one.

    username, password: as `moamesh user add` shows them; `None` where a certificate counts, or everyone is let in.
    tls: whom to trust, and a certificate, for `mqtts://`; `None` trusts the system's own list.
    broker_of: a device whose own broker this is. Its certificate may then name that device instead of the URL's host.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsFiles | None = None
    broker_of: str = ""

    @property
    def inbox(self) -> str:
        """Whose answers this user may read where brokers keep to the topic table; "" where any inbox will do."""
        name = (self.username or "").removeprefix(USER_LOGIN)
        return name if name != self.username and is_id(name) else ""
