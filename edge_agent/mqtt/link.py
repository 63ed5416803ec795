"""One connection while it is up: publishing that need not wait, and reading with real back-pressure (`intake`).

aiomqtt connects, subscribes, keeps alive and disconnects. Its `publish` is not used: it needs a task for each message
under way. All of this runs in the event loop's thread.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import aiomqtt
from paho.mqtt.client import MQTT_ERR_SUCCESS, ConnectFlags, topic_matches_sub
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.mqtt.client import ANSWER_TIMEOUT_S, UNANSWERED
from edge_agent.mqtt.dial import Dial
from edge_agent.mqtt.intake import Bounds, Incoming, Intake, unheard
from edge_agent.mqtt.limits import BrokerLimits
from edge_agent.mqtt.reasons import BROKEN, WILDCARDS_NOT_SUPPORTED, code_of
from edge_agent.tasks import OvertakenError, describe, unless, within

T = TypeVar("T")
_WILD = frozenset("+#")


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a subscription to this filter reads this topic."""
    return topic_matches_sub(topic_filter, topic)


class Link:
    """Wraps a client of `open_client` before it connects: `async with link` is the connection, once.

    on_published(mid, code): told of each message that `publish` sent and `deliver` does not wait for: a broker has
        acknowledged it (QoS 1), or it is on the socket (QoS 0), and code is 0; or the broker refused it, with the code
        of its reason.
    """

    def __init__(
        self,
        client: aiomqtt.Client,
        bounds: Bounds | None = None,
        on_published: Callable[[int, int], object] = unheard,
    ) -> None:
        self.limits = BrokerLimits()
        """What the broker allows, as told in its CONNACK."""
        self.lost_by: BaseException | None = None
        """Why the connection was lost, once it was; `None` if it ended as it should."""
        self._client = client
        self._paho = client._client
        self._loop = asyncio.get_running_loop()
        self._on_published = on_published
        self._over = asyncio.Event()
        self._awaited: dict[int, asyncio.Future[int]] = {}
        self._aiomqtt_on_connect: Callable[..., None] = client._on_connect
        self._paho.on_connect = self._connected
        self._paho.on_publish = self._published
        self._paho.on_socket_register_write = self._register_write
        self._thread = threading.get_ident()
        self._intake = Intake(client, bounds or Bounds())
        self._dial = Dial(client)

    # --- life -------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Connects.

        Raises:
            aiomqtt.MqttError: it came to nothing: no broker, not let in, given up, or no answer in time.
        """
        try:
            await self._client.__aenter__()
        except BaseException:
            self._dial.give_up()  # the thread that connects would go on alone where this task is cancelled
            self._paho._sock_close()
            raise
        self._client._disconnected.add_done_callback(self._lost)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Says goodbye, so that no will fires, and closes the socket."""
        try:
            await self._client.__aexit__(kind, error, trace)
        finally:
            self._paho._sock_close()

    def end(self) -> None:
        """Makes `next` return `None` at once."""
        self._intake.end(drop=True)

    def give_up(self) -> None:
        """Ends a connect under way, at whatever step it is; `async with link` then raises."""
        self._dial.give_up()

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Subscribes to (filter, QoS) pairs; returns those that the broker did not grant, with its reason codes.

        Filters with a wildcard are not even tried where the broker has said that it allows none.

        Raises:
            aiomqtt.MqttError: the connection broke.
        """
        allowed = [(topic, qos) for topic, qos in filters if self.limits.wildcards or not _WILD.intersection(topic)]
        left_out = [(topic, WILDCARDS_NOT_SUPPORTED) for topic, qos in filters if (topic, qos) not in allowed]
        if not allowed:
            return left_out
        options = [(topic, SubscribeOptions(qos)) for topic, qos in allowed]
        codes = await self._unless_lost(self._client.subscribe(options))
        refused = [(topic, code_of(code)) for (topic, _), code in zip(allowed, codes, strict=True) if code_of(code)]
        return left_out + refused

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Returns once the broker has answered: what it was to deliver before that has come.

        Raises:
            aiomqtt.MqttError: the connection broke.
        """
        await self._unless_lost(self._client.unsubscribe(list(filters)))

    # --- out --------------------------------------------------------------------------------------------------------

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        response_topic: str = "",
        correlation: bytes = b"",
        expires_in_s: float | None = None,
    ) -> int | None:
        """Hands a message to the socket's buffer. Returns its number, or `None` if the connection is lost.

        Where the broker retains nothing, or takes no QoS 1, it goes without: nothing here needs either.
        """
        qos, retain = min(qos, self.limits.qos_max), retain and self.limits.retain
        properties = _properties(response_topic, correlation, expires_in_s)
        info = self._paho.publish(topic, payload, qos, retain, properties)
        return info.mid if info.rc == MQTT_ERR_SUCCESS else None

    async def deliver(self, topic: str, payload: bytes, **how: Any) -> int:
        """Publishes as `publish` does, and waits until the broker has answered. Returns the code of its refusal, or 0.

        Raises:
            MqttError, OSError, ValueError (`BROKEN`): the connection is lost, or there was no answer in time.
        """
        number = self.publish(topic, payload, **how)
        if number is None:
            raise self._why_lost()
        answer = self._awaited[number] = self._loop.create_future()
        try:
            return await within(self._unless_lost(answer), ANSWER_TIMEOUT_S)
        except TimeoutError:
            raise aiomqtt.MqttError(UNANSWERED) from None
        finally:
            self._awaited.pop(number, None)

    # --- in ---------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Messages that have come and are not taken yet."""
        return len(self._intake)

    async def next(self) -> Incoming | None:
        """Waits for the next message; `None` once the connection is lost and all that had come was returned."""
        return await self._intake.next()

    def acknowledge(self, message: Incoming) -> None:
        """Tells the broker that a message was taken: only now may it forget it."""
        self._intake.acknowledge(message)

    async def receive(self) -> Incoming:
        """Waits for the next message, and acknowledges it as it is taken.

        Raises:
            MqttError, OSError, ValueError (`BROKEN`): the connection is lost, and all that had come was returned.
        """
        message = await self.next()
        if message is None:
            raise self._why_lost()
        self.acknowledge(message)
        return message

    # --- callbacks of paho and aiomqtt ------------------------------------------------------------------------------

    def _connected(
        self, client: Any, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self.limits = BrokerLimits.of(properties)
        self._intake.qos_max = self.limits.qos_max
        self._paho.on_log = None  # why a connect failed is of use no more, and every packet would be logged
        self._aiomqtt_on_connect(client, userdata, flags, reason, properties)

    def _published(self, client: Any, userdata: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        # Not from inside paho's callback: it has not yet counted this message as done, and holds its lock.
        self._loop.call_soon(self._tell_published, mid, code_of(reason))

    def _tell_published(self, mid: int, code: int) -> None:
        answer = self._awaited.pop(mid, None)
        if answer is None:
            self._on_published(mid, code)
        elif not answer.done():
            answer.set_result(code)

    def _register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        # aiomqtt registers in the loop's next turn. By then the socket may be closed and its number somebody else's,
        # whose readiness would then wake this client for ever.
        if threading.get_ident() == self._thread:
            self._add_writer(sock)
        else:  # while connecting, in a thread
            self._loop.call_soon_threadsafe(self._add_writer, sock)

    def _add_writer(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_writer(sock.fileno(), self._write)

    def _write(self) -> None:
        try:
            self._paho.loop_write()
        except Exception as error:
            self._intake.fail(error)

    def _lost(self, disconnected: asyncio.Future[None]) -> None:
        if not disconnected.cancelled():
            self.lost_by = disconnected.exception()
        self._over.set()
        self._intake.end(drop=False)

    def _why_lost(self) -> BaseException:
        if self.lost_by is None:
            return aiomqtt.MqttError("the connection was ended")
        return self.lost_by if isinstance(self.lost_by, BROKEN) else aiomqtt.MqttError(describe(self.lost_by))

    async def _unless_lost(self, answer: Awaitable[T]) -> T:
        """Awaits an answer of the broker's; aiomqtt would wait its whole timeout, 10 s, for one that has hung up."""
        try:
            return await unless(answer, self._over.wait())
        except OvertakenError:
            raise self._why_lost() from None


def _properties(response_topic: str, correlation: bytes, expires_in_s: float | None) -> Properties | None:
    if not response_topic and not correlation and expires_in_s is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it unannotated
    if response_topic:
        properties.ResponseTopic = response_topic
    if correlation:
        properties.CorrelationData = correlation
    if expires_in_s is not None:
        properties.MessageExpiryInterval = max(1, math.ceil(expires_in_s))
    return properties
