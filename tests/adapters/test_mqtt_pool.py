"""A broker on every device: connections to other devices' home brokers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.adapters.mqtt.outbox import Outgoing, Priority
from edge_agent.adapters.mqtt.proving import LOOKUPS_MAX
from edge_agent.adapters.mqtt.settings import MqttCounters, MqttSettings
from edge_agent.adapters.mqtt.unproven import Unproven
from edge_agent.core import messages as m
from edge_agent.core.events import PeerMessageReceived, SendFailed
from edge_agent.mqtt import parse_home
from tests.adapters.mqtt_devices import Device, device, entry, request, until
from tests.support.doors import doorways
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker


@contextlib.asynccontextmanager
async def mesh(names: str, **settings: object) -> AsyncIterator[dict[str, tuple[Device, EmbeddedBroker]]]:
    """A device with a broker of its own for each letter."""
    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, tuple[Device, EmbeddedBroker]] = {}
        for name in names:
            own = await stack.enter_async_context(EmbeddedBroker(kind="mosquitto"))
            found[name] = (await stack.enter_async_context(device(name, own.url, **settings)), own)
        yield found


def away(one: Device) -> list[str]:
    return [str(url) for home in one.transport._away.homes for url in home]


@contextlib.contextmanager
def standing_still(broker: EmbeddedBroker) -> Iterator[None]:
    """A broker that reads and answers nothing meanwhile."""
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)


async def test_a_message_goes_to_the_home_broker_of_its_device() -> None:
    async with mesh("ab") as found:
        (a, home_a), (b, home_b) = found["a"], found["b"]
        a.transport.send_to_device("b", home_b.url, request(1), 30.0)
        await b.arrival(PeerMessageReceived)
        b.transport.send_to_device("a", home_a.url, m.RequestReceipt("r1", "b", None, 0, None), 30.0)
        await a.arrival(PeerMessageReceived)
        assert away(a) == [home_b.url]
        assert a.of(PeerMessageReceived)[0].message == m.RequestReceipt("r1", "b", None, 0, None)


async def test_the_first_gossip_to_a_new_home_is_not_lost() -> None:
    async with mesh("ab") as found:
        (a, _), (b, home_b) = found["a"], found["b"]
        hello = m.ViewExchange((entry("a"),), True)
        a.transport.send_to_device("b", home_b.url, hello, None)
        assert (await b.arrival(PeerMessageReceived)).message == hello


async def test_ones_own_home_needs_no_second_connection_whatever_it_is_called(mosquitto: EmbeddedBroker) -> None:
    alias = f"mqtt://localhost:{mosquitto.port}"
    async with device("a", mosquitto.url, home_aliases=(alias,)) as a, device("b", mosquitto.url) as b:
        for number, home in enumerate(("", mosquitto.url, mosquitto.url.upper().replace("MQTT", "mqtt") + "/", alias)):
            a.transport.send_to_device("b", home, request(number), None)
        await b.arrival(PeerMessageReceived, 4)
        assert away(a) == []


async def test_the_least_recently_used_home_is_left_and_never_ones_own() -> None:
    async with mesh("abcd", away_max=2) as found:
        a, home_a = found["a"]
        for step, name in enumerate("bcbdb"):
            target, home = found[name]
            before = len(target.of(PeerMessageReceived))
            a.transport.send_to_device(name, home.url, request(step), None)
            await target.arrival(PeerMessageReceived, before + 1)
        assert away(a) == [found["d"][1].url, found["b"][1].url]
        assert a.transport.counters.away_evicted == 1
        await until(lambda: not a.transport._away.closing, "the end of the connection that was left")
        assert a.transport.connected
        a.transport.send_to_device("c", found["c"][1].url, request(9), None)
        await found["c"][0].arrival(PeerMessageReceived, 2)
        assert parse_home(home_a.url) not in a.transport._away.homes


async def test_an_unusable_home_url_is_counted_and_harms_nothing(mosquitto: EmbeddedBroker) -> None:
    async with device("a", mosquitto.url) as a, device("b", mosquitto.url) as b:
        for home in ("nonsense", "http://127.0.0.1", "mqtt://user:secret@127.0.0.1", "mqtt://"):
            a.transport.send_to_device("b", home, request(1), None)
        assert a.transport.counters.bad_homes == 4
        a.transport.send_to_device("b", "", request(2), None)
        assert (await b.arrival(PeerMessageReceived)).message == request(2)


async def test_a_flood_of_dead_homes_stays_within_its_bound(mosquitto: EmbeddedBroker) -> None:
    before = len(asyncio.all_tasks())
    async with device("a", mosquitto.url, unproven_max=3, flush_s=0.1) as a:
        for port in range(1, 60):
            a.transport.send_to_device("b", f"mqtt://127.0.0.1:{port}", request(port), None)
        room = a.transport._away.unproven
        assert (len(room), room.items) == (3, 3)
        assert a.transport.counters.unproven_dropped == 56
        refused = await a.arrival(SendFailed, 56)
        assert "home brokers known from gossip alone" in refused.detail
        assert away(a) == []
        assert a.transport.connected
    assert len(asyncio.all_tasks()) <= before


async def test_homes_that_only_gossip_names_are_looked_at_no_faster_than_their_rate(mosquitto: EmbeddedBroker) -> None:
    async with device("a", mosquitto.url, proofs_max=2, proof_rate_hz=1e-9) as a:
        for port in range(1, 6):
            a.transport.send_to_device(f"ghost-{port}", f"mqtt://127.0.0.1:{port}", request(port), None)
        counters, room = a.transport.counters, a.transport._away.unproven
        await until(lambda: counters.proofs_failed == 2, "the two that may be looked at at once")
        assert (counters.proofs, room._under_way) == (2, 0), "and the others only as time passes"


class Silent:
    """A listener that takes connections and says nothing, as what is no broker does, or one that a liar holds."""

    def __init__(self) -> None:
        self.tried = 0
        self._open: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[int]:
        async with await asyncio.start_server(self._take, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]
            for writer in self._open:
                writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tried += 1
        self._open.append(writer)
        with contextlib.suppress(OSError):
            await reader.read()


INVENTED = {
    "where nobody listens": lambda number, silent: f"mqtt://127.0.0.1:{1 + number}",
    "where nothing answers": lambda number, silent: f"mqtt://127.0.{1 + number // 250}.{1 + number % 250}:{silent}",
    "several addresses each": lambda number, silent: f"mqtt://127.0.0.1:{1 + number},mqtt://127.0.0.2:{silent}",
}
PER_MESSAGE = 10  # invented homes named beside each message to a peer: a second of the flood that was seen


@pytest.mark.parametrize("what", INVENTED)
@pytest.mark.parametrize("known", [True, False], ids=["known peers", "new peers"])
async def test_a_flood_of_invented_homes_costs_real_peers_no_message(what: str, known: bool) -> None:
    silent = Silent()
    async with mesh("abcd") as found, silent.listen() as port:
        a, _ = found["a"]
        peers = [found[name] for name in "bcd"]
        if known:
            for peer, home in peers:
                a.transport.send_to_device(peer.device_id, home.url, request(99), None)
                await peer.arrival(PeerMessageReceived)
        invented = 0
        for number in range(8):
            for peer, home in peers:
                for _ in range(PER_MESSAGE):
                    invented += 1
                    url = INVENTED[what](invented, port)
                    a.transport.send_to_device(f"ghost-{invented}", url, request(invented), 60.0)
                a.transport.send_to_device(peer.device_id, home.url, request(number), 60.0)
                await peer.arrival(PeerMessageReceived, 1 + number + known)
        assert sorted(away(a)) == sorted(home.url for _, home in peers)
        room = a.transport._away.unproven
        assert len(room) <= a.transport._settings.unproven_max
        assert room._under_way <= a.transport._settings.proofs_max
        assert a.transport.counters.away_evicted == 0


async def test_what_waits_for_a_home_that_comes_later_gets_there_in_order() -> None:
    async with mesh("ab") as found, doorways(found["b"][1].port, 1) as (door,):
        (a, _), (b, _) = found["a"], found["b"]
        await door.shut()
        for number in range(5):
            a.transport.send_to_device("b", f"mqtt://127.0.0.1:{door.port}", request(number), 10 * PATIENCE_S)
        await until(lambda: a.transport.counters.proofs_failed >= 2, "two tries")
        await door.open()  # b reads its inbox already: a broker keeps nothing for who never came
        await b.arrival(PeerMessageReceived, 5)
        assert [event.message for event in b.of(PeerMessageReceived)] == [request(number) for number in range(5)]


async def test_a_home_that_failed_is_not_looked_at_again_because_it_is_named_again(mosquitto: EmbeddedBroker) -> None:
    gossip = m.ViewExchange((entry("a"),), True)
    async with device("a", mosquitto.url, backoff_min_s=3600.0, backoff_max_s=3600.0) as a:
        a.transport._away.unproven._rng = Farthest()
        a.transport.send_to_device("b", "mqtt://127.0.0.1:1", gossip, None)
        await until(lambda: a.transport.counters.proofs_failed, "the try")
        for _ in range(100):
            a.transport.send_to_device("b", "mqtt://127.0.0.1:1", gossip, None)
        assert a.transport.counters.unproven_dropped == 101
        assert (a.transport.counters.proofs, len(a.transport._away.unproven)) == (1, 0)


class Farthest(random.Random):
    """Draws the longest pause."""

    def uniform(self, a: float, b: float) -> float:
        return b


async def test_whose_device_said_itself_where_it_is_comes_before_what_others_say(mosquitto: EmbeddedBroker) -> None:
    async with mesh("bc") as found, device("a", mosquitto.url, proofs_max=1, proof_rate_hz=1000.0) as a:
        (b, home_b), (c, home_c) = found["b"], found["c"]
        at_home = replace(entry("c"), home_broker=home_c.url)
        async with device("c", mosquitto.url) as c_here:
            c_here.transport.send_to_device("a", "", m.ViewExchange((at_home,), False), None)
            await a.arrival(PeerMessageReceived)
        for port in range(1, 40):
            a.transport.send_to_device("ghost", f"mqtt://127.0.0.1:{port}", request(port), 60.0)
        a.transport.send_to_device("b", home_b.url, request(1), 60.0)
        a.transport.send_to_device("c", home_c.url, request(2), 60.0)
        ranked = sorted(a.transport._away.unproven._entries.values(), key=lambda one: one.rank)
        assert next(one.device_id for one in ranked if not one.proving) == "c"
        await c.arrival(PeerMessageReceived)
        await b.arrival(PeerMessageReceived)


async def test_the_homes_of_seeds_need_no_proof_first() -> None:
    async with mesh("b") as found, EmbeddedBroker(kind="mosquitto") as home:
        b, home_b = found["b"]
        async with device("a", home.url, seeds=(("b", home_b.url),)) as a:
            a.transport.send_to_device("b", home_b.url, request(1), None)
            await b.arrival(PeerMessageReceived)
            assert a.transport.counters.proofs == 0


async def test_whoever_is_said_to_live_at_a_seeds_takes_no_place_from_proven_homes() -> None:
    async with mesh("bc") as found, EmbeddedBroker(kind="mosquitto") as home:
        (b, home_b), (c, home_c) = found["b"], found["c"]
        seeds = (("seed", "mqtt://127.0.0.1:1"),)
        async with device("a", home.url, seeds=seeds, away_max=2) as a:
            for name, (there, where) in found.items():
                a.transport.send_to_device(name, where.url, request(1), None)
                await there.arrival(PeerMessageReceived)
            for number in range(8):
                a.transport.send_to_device(f"invented-{number}", "mqtt://127.0.0.1:1", request(2), 60.0)
            assert set(away(a)) == {home_b.url, home_c.url}
            assert (a.transport.counters.away_evicted, len(a.transport._away.unproven)) == (0, 8)
            assert {b.device_id, c.device_id} == {"b", "c"}


@pytest.mark.parametrize("answer", [b"\x20\x03\x00\x00\x00", b""], ids=["a broker", "no broker"])
async def test_what_waits_for_a_home_that_gave_way_while_it_was_looked_at_has_an_end(answer: bytes) -> None:
    looked_at, may_answer = asyncio.Event(), asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        looked_at.set()
        await may_answer.wait()
        writer.write(answer)
        writer.close()

    def proven(_home: object, device_id: str, _for_all: bool, items: list[Outgoing]) -> None:
        ends.extend((device_id, item.payload, "goes") for item in items)

    def message(text: bytes) -> Outgoing:
        return Outgoing(
            "t", text, 0, False, Priority.BACKGROUND, on_refused=lambda _: ends.append(("b", text, "refused"))
        )

    ends: list[tuple[str, bytes, str]] = []
    settings = MqttSettings("a", "test", "mqtt://127.0.0.1:1", unproven_items_max=1)
    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        home = parse_home(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        unproven = Unproven(settings, MqttCounters(), random.Random(0), proven)
        unproven.put(home, "b", message(b"first"), first_hand=False)
        await looked_at.wait()
        unproven.put(home, "b", message(b"too many"), first_hand=False)  # gives way with all that waits
        assert ends == [("b", b"first", "refused"), ("b", b"too many", "refused")]
        unproven.put(home, "b", message(b"second"), first_hand=False)
        may_answer.set()
        await until(lambda: len(ends) == 3, "an end of the second")
        assert ends[2] == ("b", b"second", "goes" if answer else "refused")
        await unproven.stop()


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A resolver that answers for no name `slow-...`; the names that wait for it."""
    asked: list[str] = []
    over = threading.Event()
    look_up = socket.getaddrinfo

    def slowly(host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).startswith("slow-"):
            asked.append(host)
            over.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    yield asked
    over.set()


