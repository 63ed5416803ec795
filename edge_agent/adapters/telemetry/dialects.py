"""Writes lines to a database, once and synchronously, and says what a failure means.

On influxdb-client's plain `ApiClient`: TLS, pooled connections, authorization. Its own batching and retries are not
used: they hide failures, hold points in memory alone, and may write twice. Here the spool and the shipper do that.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any, final

from edge_agent.adapters.telemetry.server import ServerKind, TelemetryServer, tls_context, unreachable
from edge_agent.adapters.telemetry.watchdog import Watchdog
from edge_agent.core.errors import MoameshError, SettingsError
from edge_agent.tasks import ProblemListener, log_only

GZIP_LEVEL = 4  # our lines shrink to a tenth at any level; higher ones only take longer
BROKEN_OFF = "broken off"
UNREACHABLE = "unreachable"
NO_DATABASE = (
    "this is not a database's answer (it says 204 when points are stored): see what answers at url in "
    "[[influx]], such as a proxy or a network's login page"
)
WORDS_CHARACTERS_MAX = 300  # of what a server says, in logs and beside refused points
_TAKEN = 204
"""What every one of these databases says when it has taken all lines; another 2xx is somebody else's, or says less."""
_DROPPED = re.compile(r"dropped=(\d{1,15})(?!\d)")
_ABOUT_LINES = re.compile(
    r"partial write|unable to parse|parsing failed|line protocol|type conflict|rejected", re.IGNORECASE
)
_ABOUT_SETTINGS = re.compile(
    r"\borg(anization|id)?\b|\bbucket|\bdatabase\b|\bprecision\b|HTTP request to an HTTPS server", re.IGNORECASE
)


class WriteProblem(Enum):
    """What a failed write means for its points.

    NOTHING_ARRIVED: nobody is there. UNSURE: no answer, or a server's error: some points may be stored.
    BUSY: not now; nothing was stored. TOO_LARGE: send less at once. BAD_LINES: some of these lines will never be taken.
    SETTINGS: the points are good, but a person must mend something here or there.
    """

    NOTHING_ARRIVED = auto()
    UNSURE = auto()
    BUSY = auto()
    TOO_LARGE = auto()
    BAD_LINES = auto()
    SETTINGS = auto()


@final
class WriteError(MoameshError):
    """A write did not succeed. The message is one line for people, without secrets.

    Attributes:
        trouble: what it means.
        cause: short and stable, the same for the same trouble ("401", "unreachable"): one log line for each change.
        words: what the server said, or "".
        retry_after_s: how long the server wants to be left alone; `None` if it does not say.
        dropped: how many of the lines the server says it did not take; `None` if it does not say.
        strange: this is not a database's answer: a web page or nothing, from something between it and us.
    """

    def __init__(
        self,
        message: str,
        trouble: WriteProblem,
        cause: str,
        *,
        words: str = "",
        retry_after_s: float | None = None,
        dropped: int | None = None,
        strange: bool = False,
    ) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.cause = cause
        self.words = words
        self.retry_after_s = retry_after_s
        self.dropped = dropped
        self.strange = strange


@final
@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back instead of "204 No Content"."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def strange(self) -> bool:
        """Whether no database said it: each of them gives its reasons in words or JSON."""
        return not self.body.strip() or self.body.lstrip().startswith("<")


def require_client() -> None:
    """Imports influxdb-client: a quarter of a second and 26 MB, wanted only by devices with a database.

    Raises:
        SettingsError: it is not installed, with the command that mends it.
    """
    try:
        import httpx  # noqa: F401 - asks what a server is; imported here so that no thread does it in a running device
        import influxdb_client  # noqa: F401 - as above
    except ImportError as error:
        raise SettingsError(f"[[influx]] needs a package: pip install 'moamesh[influx]' ({error})") from None


