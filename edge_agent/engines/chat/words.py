"""A server's words for people: one printable line, bounded, without the API key, which some servers repeat."""

from __future__ import annotations

import json

import httpx

from edge_agent.core.errors import EngineError

WORDS_CHARACTERS_MAX = 300  # of a server's error text: enough to see why
ERROR_BYTES_MAX = 64 * 1024  # read of a refusal's body; a page of HTML is less


class ServerWords:
    """Says what became of a request to the server at `url`; `secret` stands in none of it."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret

    @property
    def where(self) -> str:
        """The server, as it is named to people."""
        return f"the server at {self._url}"

    async def refusal(self, response: httpx.Response) -> EngineError:
        """Returns the error for a response without success: retryable if the server was busy or failed."""
        status = response.status_code
        retryable = status in (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY, httpx.codes.TOO_MANY_REQUESTS)
        said = self.line(_message(await read_at_most(response, ERROR_BYTES_MAX)))
        if response.is_redirect:
            said = f"it points to {self.line(response.headers.get('location', '?'))}, which may be the right base_url"
        return EngineError(
            f"the server at {self._url} answers {status}" + (f": {said}" if said else ""),
            retryable=retryable or response.is_server_error,
        )

    def failed(self, error: object) -> EngineError:
        """Returns the error for an `error` object that a server sends where an answer was due."""
        return EngineError(f"the server at {self._url} failed: {self.line(_of_error(error))}", retryable=True)

    def not_understood(self, why: object) -> EngineError:
        """Returns the error for an answer that makes no sense."""
        return EngineError(f"the server at {self._url} sent something unexpected: {self.line(why)}", retryable=False)

    def broke_off(self, error: Exception) -> EngineError:
        """Returns the error for a connection that failed."""
        return EngineError(f"the server at {self._url} broke off: {self.why(error)}", retryable=True)

    def absent(self, error: Exception) -> EngineError:
        """Returns the error for a connection that did not come about."""
        return EngineError(f"no server answers at {self._url}: {self.why(error)}", retryable=True)

    def silent(self, silence_s: float) -> EngineError:
        """Returns the error for an answer that does not go on."""
        return EngineError(f"the server at {self._url} said nothing for {silence_s:g} s", retryable=True)

    def why(self, error: Exception) -> str:
        """Returns an exception in words."""
        return self.line(str(error) or type(error).__name__)

    def line(self, said: object) -> str:
        """Returns what somebody else wrote as one printable line."""
        text = str(said)[: 4 * WORDS_CHARACTERS_MAX]
        if self._secret:
            text = text.replace(self._secret, "***")
        text = " ".join(text.split())
        return "".join(mark if mark.isprintable() else "?" for mark in text)[:WORDS_CHARACTERS_MAX]


async def read_at_most(response: httpx.Response, bytes_max: int) -> bytes:
    """Reads the beginning of a body, as it came: nothing is unpacked, so nothing can grow."""
    body = b""
    async for block in response.aiter_raw():
        body += block
        if len(body) >= bytes_max:
            break
    return body[:bytes_max]


def _message(body: bytes) -> object:
    """The words in a refusal's body: the error's, where it is JSON as the API has it, else all of it."""
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
    if not isinstance(read, dict):
        return read
    for name in ("error", "message", "detail"):
        if read.get(name):
            return _of_error(read[name])
    return body.decode("utf-8", "replace")


def _of_error(error: object) -> object:
    return (error.get("message") or error) if isinstance(error, dict) else error
