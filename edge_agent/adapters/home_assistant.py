"""What a device tells Home Assistant of itself: one message that makes it a device there, with its sensors.

It is Home Assistant's MQTT device discovery (2024.11 and later). The figures themselves are not sent again: every
sensor reads them out of the `presence` and `status` messages that the device publishes for everybody. Pure, but for
`Announced`, which remembers in a file what has been announced, so that it can be taken back after a restart.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from edge_agent.core.messages import PresenceState
from edge_agent.files import PRIVATE, read_if_there, reason, write_atomically
from edge_agent.wire.topics import Channel, build

_log = logging.getLogger(__name__)

BIRTH = b"online"
"""What Home Assistant says on its status topic when it has started."""

STATUSES_MISSED_MAX = 3.0  # two statuses may be lost or late; then figures are no longer shown as true
EXPIRE_AFTER_MIN_S = 15  # a device that tells its figures every second may be busy for a moment
ANNOUNCED_FILE = "home-assistant.json"
_FILE_BYTES_MAX = 64 * 1024  # a few topics; beyond it somebody else wrote it

# What is wrong, part by part; a state of Home Assistant's holds 255 characters.
_TROUBLE = "(value_json.problems | default([]) | map(attribute='detail') | join('; ') or 'none')[:255]"

Config = dict[str, Any]


@final
@dataclass(frozen=True, slots=True)
class DeviceCard:
    """What is announced. `status_interval_s` None: the device tells no figures, and is there or not."""

    mesh: str
    device_id: str
    model: str
    synthetic: bool
    version: str
    status_interval_s: float | None


def discovery_message(card: DeviceCard) -> bytes:
    """Returns the body of the announcement, which is to be retained."""
    components = {"state": _state(card)}
    if card.status_interval_s is not None:
        components |= _figures(card)
    note = " (synthetic, no language model)" if card.synthetic else ""
    message = {
        "dev": {
            "ids": [_identity(card)],
            "name": card.device_id,
            "mf": "moamesh",
            "mdl": f"{card.model}{note}",
            "sw": card.version,
        },
        "o": {"name": "moamesh", "sw": card.version},
        "cmps": components,
    }
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def _identity(card: DeviceCard) -> str:
    return f"moamesh_{card.mesh}_{card.device_id}"  # no id holds "_", so no two pairs make the same text


def _component(card: DeviceCard, key: str, platform: str, name: str, icon: str = "") -> Config:
    return {"p": platform, "uniq_id": f"{_identity(card)}_{key}", "name": name} | ({"ic": icon} if icon else {})


def _state(card: DeviceCard) -> Config:
    """The presence in words. It is never unavailable: "offline" is what it is for."""
    return _component(card, "state", "sensor", "State", "mdi:lan-connect") | {
        "stat_t": build(card.mesh, card.device_id, Channel.PRESENCE),
        "val_tpl": "{{ value_json.state }}",
        "dev_cla": "enum",
        "ops": [state.value for state in PresenceState],
    }


def _figures(card: DeviceCard) -> dict[str, Config]:
    gauge = {"stat_cla": "measurement"}
    percent = gauge | {"unit_of_meas": "%", "sug_dsp_prc": 0}
    total = {"stat_cla": "total_increasing"}  # a device that restarts counts from 0 again, which is known of these
    return {
        "waiting": _figure(card, "waiting", "Requests waiting", "value_json.requests_waiting", gauge, "mdi:tray-full"),
        "running": _figure(card, "running", "Requests running", "value_json.requests_running", gauge, "mdi:cog-play"),
        "utilisation": _figure(
            card, "utilisation", "Utilisation", "(value_json.utilisation * 100) | round(1)", percent, "mdi:gauge"
        ),
        "margin": _figure(
            card,
            "margin",
            "Stability margin",
            "(value_json.stability_margin * 100) | round(1)",
            percent,
            "mdi:scale-balance",
        ),
        "service_time": _figure(
            card,
            "service_time",
            "Service time",
            "value_json.service_time_s_mean or none",  # 0 is none measured yet, which is unknown
            gauge | {"dev_cla": "duration", "unit_of_meas": "s", "sug_dsp_prc": 2},
        ),
        "sessions": _figure(card, "sessions", "Sessions", "value_json.sessions_active", gauge, "mdi:forum"),
        "accepted": _figure(card, "accepted", "Requests accepted", "value_json.accepted", total, "mdi:tray-plus"),
        "completed": _figure(
            card, "completed", "Requests completed", "value_json.completed", total, "mdi:tray-arrow-up"
        ),
        "rejected": _figure(card, "rejected", "Requests rejected", "value_json.rejected", total, "mdi:tray-remove"),
        "expired": _figure(card, "expired", "Requests expired", "value_json.expired", total, "mdi:timer-off"),
        "failed": _figure(card, "failed", "Requests failed", "value_json.failed", total, "mdi:tray-alert"),
        # devices of an earlier version say nothing of their health: then nothing is known to be wrong
        "unable": _component(card, "unable", "binary_sensor", "Cannot infer")
        | _from_status(card, "'OFF' if value_json.able | default(true) else 'ON'")
        | {"dev_cla": "problem"},
        "trouble": _component(card, "trouble", "sensor", "Trouble", "mdi:alert-circle-outline")
        | _from_status(card, _TROUBLE),
        "overloaded": _component(card, "overloaded", "binary_sensor", "Overloaded")
        | _from_status(card, "'ON' if value_json.stability_margin < 0 else 'OFF'")
        | {"dev_cla": "problem"},
    }


def _figure(card: DeviceCard, key: str, name: str, expression: str, more: Config, icon: str = "") -> Config:
    return _component(card, key, "sensor", name, icon) | _from_status(card, expression) | more


def _from_status(card: DeviceCard, expression: str) -> Config:
    """Reads a figure out of the status; not available while the device is not online, or says nothing any more."""
    interval_s = card.status_interval_s or 0.0
    return {
        "stat_t": build(card.mesh, card.device_id, Channel.STATUS),
        "val_tpl": f"{{{{ {expression} }}}}",
        "avty_t": build(card.mesh, card.device_id, Channel.PRESENCE),
        # three states in two: a device that was stopped and one that was lost are both not there
        "avty_tpl": "{{ 'online' if value_json.state == 'online' else 'offline' }}",
        "exp_aft": max(EXPIRE_AFTER_MIN_S, math.ceil(STATUSES_MISSED_MAX * interval_s)),
    }


class Announced:
    """The topics on which this device has announced itself and has not taken it back: in a file, over restarts."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ANNOUNCED_FILE
        self._said = False

    def topics(self) -> tuple[str, ...]:
        """Returns them. A file that cannot be read is as good as none, and said: its user removes what is left over."""
        try:
            content = read_if_there(self._path, _FILE_BYTES_MAX)
            if content is None:
                return ()
            found = json.loads(content)["topics"]
            if not isinstance(found, list):
                raise TypeError("not a list of topics")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            if not self._said:
                self._said = True
                why = reason(error) if isinstance(error, OSError) else "damaged"
                _log.error(
                    "%s: %s; a device that was announced to Home Assistant under another name stays there until it is "
                    "removed by hand; remove this file",
                    *(self._path, why),
                )
            return ()
        return tuple(topic for topic in found if isinstance(topic, str))

    def add(self, topic: str) -> None:
        """Notes a topic. To be called before the announcement is sent, so that it is never forgotten.

        Raises:
            OSError: the file cannot be written.
        """
        if topic not in self.topics():
            self._write((*self.topics(), topic))

    def remove(self, topic: str) -> None:
        """Notes that an announcement was taken back, once the broker has said so.

        Raises:
            OSError: the file cannot be written.
        """
        left = tuple(one for one in self.topics() if one != topic)
        if left:
            self._write(left)
        else:
            self._path.unlink(missing_ok=True)

    def _write(self, topics: Iterable[str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, json.dumps({"topics": list(topics)}).encode(), PRIVATE)
