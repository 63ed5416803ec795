"""Where a server is, and how it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import httpx

from edge_agent.core.errors import EngineError
from edge_agent.engines.chat.words import ServerWords

CONNECT_TIMEOUT_S = 5.0  # servers stand next to the device
PORT_MAX = 65_535


@final
@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server of OpenAI's kind.

    base_url: such as `http://127.0.0.1:8080` or `http://127.0.0.1:8080/v1`.
    api_key: sent as a bearer token; in no message, log or error of ours. "": none.
    socket: the Unix socket that it listens on, if it does; `base_url` then only names it.
    """

    base_url: str
    api_key: str = ""
    socket: Path | None = None

    @property
    def root(self) -> str:
        """The address without the version of the API."""
        return self.base_url.rstrip("/").removesuffix("/v1")

    @property
    def api(self) -> str:
        """The address of the API."""
        return f"{self.root}/v1"

    @property
    def words(self) -> ServerWords:
        """What says how it is with this server."""
        return ServerWords(str(self.socket) if self.socket else self.api, self.api_key)

    def connect(self, silence_timeout_s: float) -> httpx.AsyncClient:
        """Returns a client for it, which connects when it is used.

        Raises:
            EngineError: address or key can be none.
        """
        # Packed answers are not asked for: a token is small, and what is packed may unpack to any size.
        headers = {"Accept-Encoding": "identity"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        try:
            port = httpx.URL(self.api).port
            if port is not None and not 0 < port <= PORT_MAX:
                raise EngineError(f"base_url {self.api}: its port is not a number up to {PORT_MAX}", retryable=False)
            return httpx.AsyncClient(
                headers=headers,
                timeout=httpx.Timeout(silence_timeout_s, connect=CONNECT_TIMEOUT_S),
                transport=httpx.AsyncHTTPTransport(uds=str(self.socket)) if self.socket else None,
                trust_env=False,
            )
        except httpx.InvalidURL as error:
            raise EngineError(f"base_url {self.api} is no URL: {self.words.why(error)}", retryable=False) from None
        except UnicodeEncodeError:
            raise EngineError(
                "the API key contains characters that no key can have; was it copied correctly?", retryable=False
            ) from None
