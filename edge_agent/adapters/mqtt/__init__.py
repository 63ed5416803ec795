"""MQTT 5 over aiomqtt: the transport of a device, and the client helper that the user's side shares."""

from edge_agent.adapters.mqtt.adverts import Advert
from edge_agent.adapters.mqtt.client import BrokerUrl, open_client, parse_home, parse_url, unless_lost
from edge_agent.adapters.mqtt.limits import BrokerLimits
from edge_agent.adapters.mqtt.reasons import (
    WILDCARDS_NOT_SUPPORTED,
    RefusedError,
    Trouble,
    code_of,
    explain,
    of_code,
)
from edge_agent.adapters.mqtt.settings import Counters, MqttSettings
from edge_agent.adapters.mqtt.transport import MqttTransport
from edge_agent.adapters.mqtt.trust import TlsFiles

__all__ = [
    "WILDCARDS_NOT_SUPPORTED",
    "Advert",
    "BrokerLimits",
    "BrokerUrl",
    "Counters",
    "MqttSettings",
    "MqttTransport",
    "RefusedError",
    "TlsFiles",
    "Trouble",
    "code_of",
    "explain",
    "of_code",
    "open_client",
    "parse_home",
    "parse_url",
    "unless_lost",
]