class DatabaseWriter:
    """Writes to one database. For one thread; `close` must be called after."""

    def __init__(self, server: TelemetryServer, kind: ServerKind) -> None:
        from influxdb_client.client.influxdb_client import InfluxDBClient

        self._server = server
        token, basic = server.token, False
        if token is None and server.username:
            token, basic = f"{server.username}:{server.password or ''}", True
        context = tls_context(server) if server.url.startswith("https") else None
        self._client: Any = InfluxDBClient(  # its methods have no types
            server.url, token or "", auth_basic=basic, ssl_context=context, retries=False, connection_pool_maxsize=1
        )
        self._watchdog = Watchdog(self._client.api_client.rest_client.pool_manager)
        if kind is ServerKind.INFLUX_1:
            self._path, self._parameters = "/write", {"db": server.database, "precision": "ns"}
        else:
            self._path, self._parameters = "/api/v2/write", {"bucket": server.database, "precision": "ns"}
            if server.org:
                self._parameters["org"] = server.org

    @property
    def connections_made(self) -> int:
        """How many connections have been made so far: one more may mean that the server has started anew."""
        pool = self._client.api_client.rest_client.pool_manager.connection_from_url(self._server.url)
        return int(pool.num_connections)

    def write(self, lines: bytes, timeout_s: float, slow: ProblemListener = log_only) -> None:
        """Writes lines; returns when the database has taken them all.

        VictoriaMetrics answers 204 to lines that it cannot read or keep as well, leaves them out and says so in its own
        log alone. So only lines are given to it that it can: see `vetting`.

        timeout_s: how long the answer may be waited for; the rest of it may take as long again.
        slow: told in one line, in another thread, that the answer takes long.

        Raises:
            WriteError: it has not, or nobody knows.
        """
        with self._watchdog.watch(timeout_s, lambda how: slow(f"{self._server.url} {how}")):
            try:
                self._write(lines, timeout_s)
            except Exception as error:  # whatever a socket that is gone leads to
                if not self._watchdog.cut:
                    raise
                message = f"{self._server.url} {self._watchdog.cut}"
                raise WriteError(message, WriteProblem.UNSURE, "timeout") from error

    def _write(self, lines: bytes, timeout_s: float) -> None:
        import urllib3
        from influxdb_client.rest import ApiException

        api = self._client.api_client
        try:
            _, status, headers = api.call_api(
                self._path,
                "POST",
                query_params=list(self._parameters.items()),
                header_params={"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"},
                body=gzip.compress(lines, GZIP_LEVEL),
                _request_timeout=max(1, round(timeout_s * 1000)),
            )
        except ApiException as error:
            if not error.status:  # how the client tells of TLS
                raise self._tls_failure(error) from None
            raise self._failure(_Answer(error.status, error.headers or {}, str(error.body or ""))) from None
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            message = unreachable(self._server, error)
            raise WriteError(message, WriteProblem.NOTHING_ARRIVED, UNREACHABLE) from None
        except urllib3.exceptions.ReadTimeoutError:
            message = f"{self._server.url} did not answer within {timeout_s:g} s"
            raise WriteError(message, WriteProblem.UNSURE, "timeout") from None
        except (urllib3.exceptions.HTTPError, OSError, UnicodeDecodeError) as error:
            message = f"{self._server.url} broke off its answer: {_one_line(str(error))}"
            raise WriteError(message, WriteProblem.UNSURE, BROKEN_OFF) from None
        if status != _TAKEN:
            raise self._failure(_Answer(status, headers, str(api.last_response.data)))

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _tls_failure(self, error: Exception) -> WriteError:
        """A certificate that is not trusted, or the end of a connection in the midst of an answer."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                return WriteError(f"{self._server.url} broke off its answer", WriteProblem.UNSURE, BROKEN_OFF)
            cause = cause.__cause__ or cause.__context__
        return WriteError(unreachable(self._server, error), WriteProblem.SETTINGS, "tls")

    def _failure(self, answer: _Answer) -> WriteError:
        text = self._words(answer)
        words = _one_line(text)
        said = f"{self._server.url} answered {answer.status}: {words}"
        strange = answer.strange and not answer.headers.get("X-Influxdb-Error")
        trouble, way_out = _judge(answer.status, words, strange, self._server)
        dropped = _DROPPED.findall(text)  # the last one: the words before may quote a point
        return WriteError(
            said + (f"; {way_out}" if way_out else ""),
            trouble,
            str(answer.status),
            words=f"{answer.status} {words}",
            retry_after_s=_retry_after_s(answer.headers),
            dropped=int(dropped[-1]) if dropped else None,
            strange=strange,
        )

    def _words(self, answer: _Answer) -> str:
        """What the server says is wrong: InfluxDB's JSON, else the text, else the header, without our secrets."""
        text = answer.body
        with contextlib.suppress(ValueError, RecursionError):
            content: Any = json.loads(answer.body)
            if isinstance(content, dict):
                text = str(content.get("error") or content.get("message") or answer.body)
                if content.get("data"):  # InfluxDB 3 says here which lines
                    text += f" {json.dumps(content['data'])}"
        words = text.strip() or answer.headers.get("X-Influxdb-Error") or "no words"
        for secret in (self._server.token, self._server.password):
            words = words.replace(secret, "***") if secret else words
        return words


def _judge(status: int, words: str, strange: bool, server: TelemetryServer) -> tuple[WriteProblem, str]:
    """What a status means, and the way out where a person must take it."""
    about_lines = bool(_ABOUT_LINES.search(words)) and not strange
    about_settings = bool(_ABOUT_SETTINGS.search(words)) and not about_lines
    if status == 413:
        return WriteProblem.TOO_LARGE, NO_DATABASE if strange else ""
    if 200 <= status < 300:
        return (WriteProblem.BAD_LINES, "") if about_lines else (WriteProblem.UNSURE, NO_DATABASE)
    if strange and status in (400, 422):
        return WriteProblem.SETTINGS, NO_DATABASE
    if status == 422 or (status == 400 and not about_settings):
        return WriteProblem.BAD_LINES, ""
    if status in (408, 425, 429):
        return WriteProblem.BUSY, ""
    if status >= 500:
        return WriteProblem.UNSURE, ""
    ways_out = {
        400: "url, database and org in [[influx]] must be what the server expects",
        401: "token_file, or username and password_file, in [[influx]] is missing or wrong; correct it and restart",
        403: f"this token or user may not write to {server.database!r}: grant it write access",
        404: f"if {server.database!r} is not there, create it (`moamesh telemetry setup`); else see kind and org",
    }
    if 300 <= status < 400:
        return WriteProblem.SETTINGS, "it redirects elsewhere: give that address as url in [[influx]]"
    return WriteProblem.SETTINGS, ways_out.get(status, "see url and kind in [[influx]]")


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After, in seconds or as a date."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WORDS_CHARACTERS_MAX else line[: WORDS_CHARACTERS_MAX - 1] + "…"
