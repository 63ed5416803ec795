"""The broker programs that can be embedded: how each is found, configured and started, and what it cannot do.

Nothing in the protocol needs what the weaker one lacks; still a user should know which one is running.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

PACKET_BYTES_MAX = (
    2_000_000  # far above a 256 KiB body: devices refuse in words what a broker would answer by hanging up
)
QUEUED_MESSAGES_MAX = 10_000  # per slow client; must exceed the number of retained topics, or some are not delivered
CONNECTIONS_MAX = 10_000

# Debian puts it where an ordinary user's PATH does not look.
_MOSQUITTO_PATHS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")


WEB_HEADER_BYTES_MAX = 8192
"""Of a browser's request. mosquitto's 1024 are too few: a page on localhost sends the cookies of all ports there."""

PEOPLE_ACL = "people.acl"
PASSWORDS = "passwords"
"""Who may come in by the web listener, in the broker's folder."""


@final
@dataclass(frozen=True, slots=True)
class WebListener:
    """MQTT over WebSockets, with the folder's `PASSWORDS` and `PEOPLE_ACL`. `host` is an IPv4 address."""

    host: str
    port: int


@final
@dataclass(frozen=True, slots=True)
class BrokerKind:
    """One program. `command` writes its configuration into a folder and returns how to start it."""

    name: str
    limitations: str
    """One line for people; "" if there is nothing to say."""
    is_available: Callable[[], bool]
    command: Callable[[Path, str, int, WebListener | None], list[str]]
    has_web: bool
    """Whether it can have a web listener that knows passwords."""


def find_mosquitto() -> str | None:
    """Returns the path of the mosquitto program, if it is installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=":".join(_MOSQUITTO_PATHS))


def _mosquitto(folder: Path, host: str, port: int, web: WebListener | None = None) -> list[str]:
    config = folder / "mosquitto.conf"
    # Started by root it would become another user, and a child that does is no longer ended with its parent.
    as_root = "user root\n" if os.geteuid() == 0 else ""
    config.write_text(
        f"""\
per_listener_settings true
{as_root}listener {port} {host}
# Who reaches the loopback interface is on this machine already.
allow_anonymous true
# Without it a small message waits up to 44 ms for the acknowledgement of the one before.
set_tcp_nodelay true
persistence false
max_queued_messages {QUEUED_MESSAGES_MAX}
max_packet_size {PACKET_BYTES_MAX}
connection_messages false
sys_interval 0
log_dest stderr
log_type error
log_type warning
{_web_lines(folder, web) if web is not None else ""}"""
    )
    return [find_mosquitto() or "mosquitto", "-c", str(config)]


def _web_lines(folder: Path, web: WebListener) -> str:
    return f"""\
websockets_headers_size {WEB_HEADER_BYTES_MAX}
listener {web.port} {web.host}
# Without it mosquitto 2.0 listens on every interface whatever the address says.
socket_domain ipv4
protocol websockets
allow_anonymous false
password_file {folder / PASSWORDS}
acl_file {folder / PEOPLE_ACL}
"""


def _iotcore(folder: Path, host: str, port: int, web: WebListener | None = None) -> list[str]:
    config = folder / "iotcore.toml"
    config.write_text(
        f"""\
id = 0

[router]
id = 0
max_connections = {CONNECTIONS_MAX}
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5-1"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {PACKET_BYTES_MAX}
max_inflight_count = 100
dynamic_filters = true
"""
    )
    # -P: a folder named iotcore in the working directory must not be taken for the package.
    return [sys.executable, "-P", "-m", "iotcore", "--config", str(config), "--log-level", "CRITICAL"]


MOSQUITTO = BrokerKind("mosquitto", "", lambda: find_mosquitto() is not None, _mosquitto, has_web=True)
IOTCORE = BrokerKind(
    "iotcore",
    "iotcore: MQTT 5 only on this port, about 40 ms more per hop, keeps nothing over a broken connection or a restart",
    lambda: importlib.util.find_spec("iotcore") is not None,
    _iotcore,
    has_web=False,  # its WebSockets listener speaks MQTT 3.1.1 and has no access rules
)
KINDS: dict[str, BrokerKind] = {kind.name: kind for kind in (MOSQUITTO, IOTCORE)}
"""In the order of preference."""


def choose(name: str | None = None) -> BrokerKind:
    """Returns the named kind, or the best one that is installed.

    Raises:
        RuntimeError: it is not installed; the message says what to install.
    """
    if name is not None and name not in KINDS:
        raise RuntimeError(f"unknown broker program {name!r}; choose one of {', '.join(KINDS)}")
    for kind in [KINDS[name]] if name is not None else KINDS.values():
        if kind.is_available():
            return kind
    wanted = name or "MQTT broker"
    raise RuntimeError(
        f"no {wanted} found: install mosquitto (`apt install mosquitto`) or `pip install moamesh[embedded-broker]`"
    )
