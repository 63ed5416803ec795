"""The transport of a device: the mesh's messages over the connections of `edge_agent.mqtt`."""

from edge_agent.adapters.mqtt.adverts import Advert
from edge_agent.adapters.mqtt.settings import Counters, MqttSettings
from edge_agent.adapters.mqtt.transport import MqttTransport

__all__ = ["Advert", "Counters", "MqttSettings", "MqttTransport"]
