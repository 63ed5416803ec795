"""Connections over MQTT 5, for devices, users and provisioning: the one room that knows aiomqtt and paho.

It knows nothing of the mesh's topics and messages. A connection is a `Link` around what `open_client` makes; `Tries`
says where and when the next one is tried, `explain` what was wrong with the last.
"""

from aiomqtt import MqttError, Will

from edge_agent.mqtt.client import CONNECT_TIMEOUT_S, open_client
from edge_agent.mqtt.intake import Bounds, Incoming
from edge_agent.mqtt.limits import PACKET_OVERHEAD, BrokerLimits
from edge_agent.mqtt.link import Link, matches
from edge_agent.mqtt.reasons import (
    BROKEN,
    PACKET_TOO_LARGE,
    QOS_NOT_SUPPORTED,
    RETAIN_NOT_SUPPORTED,
    SESSION_TAKEN_OVER,
    THROWN_OUT,
    WILDCARDS_NOT_SUPPORTED,
    RefusedError,
    Trouble,
    WordlessError,
    code_of,
    explain,
    of_code,
)
from edge_agent.mqtt.tries import Pace, Tries
from edge_agent.mqtt.trust import TlsFiles, whoms_at
from edge_agent.mqtt.urls import BrokerUrl, parse_home, parse_url, shown

__all__ = [
    "BROKEN",
    "CONNECT_TIMEOUT_S",
    "PACKET_OVERHEAD",
    "PACKET_TOO_LARGE",
    "QOS_NOT_SUPPORTED",
    "RETAIN_NOT_SUPPORTED",
    "SESSION_TAKEN_OVER",
    "THROWN_OUT",
    "WILDCARDS_NOT_SUPPORTED",
    "Bounds",
    "BrokerLimits",
    "BrokerUrl",
    "Incoming",
    "Link",
    "MqttError",
    "Pace",
    "RefusedError",
    "TlsFiles",
    "Tries",
    "Trouble",
    "Will",
    "WordlessError",
    "code_of",
    "explain",
    "matches",
    "of_code",
    "open_client",
    "parse_home",
    "parse_url",
    "shown",
    "whoms_at",
]
