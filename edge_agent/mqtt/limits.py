"""What a broker says in its CONNACK that it takes. Whoever sends there keeps to it: a broker hangs up on the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self, final

PACKET_OVERHEAD = 64  # headers and properties of a publish beside topic, payload and correlation, rounded up


@final
@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """The limits of MQTT 5's CONNACK; the defaults are those of a broker that names none.

    packet_bytes_max: of one packet. in_flight_max: QoS 1 messages not acknowledged yet. keepalive_s: what the broker
    wants instead of our own; `None` is ours.
    """

    packet_bytes_max: float = math.inf
    in_flight_max: float = math.inf
    qos_max: int = 2
    retain: bool = True
    wildcards: bool = True
    keepalive_s: int | None = None

    @classmethod
    def of(cls, properties: Any) -> Self:
        """Reads the properties of a CONNACK as paho hands them out; `None` is a broker that sent none."""
        return cls(
            packet_bytes_max=getattr(properties, "MaximumPacketSize", math.inf),
            in_flight_max=getattr(properties, "ReceiveMaximum", math.inf),
            qos_max=getattr(properties, "MaximumQoS", 2),
            retain=bool(getattr(properties, "RetainAvailable", True)),
            wildcards=bool(getattr(properties, "WildcardSubscriptionAvailable", True)),
            keepalive_s=getattr(properties, "ServerKeepAlive", None),
        )

    def body_bytes_max(self, topic: str, beside: int = 0) -> float:
        """How large a payload on `topic` may be; `beside` are the bytes of its properties (response topic and such)."""
        return self.packet_bytes_max - len(topic.encode()) - beside - PACKET_OVERHEAD

    @property
    def hindrance(self) -> str:
        """What a device cannot do well because of them, with the way out; "" if nothing."""
        if self.qos_max == 0:
            return "takes QoS 0 only, so what is lost on the way is lost unseen: let it take QoS 1 (mosquitto: max_qos)"
        if not self.wildcards:
            return "allows no wildcard subscriptions, which devices need: allow them, or use another broker"
        return ""

    def notes(self, body_bytes_max: int) -> Iterator[str]:
        """What is worth knowing and hinders nobody whose bodies are at most so long: lines for a log or a doctor."""
        if not self.retain:
            yield "keeps no retained messages: devices find each other by gossip, users by the next status"
        if self.packet_bytes_max < body_bytes_max + PACKET_OVERHEAD:
            yield f"takes packets of at most {self.packet_bytes_max:,} bytes: more is refused where it is sent"
        if self.keepalive_s is not None:
            yield f"asks for a keep-alive every {self.keepalive_s} s, which it gets"
