"""The two topics outside the mesh's own: a device announces itself to Home Assistant, and hears of it."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from edge_agent.adapters.home_assistant import BIRTH, DeviceCard, discovery_message
from edge_agent.wire.topics import HOME_ASSISTANT_PREFIX, discovery_birth, discovery_config

Fields: TypeAlias = dict[str, Any]

CONFIG, STATUS = "home-assistant-config", "home-assistant-status"
DEVICE, BORN = "home-assistant-device", "home-assistant-birth"
_CARD = DeviceCard("home", "kitchen", "smollm2-135m", False, "0.1.0", None)
_OPT_IN = "Only with `[home_assistant] discovery = true`."


def channels() -> Fields:
    """Returns both channels."""
    return {
        CONFIG: {
            "address": discovery_config("{mesh}", "{device}"),
            "title": CONFIG,
            "description": f"A device announces itself to Home Assistant. {_OPT_IN} Written by the device itself; "
            f"read by Home Assistant. `{HOME_ASSISTANT_PREFIX}` is its discovery prefix, which can be another one.",
            "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in ("mesh", "device")},
            "messages": {DEVICE: {"$ref": f"#/components/messages/{DEVICE}"}},
            "bindings": {"mqtt": {}},
        },
        STATUS: {
            "address": discovery_birth(),
            "title": STATUS,
            "description": f"Home Assistant has started and wants announcements again. {_OPT_IN} Written by Home "
            "Assistant; read by devices.",
            "messages": {BORN: {"$ref": f"#/components/messages/{BORN}"}},
            "bindings": {"mqtt": {}},
        },
    }


def operations(binding_version: str) -> Fields:
    """Returns what a device does with them."""
    tags = [{"name": "user"}]
    return {
        "sendHomeAssistantConfig": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{CONFIG}"},
            "title": f"send {CONFIG}",
            "description": "A device publishes this at every connect, and again when Home Assistant has started.",
            "tags": tags,
            "bindings": {"mqtt": {"qos": 1, "retain": True, "bindingVersion": binding_version}},
        },
        "receiveHomeAssistantStatus": {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{STATUS}"},
            "title": f"receive {STATUS}",
            "description": "A device subscribes to this.",
            "tags": tags,
            "bindings": {"mqtt": {"qos": 1, "bindingVersion": binding_version}},
        },
    }


def messages(binding_version: str) -> Fields:
    """Returns both messages."""
    binding = {"mqtt": {"bindingVersion": binding_version}}
    return {
        DEVICE: {
            "name": DEVICE,
            "title": "Home assistant device",
            "summary": schemas()[DEVICE]["description"],
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{DEVICE}"},
            "bindings": binding,
            "examples": [{"payload": json.loads(discovery_message(_CARD))}],
        },
        BORN: {
            "name": BORN,
            "title": "Home assistant birth",
            "summary": schemas()[BORN]["description"],
            "contentType": "text/plain",
            "payload": {"$ref": f"#/components/schemas/{BORN}"},
            "bindings": binding,
            "examples": [{"payload": BIRTH.decode()}],
        },
    }


def schemas() -> Fields:
    """Returns their schemas; the form is Home Assistant's, so only what every announcement has is said here."""
    inner = {name: {"type": "object", "description": text} for name, text in _PARTS.items()}
    return {
        DEVICE: {
            "type": "object",
            "description": "Home Assistant's MQTT device discovery (2024.11 and later).",
            "properties": inner,
            "required": list(inner),
            "additionalProperties": False,
        },
        BORN: {"const": BIRTH.decode(), "description": "Home Assistant's own word that it is there."},
    }


_PARTS = {
    "dev": "the device: identifiers, name, manufacturer, model, version",
    "o": "who announces",
    "cmps": "its entities; each reads a figure out of `presence` or `status`",
}
