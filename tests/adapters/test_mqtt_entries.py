"""What reaches the core of what devices say of each other: two or three real notaries, and no broker between them."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.adapters.mqtt import MqttSettings
from edge_agent.adapters.mqtt import entries as entries_module
from edge_agent.adapters.mqtt.entries import PlainEntries, SignedEntries
from edge_agent.adapters.mqtt.settings import MqttCounters
from edge_agent.adapters.notary import FileNotary, MemberFiles
from edge_agent.core.events import BadInputReceived, Event, PeerMessageReceived, StopRequested
from edge_agent.core.messages import (
    Message,
    PeerEntry,
    Presence,
    PresenceState,
    SignersTold,
    SignersWanted,
    ViewExchange,
)
from provisioning.authority import MeshAuthority


class Net:
    """Devices by name, and what is on its way between them."""

    def __init__(self, folder: Path, *names: str) -> None:
        authority = MeshAuthority.create(folder / "ca", "home")
        self.now = 0.0
        self.way: deque[tuple[str, str, SignersWanted | SignersTold]] = deque()
        self.asked: list[SignersWanted] = []
        self.guards: dict[str, SignedEntries] = {}
        self.notaries: dict[str, FileNotary] = {}
        self.counters = {name: MqttCounters() for name in names}
        for name in names:
            path = folder / f"{name}.pem"
            path.write_bytes(authority.issue_device(name).combined_pem)
            files = MemberFiles(folder / "ca/ca.pem", folder / "ca/crl.pem", path, path)
            self.notaries[name] = FileNotary("home", name, files)
            settings = MqttSettings(name, "home", "mqtts://127.0.0.1:1", entries_max=4)
            self.guards[name] = SignedEntries(
                settings,
                self.notaries[name],
                self.counters[name],
                lambda device, home, message, sender=name: self.way.append((sender, device, message)),  # type: ignore[misc]  # bound now
            )

    def own(self, name: str, heartbeat: int = 1) -> PeerEntry:
        """A device's entry as it sends it."""
        sent = self.guards[name].outgoing(ViewExchange((entry(name, heartbeat),), False))
        assert isinstance(sent, ViewExchange)
        return sent.entries[0]

    def hears(self, name: str, message: Message) -> list[Event]:
        """What the core of a device hears, also of what its asking for certificates leads to."""
        heard = self.guards[name].incoming(PeerMessageReceived(message), self.now)
        while self.way:
            _, receiver, on_way = self.way.popleft()
            if isinstance(on_way, SignersWanted):
                self.asked.append(on_way)
            if receiver in self.guards:
                events = self.guards[receiver].incoming(PeerMessageReceived(on_way), self.now)
                heard += events if receiver == name else []
        return heard


def entry(name: str, heartbeat: int = 1) -> PeerEntry:
    return PeerEntry(name, "", "m", "f", 1, heartbeat, 0, 1.5)


def names_in(events: list[Event]) -> list[list[str]]:
    return [
        [one.device_id for one in event.message.entries]
        for event in events
        if isinstance(event, PeerMessageReceived) and isinstance(event.message, ViewExchange)
    ]


def complaints(events: list[Event]) -> list[str]:
    return [event.detail for event in events if isinstance(event, BadInputReceived)]


@pytest.fixture
def net(tmp_path: Path) -> Net:
    return Net(tmp_path, "a", "b", "c")


def test_an_exchange_from_a_stranger_waits_for_its_certificate_and_is_then_heard_once(net: Net) -> None:
    assert names_in(net.hears("a", ViewExchange((net.own("b"),), True))) == [["b"]]
    assert len(net.asked) == 1
    assert names_in(net.hears("a", ViewExchange((net.own("b", 2),), True))) == [["b"]]
    assert len(net.asked) == 1, "it is known by now"


def test_what_is_carried_of_a_stranger_is_heard_after_its_certificate_was_told(net: Net) -> None:
    net.hears("b", ViewExchange((net.own("c"),), False))
    heard = net.hears("a", ViewExchange((net.own("b"), net.own("c")), True))
    assert names_in(heard) == [["b", "c"]]
    net.guards["a"]._waiting.clear()
    net.notaries["a"]._known.pop(net.own("c").proof[:16])
    heard = net.hears("a", ViewExchange((net.own("b", 2), net.own("c", 2)), True))
    assert names_in(heard) == [["b"], ["b", "c"]]
    replies = [event.message.reply_wanted for event in heard if isinstance(event, PeerMessageReceived)]  # type: ignore[union-attr]  # all are views
    assert replies == [True, False], "one reply is enough"


