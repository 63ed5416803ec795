"""The brokers of the AsyncAPI document: where one may connect, and how one says who one is."""

from __future__ import annotations

from typing import Any, TypeAlias

from broker.kinds import PACKET_BYTES_MAX
from broker.mosquitto_config import DEVICE_PORT, PASSWORD_PORT, WEB_PORT
from edge_agent.mqtt.client import KEEPALIVE_S
from edge_agent.wire.topics import CLAIM_LOGIN, USER_LOGIN, Channel, topic_filter

BINDING = "0.2.0"
PLAIN_PORT = 1883  # what `mqtt://` means without a port

Fields: TypeAlias = dict[str, Any]

_HOSTS = {
    "host": "The broker's name or address, as `moamesh mesh create --broker` was told.",
    "device": "The device's name or address in the local network; its certificate names the device.",
}


def servers() -> Fields:
    """Returns the listeners of every kind of broker that moamesh runs."""
    return {
        "local": _server(
            "mqtt",
            "host",
            PLAIN_PORT,
            "A broker on this host (`moamesh up`): no names, no passwords, loopback only.",
        ),
        "devices": _server(
            "mqtts",
            "host",
            DEVICE_PORT,
            "Devices and the operator: mutual TLS. The name in the certificate is the user name.",
            certificate="certificate",
            of_devices=True,
        ),
        "users": _server(
            "mqtts",
            "host",
            PASSWORD_PORT,
            f"Users (`{USER_LOGIN}NAME`) and devices that claim a certificate (`{CLAIM_LOGIN}DEVICE`): TLS, password.",
            certificate="password",
        ),
        "browsers": _server(
            "wss", "host", WEB_PORT, "Users in a browser: MQTT over WebSockets, TLS.", certificate="password"
        ),
        "own": _server(
            "mqtts",
            "device",
            DEVICE_PORT,
            'A device\'s own broker (`[broker] mode = "own"`): mutual TLS, the topics of this one device.',
            certificate="certificate",
            of_devices=True,
        ),
    }


def security_schemes() -> Fields:
    """Returns how a client says who it is."""
    return {
        "password": {
            "type": "userPassword",
            "description": f"`{USER_LOGIN}NAME` with the secret of `moamesh user add` or `moamesh pair`; reaches the "
            "devices it was given, and reads its own answers alone.",
        },
        "certificate": {
            "type": "X509",
            "description": "A certificate of the mesh's own authority; its common name is the device's id.",
        },
    }


def _server(
    protocol: str, host: str, port: int, description: str, *, certificate: str = "", of_devices: bool = False
) -> Fields:
    fields: Fields = {
        "host": f"{{{host}}}:{{port}}",
        "protocol": protocol,
        "protocolVersion": "5.0",
        "description": description,
        "variables": {
            host: {"description": _HOSTS[host], "default": "localhost"},
            "port": {"description": "Where it listens.", "default": str(port)},
        },
    }
    if certificate:
        fields["security"] = [{"$ref": f"#/components/securitySchemes/{certificate}"}]
    binding: Fields = {"keepAlive": KEEPALIVE_S, "maximumPacketSize": PACKET_BYTES_MAX}
    if of_devices:
        binding["lastWill"] = {
            "topic": topic_filter("{mesh}", "{device}", Channel.PRESENCE),
            "qos": 1,
            "retain": True,
            "message": "a `presence` message with state `offline`",
        }
    fields["bindings"] = {"mqtt": {**binding, "bindingVersion": BINDING}}
    return fields
