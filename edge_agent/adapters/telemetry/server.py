"""A telemetry database: where it is, who we are to it, and which of its dialects it speaks."""

from __future__ import annotations

import base64
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, final
from urllib.parse import urlsplit

from edge_agent.core.errors import MoameshError, SettingsError
from edge_agent.tls import TlsFileError, client_context, say

if TYPE_CHECKING:
    import httpx

ANSWER_TIMEOUT_S = 10.0  # a database that works answers in milliseconds; a Pi under load, in a second or two
_URL = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")
_VERSION = re.compile(r"v?(?P<major>\d+)\.(?P<minor>\d+)")
_VICTORIA_VERSION = re.compile(r'vm_app_version\{[^}]*short_version="v?(?P<version>[^"]*)"')
_START = re.compile(r"^process_start_time_seconds (?P<start>[0-9.e+]+)$", re.MULTILINE)
_RETENTION = re.compile(r'^flag\{name="retentionPeriod", ?value="(?P<count>[0-9.]+)(?P<unit>[hdwy]?)"', re.MULTILINE)
_RETENTION_UNITS_S = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "": 31 * 86_400, "y": 365 * 86_400}
_FIRST_WITH_V2_WRITE = (1, 8)
PAGE_BYTES_MAX = 1024 * 1024  # of an answer about the server itself; VictoriaMetrics' figures are a tenth of it
_PAGE_CHARACTERS_MAX = 256 * 1024  # how far VictoriaMetrics' figures are looked through for its version


@final
class ServerKind(StrEnum):
    """The dialects. What writes how and reads how:

    `INFLUX_1`: InfluxDB 1.0 to 1.7, writes `/write`, reads InfluxQL at `/query`.
    `INFLUX_2`: InfluxDB 1.8 and later, 2.x, 3 Core: writes `/api/v2/write`, reads InfluxQL at `/query`.
    `VICTORIA_METRICS`: writes `/api/v2/write`, reads series at `/api/v1/export`.
    """

    INFLUX_1 = "influxdb-1"
    INFLUX_2 = "influxdb-2"
    VICTORIA_METRICS = "victoria-metrics"


@final
class TelemetryServerError(MoameshError):
    """A telemetry database did not do what was asked. One line for people, without secrets.

    Attributes:
        retryable: whether the same may succeed later with nothing changed here: nobody answered, or a server's trouble.
    """

    def __init__(self, detail: str, *, retryable: bool) -> None:
        super().__init__(detail)
        self.retryable = retryable


@final
@dataclass(frozen=True, slots=True)
class TelemetryServer:
    """One database. Secrets are in no `repr`.

    Args:
        url: http:// or https://, with a path if a proxy puts the database under one. Names no user.
        database: the database (InfluxDB 1) or bucket (2, 3); VictoriaMetrics has none.
        kind: `None` asks the server.
        org: InfluxDB 2's organisation; "" where there is one only.
        username, password: InfluxDB 1, or a proxy that wants them.
        token: InfluxDB 2 and 3; counts over `username`.
        ca_file: whom to trust for https (PEM); `None` is the system's own list.
        timeout_s: how long one answer may take.

    Raises:
        SettingsError: `url` is none of a database.
    """

    url: str
    database: str = "moamesh"
    kind: ServerKind | None = None
    org: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    timeout_s: float = ANSWER_TIMEOUT_S

    def __post_init__(self) -> None:
        if not (_URL.fullmatch(self.url) and _names_a_host(self.url)):
            echo = "" if "@" in self.url else f", not {self.url[:80]!r}"  # never a password
            raise SettingsError(
                f"a telemetry server is http://host:port or https://host:port, without a user in it{echo}"
            )
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise SettingsError(f"the token for {self.url} contains characters that no token can have: copy it again")
        object.__setattr__(self, "url", self.url.rstrip("/"))


