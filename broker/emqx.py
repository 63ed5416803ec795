"""EMQX in the topic table's words: access rules and listeners. Rendered only: no EMQX was at hand to try them on.

Rules are tried from the top, the first that matches counts, and what none allows is denied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from broker.access import Action, Grant, People, device_grants, login_grants, operator_grants
from broker.mosquitto_config import Limits, Listeners
from edge_agent.wire.topics import OPERATOR_ID

NAME = "${username}"
_VERBS = {Action.WRITE: "publish", Action.READ: "subscribe"}


def acl_conf(mesh: str, people: People) -> str:
    """Returns EMQX's `acl.conf`."""
    lines = ["%% Made by moamesh from its topic table; changes here are lost."]
    lines += _rules(f'{{username, "{OPERATOR_ID}"}}', operator_grants(mesh, home_assistant=people.home_assistant))
    lines.append(f'{{deny, {{username, "{OPERATOR_ID}"}}}}.')
    for who in people.logins:
        lines += _rules(f'{{username, "{who.login}"}}', login_grants(mesh, who))
    lines += _rules('{username, {re, "^[a-z0-9-]+$"}}', device_grants(mesh, NAME, home_assistant=people.home_assistant))
    return "\n".join([*lines, "{deny, all}."]) + "\n"


def emqx_conf(folder: Path, listeners: Listeners, limits: Limits) -> str:
    """Returns the part of `emqx.conf` that the mesh needs.

    Raises:
        ValueError: the folder's path can't stand in it.
    """
    if re.fullmatch(r"[A-Za-z0-9/._-]+", str(folder)) is None:
        raise ValueError(f"a path in emqx.conf may have letters, digits and /._- only: {folder}")
    return "\n".join(["# Made by moamesh.", *_listeners(folder, listeners, limits), *_mqtt(folder, limits)]) + "\n"


def _rules(who: str, grants: Iterable[Grant]) -> Iterator[str]:
    chosen = list(grants)
    for action, verb in _VERBS.items():
        topics = ", ".join(f'"{grant.topic}"' for grant in chosen if grant.action is action)
        if topics:
            yield f"{{allow, {who}, {verb}, [{topics}]}}."


def _listeners(folder: Path, listeners: Listeners, limits: Limits) -> Iterator[str]:
    tls = f'cacertfile = "{folder}/ca.pem", certfile = "{folder}/server.pem", keyfile = "{folder}/server.key"'
    mutual = f"{tls}, verify = verify_peer, fail_if_no_peer_cert = true"
    common = f"max_connections = {limits.connections_max}, tcp_options {{ nodelay = true }}"
    host = listeners.host or "0.0.0.0"  # noqa: S104 - what the user asked for
    yield f'listeners.ssl.default {{ bind = "{host}:{listeners.devices}", {common}, enable_authn = false,'
    yield f"  ssl_options {{ {mutual} }} }}"
    if listeners.passwords is not None:
        yield f'listeners.ssl.passwords {{ bind = "{host}:{listeners.passwords}", {common}, ssl_options {{ {tls} }} }}'
    if listeners.web is not None:
        yield f'listeners.wss.default {{ bind = "{host}:{listeners.web}", {common}, ssl_options {{ {tls} }} }}'


def _mqtt(folder: Path, limits: Limits) -> Iterator[str]:
    yield "mqtt {"
    yield "  peer_cert_as_username = cn"
    yield f"  max_packet_size = {limits.packet_bytes_max}B"
    yield f"  max_mqueue_len = {limits.queued_messages_max}"
    yield f"  max_inflight = {limits.in_flight_max}"
    yield "}"
    yield "authorization {"
    yield "  no_match = deny"
    yield "  deny_action = ignore"
    yield f'  sources = [ {{ type = file, enable = true, path = "{folder}/acl.conf" }} ]'
    yield "}"