def test_a_presence_brings_its_certificate_along(net: Net) -> None:
    sent = net.guards["b"].outgoing(Presence(entry("b"), PresenceState.ONLINE, 8, "1"))
    assert isinstance(sent, Presence)
    (heard,) = net.hears("a", sent)
    assert heard == PeerMessageReceived(sent)
    assert not net.asked
    forged = replace(sent, entry=replace(sent.entry, home_broker="mqtts://evil:1"))
    assert complaints(net.hears("a", forged)) == [
        "entry: not written by b itself: the signature of that device is missing or wrong"
    ]


def test_after_the_first_forged_entry_no_more_is_looked_at(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    net.hears("a", ViewExchange((net.own("b"),), False))
    net.hears("a", ViewExchange((net.own("c"),), False))
    judged: list[str] = []
    judge = net.notaries["a"].judge
    monkeypatch.setattr(net.notaries["a"], "judge", lambda name, *given: judged.append(name) or judge(name, *given))
    forged = replace(net.own("c", 2), heartbeat=3)
    heard = net.hears("a", ViewExchange((net.own("b", 2), forged, net.own("c", 4)), False))
    assert names_in(heard) == [["b"]], "its own word still counts"
    assert len(complaints(heard)) == 1
    assert judged == ["b", "c"]
    assert net.counters["a"].entries_refused == 1


def test_an_unsigned_sender_is_not_heard_at_all_and_not_asked(net: Net) -> None:
    assert complaints(net.hears("a", ViewExchange((entry("b"), net.own("c")), True)))
    assert not net.asked


def test_no_more_entries_are_looked_at_than_the_core_takes(net: Net) -> None:
    net.hears("a", ViewExchange((net.own("b"),), False))
    many = (net.own("b", 2), *(net.own("b", number) for number in range(3, 250)))
    assert names_in(net.hears("a", ViewExchange(many, False))) == [["b"] * 4]


def test_who_floods_is_not_listened_to_for_a_while_and_others_are(net: Net) -> None:
    for name in ("b", "c"):
        net.hears("a", ViewExchange((net.own(name),), False))
    heard = [net.hears("a", ViewExchange((net.own("b", number),), False)) for number in range(2, 1000)]
    assert sum(map(len, heard)) < entries_module.ENTRIES_BURST
    assert net.counters["a"].entries_unread > 800
    assert names_in(net.hears("a", ViewExchange((net.own("c", 2),), False))) == [["c"]]
    net.now += 10.0
    assert names_in(net.hears("a", ViewExchange((net.own("b", 2000),), False))) == [["b"]]


def test_certificates_that_nobody_asked_for_are_not_taken(net: Net) -> None:
    unwanted = net.notaries["c"].certificate()
    assert net.hears("a", SignersTold("b", (unwanted,))) == []
    net.guards["a"].incoming(PeerMessageReceived(ViewExchange((net.own("b"),), False)), net.now)
    net.way.clear()
    told = SignersTold("b", (net.notaries["b"].certificate(), unwanted))
    assert complaints(net.hears("a", told)) == ["certificates: more than were asked for"]
    assert net.notaries["a"].find(net.own("c").proof[:16]) is None


def test_an_answer_that_comes_too_late_or_is_no_certificate_leads_to_nothing(net: Net) -> None:
    for certificate, later in ((net.notaries["b"].certificate(), 60.0), ("AAAA", 0.0)):
        net.guards["a"].incoming(PeerMessageReceived(ViewExchange((net.own("b"),), False)), net.now)
        net.way.clear()
        net.now += later
        assert net.hears("a", SignersTold("b", (certificate,))) == []


def test_what_is_kept_of_senders_is_bounded(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries_module, "SENDERS_MAX", 5)
    for number in range(20):
        stranger = replace(net.own("b"), device_id=f"x{number}", proof="A" * 102)
        net.hears("a", ViewExchange((stranger,), False))
    assert len(net.guards["a"]._waiting) == len(net.guards["a"]._budgets) == 5


def test_other_events_pass(net: Net) -> None:
    assert net.guards["a"].incoming(StopRequested(), 0.0) == [StopRequested()]


def test_a_mesh_without_certificates_takes_no_proof_for_one() -> None:
    plain = PlainEntries()
    proven = replace(entry("b"), proof="A" * 102)
    (heard,) = plain.incoming(PeerMessageReceived(ViewExchange((proven,), True)), 0.0)
    assert heard == PeerMessageReceived(ViewExchange((entry("b"),), True))
    (heard,) = plain.incoming(PeerMessageReceived(Presence(proven, PresenceState.ONLINE, 8, "1", "AAAA")), 0.0)
    assert heard == PeerMessageReceived(Presence(entry("b"), PresenceState.ONLINE, 8, "1"))
    assert complaints(plain.incoming(PeerMessageReceived(SignersTold("b", ("AAAA",))), 0.0))