@final
@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What a server says it is. `version` is "" where it does not say."""

    kind: ServerKind
    version: str


def _names_a_host(url: str) -> bool:
    """Whether it has a host that can be looked up, and a port that there is, if any."""
    try:
        parts = urlsplit(url)
        name = (parts.hostname or "").encode("idna")
        return parts.port != 0 and name.decode("idna") != ""
    except ValueError:  # also for a name that no name server can have
        return False


def identify(server: TelemetryServer) -> ServerKind:
    """Returns the dialect to speak: `server.kind` if that is given, else what the server shows itself to be.

    Raises:
        TelemetryServerError: it cannot be reached (retryable), or is not a database that we know.
        SettingsError: `ca_file` cannot be read.
    """
    return server.kind or introduce(server).kind


def introduce(server: TelemetryServer) -> ServerIdentity:
    """Asks the server what it is, whatever `server.kind` says.

    An InfluxDB names its version at `/ping`. VictoriaMetrics answers there too, without one, and names itself on its
    first page. (It calls itself InfluxDB 1.8 at `/query`, for Grafana's sake, so that is not asked.)

    Raises:
        TelemetryServerError: it cannot be reached (retryable), or is not a database that we know.
        SettingsError: `ca_file` cannot be read.
    """
    with open_http(server) as http:
        ping = get(http, server, "/ping")
        if version := ping.headers.get("X-Influxdb-Version"):
            match = _VERSION.match(version)
            old = match is not None and (int(match["major"]), int(match["minor"])) < _FIRST_WITH_V2_WRITE
            return ServerIdentity(ServerKind.INFLUX_1 if old else ServerKind.INFLUX_2, version.removeprefix("v"))
        _check_entry(server, ping)
        if "VictoriaMetrics" in get(http, server, "/").text[:_PAGE_CHARACTERS_MAX]:
            found = _VICTORIA_VERSION.search(get(http, server, "/metrics").text[:_PAGE_CHARACTERS_MAX])
            return ServerIdentity(ServerKind.VICTORIA_METRICS, found["version"] if found else "")
    raise TelemetryServerError(
        f"{server.url} is neither InfluxDB nor VictoriaMetrics (GET /ping: {ping.status_code}); "
        'if it is one behind a proxy, set kind = "influxdb-1", "influxdb-2" or "victoria-metrics"',
        retryable=ping.status_code >= 500,
    )


def introduced(server: TelemetryServer) -> ServerIdentity:
    """Asks the server what it is; `server.kind` where it does not say, as behind a proxy.

    Raises:
        TelemetryServerError, SettingsError: as `introduce`, where `server.kind` is `None` or nobody was reached.
    """
    try:
        return introduce(server)
    except TelemetryServerError as error:
        if server.kind is None or error.retryable:
            raise
        return ServerIdentity(server.kind, "")


@final
@dataclass(frozen=True, slots=True)
class VictoriaState:
    """What a VictoriaMetrics says of itself; a proxy may hide it.

    start: when it was started, in its own words; "" if it does not say. keeps_ns: how long it keeps points, in
    nanoseconds; older ones it takes and drops in silence. `None` if it does not say.
    """

    start: str = ""
    keeps_ns: int | None = None


def look_at_victoria_metrics(server: TelemetryServer) -> VictoriaState:
    """Asks a VictoriaMetrics what it says of itself.

    Raises:
        TelemetryServerError: it cannot be reached.
    """
    with open_http(server) as http:
        page = get(http, server, "/metrics").text
    start, keeps = _START.search(page), _RETENTION.search(page)
    keeps_ns = None
    if keeps is not None:
        keeps_ns = int(float(keeps["count"]) * _RETENTION_UNITS_S[keeps["unit"]] * 10**9)
    return VictoriaState(start["start"] if start else "", keeps_ns)


def authorization(server: TelemetryServer) -> Mapping[str, str]:
    """Returns the headers that say who we are; empty for a server that asks nobody."""
    if server.token:
        return {"Authorization": f"Token {server.token}"}
    if server.username:
        pair = f"{server.username}:{server.password or ''}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def open_http(server: TelemetryServer) -> httpx.Client:
    """Returns an HTTP client for questions to the server, with its authorization. The caller closes it (`with`).

    Proxies of the environment are not used: a device speaks to its database as it speaks to its broker, directly.

    Raises:
        SettingsError: `ca_file` cannot be read.
    """
    import httpx  # takes a while to import; a device without a database does without it

    return httpx.Client(
        headers=dict(authorization(server)), timeout=server.timeout_s, verify=tls_context(server), trust_env=False
    )


def tls_context(server: TelemetryServer) -> ssl.SSLContext:
    """Returns whom to trust.

    Raises:
        SettingsError: `ca_file` cannot be read.
    """
    try:
        return client_context(server.ca_file, None, None, None)
    except TlsFileError as error:
        raise SettingsError(f"ca_file {error}") from None


def get(http: httpx.Client, server: TelemetryServer, path: str, **parameters: str) -> httpx.Response:
    """Returns the server's answer to a GET, whatever its status, and at most `PAGE_BYTES_MAX` of it.

    Raises:
        TelemetryServerError: nobody answered, or not to the end within the server's time.
    """
    import httpx

    ends_at, body = time.monotonic() + server.timeout_s, b""
    try:
        plain = {"Accept-Encoding": "identity"}  # what is packed may be a thousand times as large
        with http.stream("GET", server.url + path, params=parameters, headers=plain) as answer:
            for piece in answer.iter_raw():
                body += piece
                if len(body) > PAGE_BYTES_MAX:
                    break
                if time.monotonic() >= ends_at:  # httpx's own timeout begins anew with each piece
                    said = f"{server.url} did not complete its answer within {server.timeout_s:g} s"
                    raise TelemetryServerError(said, retryable=True)
        headers = [(name, value) for name, value in answer.headers.items() if name != "content-encoding"]
        return httpx.Response(answer.status_code, headers=headers, content=body[:PAGE_BYTES_MAX])
    except httpx.HTTPError as error:
        raise TelemetryServerError(unreachable(server, error), retryable=True) from None
    except (httpx.InvalidURL, UnicodeError) as error:  # the library takes fewer names for names than we do
        raise TelemetryServerError(f"{server.url} is no address: {error}", retryable=False) from None


def unreachable(server: TelemetryServer, error: BaseException) -> str:
    """Returns one line about a server that did not answer, with what people can do where that is known."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{server.url}: {say(cause, ca=server.ca_file)}"
        if isinstance(cause, ssl.SSLError):
            return f"{server.url} does not complete a TLS handshake ({cause.reason}); should the URL be http://?"
        if isinstance(cause, TimeoutError):
            return f"{server.url} did not answer within {server.timeout_s:g} s"
        if isinstance(cause, OSError) and cause.strerror:
            return f"{server.url} cannot be reached: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return f"{server.url} cannot be reached: {str(error) or type(error).__name__}"


def _check_entry(server: TelemetryServer, answer: httpx.Response) -> None:
    """A server that lets nobody in without a name cannot be told apart."""
    if answer.status_code in (401, 403):
        raise TelemetryServerError(
            f"{server.url} refuses access ({answer.status_code}): token, username or password is missing or wrong",
            retryable=False,
        )
