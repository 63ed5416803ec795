"""What Home Assistant makes of what it reads, written from its documentation of MQTT device discovery (2025).

`problems` says what it would refuse or warn of. `Entities` follows a mesh as it does: announcements become entities,
whose state and availability come out of templates that are filled in with real messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, StrictUndefined

Config = dict[str, Any]

ABBREVIATIONS = {
    **{"dev": "device", "o": "origin", "cmps": "components", "p": "platform", "uniq_id": "unique_id", "name": "name"},
    **{"stat_t": "state_topic", "val_tpl": "value_template", "dev_cla": "device_class", "stat_cla": "state_class"},
    **{"unit_of_meas": "unit_of_measurement", "sug_dsp_prc": "suggested_display_precision", "ops": "options"},
    **{"exp_aft": "expire_after", "ic": "icon", "avty": "availability", "avty_t": "availability_topic"},
    **{"avty_tpl": "availability_template", "ent_cat": "entity_category", "en": "enabled_by_default", "t": "topic"},
}
OF_DEVICE = {"ids": "identifiers", "name": "name", "mf": "manufacturer", "mdl": "model", "sw": "sw_version"}
OF_ORIGIN = {"name": "name", "sw": "sw_version", "url": "support_url"}
_COMMON = {
    *("unique_id", "name", "state_topic", "value_template", "icon", "availability", "availability_topic"),
    *("availability_template", "entity_category", "enabled_by_default", "expire_after", "device_class"),
}
_OPTIONS = {
    "sensor": _COMMON | {"state_class", "unit_of_measurement", "suggested_display_precision", "options"},
    "binary_sensor": _COMMON | {"payload_on", "payload_off"},
}
_DEVICE_CLASSES = {
    "sensor": {"enum": None, "duration": {"d", "h", "min", "s", "ms", "μs"}},
    "binary_sensor": {"problem": None, "connectivity": None, "running": None},
}
_STATE_CLASSES = {"measurement", "total", "total_increasing"}
_TOPIC = re.compile(r"\w+/(?:[a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config")


def expanded(body: bytes) -> Config:
    """The announcement with its options by their whole names; what is no known abbreviation stays as it is."""
    given = json.loads(body)
    found = {ABBREVIATIONS.get(key, key): value for key, value in given.items()}
    found["device"] = {OF_DEVICE.get(key, key): value for key, value in found.get("device", {}).items()}
    found["origin"] = {OF_ORIGIN.get(key, key): value for key, value in found.get("origin", {}).items()}
    found["components"] = {
        name: {ABBREVIATIONS.get(key, key): value for key, value in component.items()}
        for name, component in found.get("components", {}).items()
    }
    return found


def problems(topic: str, body: bytes, prefix: str = "homeassistant") -> list[str]:
    """What Home Assistant would say against it; nothing if all is well."""
    return list(_problems(topic, body, prefix))


def _problems(topic: str, body: bytes, prefix: str) -> Iterator[str]:
    if not topic.startswith(f"{prefix}/") or not _TOPIC.fullmatch(topic.removeprefix(f"{prefix}/")):
        yield f"no discovery topic: {topic}"
    config = expanded(body)
    if extra := config.keys() - {"device", "origin", "components", "availability", "state_topic"}:
        yield f"unknown at the top: {sorted(extra)}"
    if not config["device"].get("identifiers"):
        yield "the device has no identifiers"
    if strange := config["device"].keys() - OF_DEVICE.values():
        yield f"unknown of a device: {sorted(strange)}"
    if not config["origin"].get("name"):
        yield "the origin has no name"
    if not config["components"]:
        yield "no components"
    ids = [component.get("unique_id") for component in config["components"].values()]
    if len(set(ids)) != len(ids):
        yield "two components have one unique_id"
    for name, component in config["components"].items():
        yield from (f"{name}: {problem}" for problem in _of_component(component))


def _of_component(component: Config) -> Iterator[str]:
    platform = component.get("platform")
    if platform not in _OPTIONS:
        yield f"platform {platform!r}"
        return
    if not component.get("unique_id"):
        yield "no unique_id"
    if not component.get("state_topic") or re.search(r"[+#]", component["state_topic"]):
        yield "no state_topic that can be"
    if unknown := component.keys() - _OPTIONS[platform] - {"platform"}:
        yield f"unknown options {sorted(unknown)}"
    expires = component.get("expire_after", 1)
    if not (isinstance(expires, int) and expires > 0):
        yield f"expire_after {expires!r}"
    if not str(component.get("icon", "mdi:x")).startswith("mdi:"):
        yield f"icon {component['icon']!r}"
    yield from _of_classes(platform, component)


def _of_classes(platform: str, component: Config) -> Iterator[str]:
    kind, unit, state_class = (component.get(k) for k in ("device_class", "unit_of_measurement", "state_class"))
    if kind is not None and kind not in _DEVICE_CLASSES[platform]:
        yield f"device_class {kind!r}"
    elif kind is not None and (units := _DEVICE_CLASSES[platform][kind]) and unit not in units:
        yield f"unit {unit!r} of a {kind}"
    if state_class is not None and state_class not in _STATE_CLASSES:
        yield f"state_class {state_class!r}"
    if (kind == "enum") != ("options" in component):
        yield "enum and options belong together"
    if "options" in component and (unit or state_class or not component["options"]):
        yield "options want neither unit nor state_class, and at least one of them"


@dataclass
class Entities:
    """The devices as Home Assistant shows them. Feed it every message, in order."""

    configs: dict[str, Config] = field(default_factory=dict)
    """By discovery topic."""
    bodies: dict[str, bytes] = field(default_factory=dict)
    """The newest message of every other topic."""

    def take(self, topic: str, body: bytes) -> None:
        """Takes a message."""
        if not topic.endswith("/config"):
            self.bodies[topic] = body
        elif body:
            self.configs[topic] = expanded(body)
        else:
            self.configs.pop(topic, None)

    def states(self, topic: str) -> dict[str, str]:
        """The state of each entity that an announcement made, by the name of its component."""
        return {name: self._state(one) for name, one in self.configs.get(topic, {}).get("components", {}).items()}

    def _state(self, component: Config) -> str:
        available = component.get("availability_topic")
        if available is not None and self._fill(available, component["availability_template"]) != "online":
            return "unavailable"
        value = self._fill(component["state_topic"], component["value_template"])
        if value in (None, "None"):
            return "unknown"
        if component["platform"] == "binary_sensor":
            return {"ON": "on", "OFF": "off"}[value]
        if "options" in component and value not in component["options"]:
            raise AssertionError(f"{value!r} is none of {component['options']}")
        return value

    def _fill(self, topic: str, template: str) -> str | None:
        body = self.bodies.get(topic)
        if body is None:
            return None
        environment = Environment(undefined=StrictUndefined, autoescape=False)  # no HTML is made
        return environment.from_string(template).render(value_json=json.loads(body))
