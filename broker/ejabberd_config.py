"""ejabberd.yml for a node of an MQTT cluster: listeners, who may what, limits. (Every JSON text is a YAML text too.)

ejabberd checks rights when somebody publishes or subscribes: a subscription that was allowed stays until its session
ends. Its MQTT does not read revocation lists, so devices are shut out by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from broker.access import Action, Grant, People, device_grants, login_grants, operator_grants
from broker.erlang import TICK_S
from broker.mosquitto_config import Limits, Listeners
from edge_agent.wire.topics import OPERATOR_ID

DOMAIN = "localhost"
"""The one virtual host. Clients never see it: a user name without a host belongs to it."""
NAME = "%u"
TOPIC_DEPTH_MAX = 16
SESSION_EXPIRY_MAX = "10 minutes"  # longer than a device takes to restart
LISTEN_BACKLOG = 128

_DEVICES = "devices"
_REVOKED = "revoked"


@final
@dataclass(frozen=True, slots=True)
class EjabberdConfig:
    """Everything ejabberd.yml says. The files it names lie in `folder`."""

    folder: Path
    mesh: str
    listeners: Listeners
    authenticator: Sequence[str]
    """The command that checks passwords (`broker.extauth`)."""
    limits: Limits = field(default_factory=Limits)

    def text(self, people: People, revoked: Sequence[str] = ()) -> str:
        """Returns the file. `revoked` are names of devices that are shut out.

        Raises:
            ValueError: a part of the authenticator's command can't be written in a configuration.
        """
        acl: dict[str, Any] = {_DEVICES: {"user_regexp": "^[a-z0-9-]+$"}, OPERATOR_ID: {"user": OPERATOR_ID}}
        if revoked:
            acl[_REVOKED] = {"user": sorted(revoked)}
        acl |= {_name(who.login): {"user": who.login} for who in people.logins}
        rules: dict[str, list[dict[str, str]]] = {}
        publish = self._access(Action.WRITE, people, rules, shut=bool(revoked))
        subscribe = self._access(Action.READ, people, rules, shut=bool(revoked))
        content = {
            "hosts": [DOMAIN],
            "loglevel": "error",
            "net_ticktime": f"{TICK_S} seconds",
            "certfiles": [f"{self.folder}/server-with-key.pem"],
            "ca_file": f"{self.folder}/ca.pem",
            "c2s_cafile": f"{self.folder}/ca.pem",  # what MQTT clients' certificates are checked against
            "auth_method": ["external"],
            "extauth_program": _command(self.authenticator),
            "extauth_pool_size": 2,
            "auth_use_cache": False,
            "listen": self._listen(),
            "acl": acl,
            "access_rules": rules,
            "modules": {
                "mod_mqtt": {
                    "access_publish": publish,
                    "access_subscribe": subscribe,
                    "max_queue": self.limits.queued_messages_max,
                    "match_retained_limit": self.limits.queued_messages_max,
                    "max_topic_depth": TOPIC_DEPTH_MAX,
                    "session_expiry": SESSION_EXPIRY_MAX,
                }
            },
        }
        return f"# Made by moamesh from its topic table; changes here are lost.\n{json.dumps(content, indent=2)}\n"

    def _listen(self) -> list[dict[str, Any]]:
        has = self.listeners
        base: dict[str, Any] = {"ip": has.host or "::", "backlog": LISTEN_BACKLOG, "tls": True}
        mqtt = base | {"module": "mod_mqtt", "max_payload_size": self.limits.packet_bytes_max}
        found = [mqtt | {"port": has.devices, "tls_verify": True}]
        if has.passwords is not None:
            found.append(mqtt | {"port": has.passwords})
        if has.web is not None:
            handlers = {"/mqtt": "mod_mqtt", "/": "mod_mqtt"}
            found.append(base | {"port": has.web, "module": "ejabberd_http", "request_handlers": handlers})
        return found

    def _access(
        self, action: Action, people: People, rules: dict[str, list[dict[str, str]]], *, shut: bool
    ) -> dict[str, str]:
        """Returns which rule holds for which filter, and adds the rules."""
        who: dict[str, list[str]] = {}
        _collect(who, _DEVICES, device_grants(self.mesh, NAME, home_assistant=people.home_assistant), action)
        _collect(who, OPERATOR_ID, operator_grants(self.mesh, home_assistant=people.home_assistant), action)
        for one in people.logins:
            _collect(who, _name(one.login), login_grants(self.mesh, one), action)
        access: dict[str, str] = {}
        for number, (topic, names) in enumerate(sorted(who.items())):
            rule = f"{action.value}_{number}"
            access[topic] = rule
            # The operator's name is like a device's, so what is the devices' alone is refused to it first.
            first = [{"allow" if OPERATOR_ID in names else "deny": OPERATOR_ID}]
            denied = [{"deny": _REVOKED}] if shut else []
            rules[rule] = denied + first + [{"allow": name} for name in names if name != OPERATOR_ID]
        return access


def _collect(who: dict[str, list[str]], name: str, grants: Iterable[Grant], action: Action) -> None:
    for grant in grants:
        if grant.action is action and name not in who.setdefault(grant.topic, []):
            who[grant.topic].append(name)


def _name(login: str) -> str:
    return login.replace(".", "_")


def _command(parts: Sequence[str]) -> str:
    """ejabberd splits a command at spaces and knows no quotes."""
    if any(re.search(r"\s", part) for part in parts):
        raise ValueError(f"ejabberd can't start a program whose path has a space in it: {' '.join(parts)}")
    return " ".join(parts)
