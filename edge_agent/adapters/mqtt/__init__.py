"""MQTT 5 over aiomqtt: the transport of a device, and the client helper that the user's side shares."""

from edge_agent.adapters.mqtt.client import BrokerUrl, TlsFiles, open_client, parse_url

__all__ = ["BrokerUrl", "TlsFiles", "open_client", "parse_url"]
