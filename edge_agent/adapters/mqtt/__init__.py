"""MQTT 5 over aiomqtt: the transport of a device, and the client helper that the user's side shares."""

from edge_agent.adapters.mqtt.adverts import Advert
from edge_agent.adapters.mqtt.client import BrokerUrl, open_client, parse_home, parse_url
from edge_agent.adapters.mqtt.settings import Counters, MqttSettings
from edge_agent.adapters.mqtt.transport import MqttTransport
from edge_agent.adapters.mqtt.trust import TlsFiles

__all__ = [
    "Advert",
    "BrokerUrl",
    "Counters",
    "MqttSettings",
    "MqttTransport",
    "TlsFiles",
    "open_client",
    "parse_home",
    "parse_url",
]
