"""The transport of a device: the mesh's messages over the connections of `edge_agent.mqtt`."""

from edge_agent.adapters.mqtt.announcements import Announcement
from edge_agent.adapters.mqtt.settings import MqttCounters, MqttSettings
from edge_agent.adapters.mqtt.transport import MqttTransport

__all__ = ["Announcement", "MqttCounters", "MqttSettings", "MqttTransport"]