async def test_who_tells_of_names_that_no_resolver_answers_for_holds_one_place(slow_names: list[str]) -> None:
    async with mesh("ab") as found:
        (a, _), (b, home_b) = found["a"], found["b"]
        for number in range(2 * LOOKUPS_MAX):
            a.transport.send_to_device("liar", f"mqtt://slow-{number}:1883", request(number), None)
        await until(lambda: slow_names, "the first lookup")
        a.transport.send_to_device("b", f"mqtt://localhost:{home_b.port}", request(99), None)
        await b.arrival(PeerMessageReceived)
        assert len(slow_names) == 1


async def test_an_address_is_looked_at_though_every_lookup_waits_for_a_resolver(slow_names: list[str]) -> None:
    async with mesh("ab") as found:
        (a, _), (b, home_b) = found["a"], found["b"]
        for number in range(LOOKUPS_MAX):
            a.transport.send_to_device(f"liar-{number}", f"mqtt://slow-{number}:1883", request(number), None)
        await until(lambda: len(slow_names) == LOOKUPS_MAX, "every lookup")
        a.transport.send_to_device("b", home_b.url, request(99), None)
        await b.arrival(PeerMessageReceived)


async def test_a_dead_home_does_not_hold_up_others() -> None:
    async with mesh("ab") as found:
        (a, _), (b, home_b) = found["a"], found["b"]
        a.transport.send_to_device("c", "mqtt://127.0.0.1:1", request(1), 10 * PATIENCE_S)
        a.transport.send_to_device("b", home_b.url, request(2), 30.0)
        assert (await b.arrival(PeerMessageReceived)).message == request(2)


async def test_what_waits_for_a_home_elsewhere_has_a_bound_of_its_own_and_who_sent_the_rest_is_told() -> None:
    text = "x" * 250_000
    async with mesh("ab") as found:
        (a, _), (b, home_b) = found["a"], found["b"]
        a.transport.send_to_device("b", home_b.url, request(0), None)
        await b.arrival(PeerMessageReceived)
        with standing_still(home_b):
            for number in range(1, 9):
                a.transport.send_to_device("b", home_b.url, request(number, text), None)
            (connection,) = a.transport._away._open.values()
            sender = connection._sender
            assert sender._outbox.size + sender._under_way <= MqttSettings("a", "test", home_b.url).away_bytes_max
            failed = [await a.arrival(SendFailed, count) for count in range(1, 5)]
            assert {one.detail for one in failed} == {"too many messages wait for the broker already"}
        await b.arrival(PeerMessageReceived, 5)
        said = [event.message for event in b.of(PeerMessageReceived)]
        heard = {message.request_id for message in said if isinstance(message, m.ProposalRequest)}
        assert heard | {one.message_id for one in failed} == {f"r{number}" for number in range(9)}
