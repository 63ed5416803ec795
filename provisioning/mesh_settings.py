"""What holds for a whole mesh, as `mesh.toml` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, final

import tomli_w

from edge_agent.wire.topics import is_id

BROKERS_MAX = 8  # as many addresses as a device takes for one home
OWN_BROKERS_MAX = 1_000  # devices that are homes of their own; the operator's service keeps a connection to each
DEFAULT_BROKER = "mqtts://localhost:8883"
DEFAULT_CLAIM_BROKER = "mqtts://localhost:8884"
_HEAD = """\
# brokers: where devices connect with their certificates; claim_broker: where one without connects with its claim
# layers, fanout: what devices are given; app_url: where the app is served; web_brokers: where it reaches the broker
# own_brokers: devices that run a broker of their own
"""
_KEYS = {"name", "brokers", "claim_broker", "layers", "fanout", "app_url", "web_brokers", "own_brokers"}


@final
@dataclass(frozen=True, slots=True)
class MeshSettings:
    """What holds for the whole mesh.

    brokers: URLs where devices connect with their certificates.
    claim_broker: URL where a device without a certificate connects with its claim's secret.
    layers, fanout: what devices are given in their settings; `None` leaves it to them.
    app_url: where the app is served, as pairing links say it; "" is not known yet.
    web_brokers: ws:// or wss:// URLs where the app reaches the broker; none: the first broker's host.
    own_brokers: devices that run a broker of their own, and the URL of each.
    """

    name: str
    brokers: tuple[str, ...] = (DEFAULT_BROKER,)
    claim_broker: str = DEFAULT_CLAIM_BROKER
    layers: int | None = None
    fanout: int | None = None
    app_url: str = ""
    web_brokers: tuple[str, ...] = ()
    own_brokers: Mapping[str, str] = field(default_factory=dict)


def read_settings(fields: dict[str, Any]) -> MeshSettings:
    """Returns the settings that a parsed `mesh.toml` says.

    Raises:
        ValueError: it says something else; one line.
    """
    if unknown := sorted(fields.keys() - _KEYS):
        raise ValueError(f"{unknown[0]}: unknown setting")
    name = fields.get("name")
    if not isinstance(name, str) or not is_id(name):
        raise ValueError("name must be 1 to 64 of a-z, 0-9 and -")
    brokers = _urls(fields, "brokers", [DEFAULT_BROKER])
    if not brokers:
        raise ValueError(f"brokers must be 1 to {BROKERS_MAX} URLs")
    texts = {"claim_broker": fields.get("claim_broker", DEFAULT_CLAIM_BROKER), "app_url": fields.get("app_url", "")}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise ValueError(f"{key} must be a URL")
    layers, fanout = (_number(fields, key) for key in ("layers", "fanout"))
    web, own = _urls(fields, "web_brokers", []), _own_brokers(fields.get("own_brokers", {}))
    return MeshSettings(name, brokers, texts["claim_broker"], layers, fanout, texts["app_url"], web, own)


def settings_text(settings: MeshSettings) -> str:
    """Returns `mesh.toml`: the settings, below what each means."""
    said = asdict(settings) | {"own_brokers": dict(sorted(settings.own_brokers.items()))}
    return _HEAD + tomli_w.dumps({key: value for key, value in said.items() if value is not None})


def _urls(fields: dict[str, Any], key: str, default: list[str]) -> tuple[str, ...]:
    urls = fields.get(key, default)
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ValueError(f"{key} must be a list of URLs")
    if len(urls) > BROKERS_MAX:
        raise ValueError(f"{key}: at most {BROKERS_MAX} URLs")
    return tuple(urls)


def _number(fields: dict[str, Any], key: str) -> int | None:
    value = fields.get(key)
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError(f"{key} must be a whole number")
    return value


def _own_brokers(table: Any) -> dict[str, str]:
    if not isinstance(table, dict) or not all(is_id(name) and isinstance(url, str) for name, url in table.items()):
        raise ValueError('own_brokers must be lines such as kitchen = "mqtts://kitchen.local:8883"')
    if len(table) > OWN_BROKERS_MAX:
        raise ValueError(f"own_brokers: at most {OWN_BROKERS_MAX} devices")
    return dict(table)
