"""Questions to a telemetry database, read line by line, and what its refusals mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Self, TypeAlias, final

import httpx

from edge_agent.adapters.telemetry.server import TelemetryServer, TelemetryServerError, open_http, unreachable

READ_TIMEOUT_S = 60.0  # between two pieces of an answer: a Raspberry Pi looks through months of points
LINE_BYTES_MAX = 64 * 1024 * 1024  # what is asked for fits into a tenth of it; more would be another server's doing
_REFUSAL_BYTES_MAX = 64 * 1024
_WORDS_MAX = 200  # of a server's own words in a message of one line

Parameters: TypeAlias = Mapping[str, str | int | float]


@final
class Questions:
    """A connection for questions to one server: `with Questions(server) as ask:`.

    Every method raises TelemetryServerError, one line, if the server cannot be reached, refuses or answers nonsense.
    """

    def __init__(self, server: TelemetryServer) -> None:
        self.server = replace(server, timeout_s=max(server.timeout_s, READ_TIMEOUT_S))
        self._http = open_http(self.server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def objects(self, path: str, parameters: Parameters) -> Iterator[dict[str, Any]]:
        """Yields the JSON objects that a GET is answered with, one a line. Holds one line at a time."""
        for line in self._lines(path, parameters):
            try:
                answer = json.loads(line)
            except (ValueError, RecursionError):
                raise self.error(f"answered {path} with something that is not JSON") from None
            if not isinstance(answer, dict):
                raise self.error(f"answered {path} with JSON of another form")
            yield answer

    def error(self, what: str, *, retryable: bool = False) -> TelemetryServerError:
        """Returns an error about this server; `what` goes on after its URL."""
        return TelemetryServerError(f"{self.server.url} {what}", retryable=retryable)

    def _lines(self, path: str, parameters: Parameters) -> Iterator[bytes]:
        try:
            with self._http.stream("GET", self.server.url + path, params=dict(parameters)) as response:
                if not response.is_success:
                    raise self._refusal(path, response)
                yield from self._split(response.iter_bytes())
        except httpx.HTTPError as error:
            raise TelemetryServerError(unreachable(self.server, error), retryable=True) from None

    def _split(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        # not httpx's own lines: they also end at characters that a name in JSON may hold
        rest: list[bytes] = []
        held = 0
        for piece in pieces:
            first, *others = piece.split(b"\n")
            rest.append(first)
            held += len(first)
            if held > LINE_BYTES_MAX:
                raise self.error(f"answered with a line of over {LINE_BYTES_MAX} bytes")
            for line in others:
                if whole := b"".join(rest).strip():
                    yield whole
                rest, held = [line], len(line)
        if whole := b"".join(rest).strip():
            yield whole

    def _refusal(self, path: str, response: httpx.Response) -> TelemetryServerError:
        status = response.status_code
        if status in (401, 403):
            return self.error(f"refuses access ({status}): token, username or password is missing or wrong")
        words = _words(_first_bytes(response, _REFUSAL_BYTES_MAX))
        return self.error(f"answered {path} with {status}{f': {words}' if words else ''}", retryable=status >= 500)


def _first_bytes(response: httpx.Response, count: int) -> bytes:
    body = b""
    for piece in response.iter_bytes():
        body += piece
        if len(body) >= count:
            break
    return body[:count]


def _words(body: bytes) -> str:
    """What a server says is wrong, on one line: `error` or `message` of its JSON, else the text."""
    text = body.decode(errors="replace")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = {}
    if isinstance(answer, dict):
        text = str(answer.get("error") or answer.get("message") or text)
    return " ".join(text.split())[:_WORDS_MAX]
