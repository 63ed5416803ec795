"""Which devices a user sees as online."""

from __future__ import annotations

from dataclasses import replace

from edge_agent.client.roster import DEVICES_MAX, SILENT_AFTER_MIN_S, DeviceState, Roster
from edge_agent.core.messages import PresenceState
from tests.client.samples import presence, status


def state_of(roster: Roster, now: float, device_id: str = "device-1") -> DeviceState:
    view = roster.get(device_id)
    assert view is not None
    return view.state(now)


def test_a_birth_makes_a_device_online_and_a_will_takes_it_away() -> None:
    roster = Roster()
    roster.take_presence(presence(), 0.0)
    assert state_of(roster, 1.0) is DeviceState.ONLINE
    roster.take_presence(presence(state=PresenceState.OFFLINE), 2.0)
    assert state_of(roster, 2.0) is DeviceState.OFFLINE
    assert roster.online(2.0) == ()


def test_a_device_whose_statuses_stop_without_a_will_becomes_silent_and_comes_back() -> None:
    roster = Roster()
    roster.take_presence(presence(), 0.0)
    roster.take_status(status(), 1.0, retained=False)
    assert state_of(roster, 1.0 + SILENT_AFTER_MIN_S) is DeviceState.ONLINE
    assert state_of(roster, 1.1 + SILENT_AFTER_MIN_S) is DeviceState.SILENT
    roster.take_status(status(), 20.0, retained=False)
    assert state_of(roster, 20.0) is DeviceState.ONLINE


def test_a_retained_status_alone_is_no_sign_of_life() -> None:
    roster = Roster()
    roster.take_status(status(), 0.0, retained=True)
    assert state_of(roster, 0.0) is DeviceState.UNKNOWN
    roster.take_status(status(), 1.0, retained=False)
    assert state_of(roster, 1.0) is DeviceState.ONLINE


def test_the_newest_status_names_the_model() -> None:
    roster = Roster()
    roster.take_presence(presence(), 0.0)
    roster.take_status(replace(status(), model="other", synthetic=True), 0.0, retained=False)
    (view,) = roster.all()
    assert (view.model, view.synthetic) == ("other", True)


def test_strangers_beyond_the_bound_are_not_kept() -> None:
    roster = Roster()
    for number in range(DEVICES_MAX + 5):
        roster.take_presence(presence(f"device-{number}"), 0.0)
    assert len(roster.all()) == DEVICES_MAX
