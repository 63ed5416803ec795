"""Two devices of one id: both are named, the later one stands aside, and a device's own past is nobody else."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.agent import Agent
from edge_agent.core.context import RandomStreams
from edge_agent.core.health import Part
from edge_agent.core.messages import Presence, PresenceState
from edge_agent.core.settings import AgentSettings, DeviceIdentity

QUIET = AgentSettings(gossip_interval_s=None, status_interval_s=None)
ONLINE, OFFLINE, STOPPED = PresenceState.ONLINE, PresenceState.OFFLINE, PresenceState.STOPPED


class One:
    """A device `d0` that was started, and what it said."""

    def __init__(self, incarnation: int, install: str = "aaaa", nonce: str = "1") -> None:
        streams = RandomStreams(*(random.Random(number) for number in range(3)))
        identity = DeviceIdentity("d0", install=install, nonce=nonce)
        self.agent = Agent(identity, QUIET, streams)
        self.now = 0.0
        self.found: list[fx.TwinFound] = []
        self.births: list[Presence] = []
        self.handle(ev.Started(incarnation))

    def handle(self, event: ev.Event) -> None:
        effects = self.agent.handle(event, self.now)
        self.found += [effect for effect in effects if isinstance(effect, fx.TwinFound)]
        self.births += [effect.presence for effect in effects if isinstance(effect, fx.PublishPresence)]
        self.agent.check_invariants(self.now)

    def connect(self, times: int = 1) -> None:
        for _ in range(times):
            self.handle(ev.ConnectionChanged(False))
            self.handle(ev.ConnectionChanged(True))

    def hear(self, other: One, state: PresenceState = ONLINE, *, retained: bool = False) -> None:
        self.handle(ev.OwnPresenceReceived(other.said(state), retained))

    def said(self, state: PresenceState) -> Presence:
        return replace(self.agent.last_will(), state=state)

    @property
    def named(self) -> str:
        return next((problem.detail for problem in self.agent.problems if problem.part is Part.IDENTITY), "")


@pytest.fixture
def early() -> One:
    one = One(1000)
    one.connect()
    return one


@pytest.fixture
def late() -> One:
    one = One(2000, nonce="2")
    one.connect()
    return one


def test_two_that_are_connected_at_once_are_named_on_both_sides_and_the_later_stands_aside(
    early: One, late: One
) -> None:
    births = len(early.births)
    early.hear(late)
    assert len(early.births) == births + 1, "so that the other hears it while it listens"
    late.hear(early)
    assert "a copy of it (a cloned card or data folder, installation aaaa) runs as d0, too" in early.named
    assert "this one started later and stands aside" in late.named
    assert [found.aside_s for found in early.found] == [None]
    assert [found.aside_s for found in late.found] == [60.0]


def test_another_installation_of_the_same_name_is_told_from_a_copy(early: One) -> None:
    other = One(2000, install="bbbb")
    early.hear(other)
    other.connect()
    other.hear(early)
    assert "another installation, bbbb (this one is aaaa) runs as d0" in early.named
    assert "another installation, aaaa (this one is bbbb) runs as d0" in other.named


def test_copies_that_started_in_the_same_second_agree_on_who_stands_aside() -> None:
    one, other = One(1000, nonce="a"), One(1000, nonce="b")
    for each in (one, other):
        each.connect()
    one.hear(other)
    other.hear(one)
    assert [bool(each.found[0].aside_s) for each in (one, other)] == [False, True]


@pytest.mark.parametrize("state", PresenceState)
def test_what_the_broker_kept_of_a_devices_former_self_is_nobody_else(state: PresenceState) -> None:
    former, one = One(1000), One(2000)
    one.handle(ev.ConnectionChanged(True))
    for _ in range(5):
        one.hear(former, state, retained=True)
    one.hear(former, OFFLINE)  # the will of a former self, late
    one.hear(former, STOPPED)  # or its farewell
    assert not one.named
    assert not one.found


def test_a_broker_that_crashed_may_come_back_with_a_devices_former_self_once(early: One) -> None:
    former = One(500)
    early.connect()
    early.hear(former, retained=True)
    early.hear(former, retained=True)
    assert not early.named


@pytest.mark.parametrize("state", PresenceState)
def test_two_that_throw_each_other_out_find_the_others_word_where_their_own_stood(
    early: One, late: One, state: PresenceState
) -> None:
    for _ in range(2):
        for one, other in ((early, late), (late, early)):
            one.connect()
            one.hear(other, state, retained=True)
    assert early.named
    assert late.named
    assert [found.aside_s for found in early.found] == [None]
    assert [found.aside_s for found in late.found] == [60.0]


def test_who_stands_aside_looks_again_ever_more_seldom(early: One, late: One) -> None:
    for _ in range(9):
        late.connect()
        late.hear(early)
    assert [found.aside_s for found in late.found] == [60, 120, 240, 480, 600, 600, 600, 600, 600]


def test_two_do_not_talk_to_each_other_for_ever(early: One, late: One) -> None:
    births = len(early.births)
    for _ in range(100):
        early.hear(late)
    assert len(early.births) == births + 1
    assert len(early.found) == 1


def test_it_is_over_when_nothing_more_is_heard(early: One, late: One) -> None:
    early.hear(late)
    deadline = early.agent.next_deadline()
    assert deadline == 900.0
    early.now = deadline
    early.handle(ev.DeadlineReached())
    assert not early.named


@pytest.mark.parametrize("run", ["", "x", "99999999999999999999-a", "-1-a", "1-" + "a" * 17, "1000-1"])
def test_nobody_stands_aside_for_a_run_that_is_none(early: One, run: str) -> None:
    early.handle(ev.OwnPresenceReceived(replace(early.said(ONLINE), run=run), retained=False))
    assert bool(early.named) is (run not in ("", "1000-1"))
    assert not any(found.aside_s for found in early.found)


def test_a_device_that_stops_names_nobody(early: One, late: One) -> None:
    early.handle(ev.StopRequested())
    early.hear(late)
    assert not early.named


def test_who_comes_back_stays_though_the_broker_kept_the_last_word_of_one_that_has_gone(early: One, late: One) -> None:
    for _ in range(2):
        late.connect()
        late.hear(early, retained=True)
    assert [found.aside_s for found in late.found] == [60.0]
    late.now += 60.0
    late.connect()
    late.hear(early, OFFLINE, retained=True)
    assert len(late.found) == 1, "it may have left its will and gone"
    late.connect()
    late.hear(early, retained=True)
    assert [found.aside_s for found in late.found] == [60.0, 120.0], "it has spoken again meanwhile"
