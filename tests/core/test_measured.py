"""What a peer says of its load, against how long it took."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from edge_agent.core import measured as measured_module
from edge_agent.core.measured import MEASURED_MAX, RESPONSES_MIN, USUAL_MAX, Measured, Promise
from edge_agent.core.messages import PeerEntry
from edge_agent.core.peers import PeerView

DRAWS = random.Random(1)


def asked(measured: Measured, name: str, promise: Promise, taken_s: float, times: int = RESPONSES_MIN) -> None:
    for _ in range(times):
        measured.note(name, promise, taken_s, finished=True)


def test_a_peer_that_promises_nothing_and_takes_long_is_believed_to_take_what_it_took() -> None:
    measured = Measured()
    asked(measured, "honest", Promise(0, 2.0), 2.2)
    asked(measured, "liar", Promise(0, 1e-9), 6.0, times=RESPONSES_MIN - 1)
    assert measured.believed_s("liar", 1e-9) == 1e-9, "one slow response is an accident"
    asked(measured, "liar", Promise(0, 0.0), 6.0, times=1)
    believed_s = measured.believed_s("liar", 1e-9)
    assert believed_s is not None
    assert 5.0 < believed_s < 6.1
    assert measured.believed_s("honest", 2.0) == 2.0


@pytest.mark.parametrize(("taken_s", "doubted"), [(1.9, False), (2.1, True)])
def test_a_peer_is_doubted_once_it_took_more_than_twice_as_long_as_it_promised(taken_s: float, doubted: bool) -> None:
    measured = Measured()
    for name in ("a", "b", "c"):
        asked(measured, name, Promise(0, 1.0), 1.0)
    asked(measured, "late", Promise(0, 1.0), taken_s)
    assert measured.believed_s("late", 1.0) == pytest.approx(taken_s if doubted else 1.0)


def test_what_is_usual_is_nobody_s_lie() -> None:
    """This device's prompts take three times as long as the mean that everybody tells."""
    measured = Measured()
    for name in ("a", "b", "c", "d"):
        asked(measured, name, Promise(1, 1.0), 6.0)
    assert [measured.believed_s(name, 1.0) for name in ("a", "b", "c", "d")] == [1.0] * 4
    asked(measured, "liar", Promise(0, 0.1), 6.0)
    believed_s = measured.believed_s("liar", 0.1)
    assert believed_s is not None
    assert believed_s > 1.0


def test_a_majority_of_liars_is_no_measure() -> None:
    measured = Measured()
    for name in ("a", "b", "c"):
        asked(measured, name, Promise(0, 1e-6), 4.0)
    believed_s = measured.believed_s("a", 1e-6)
    assert believed_s is not None
    assert believed_s >= 4.0 / USUAL_MAX * 0.99


def test_no_response_counts_only_once_it_is_late() -> None:
    measured = Measured()
    for taken_s in (0.5, 0.9):
        measured.note("a", Promise(0, 1.0), taken_s, finished=False)
        measured.note("b", Promise(0, None), 10.0, finished=False)
    assert not measured._records
    for _ in range(RESPONSES_MIN):
        measured.note("a", Promise(0, 1.0), 30.0, finished=False)
    assert measured.believed_s("a", 1.0) != 1.0


def test_who_has_mended_its_figures_is_believed_again() -> None:
    measured = Measured()
    asked(measured, "a", Promise(0, 0.01), 3.0, times=20)
    assert measured.believed_s("a", 0.01) != 0.01
    assert measured.believed_s("a", 3.0) == 3.0, "what it tells is what was measured"


def test_who_tells_no_speed_is_expected_to_take_what_it_took() -> None:
    measured = Measured()
    assert measured.believed_s("a", None) is None
    asked(measured, "a", Promise(1, None), 6.0)
    believed_s = measured.believed_s("a", None)
    assert believed_s is not None
    assert 2.9 < believed_s < 3.1, "it stood behind one other"


def test_what_is_remembered_is_bounded() -> None:
    measured = Measured()
    for number in range(3 * MEASURED_MAX):
        asked(measured, f"d{number}", Promise(0, 1.0), 1.0, times=1)
    assert len(measured._records) == MEASURED_MAX == measured_module.MEASURED_MAX


def entry(name: str, heartbeat: int = 1, service_s: float | None = 2.0, waiting: int = 3) -> PeerEntry:
    return PeerEntry(name, "", "m", "f", 1, heartbeat, waiting, service_s)


def test_a_view_shows_what_is_believed_and_carries_on_what_was_said() -> None:
    view = PeerView("me", 8)
    view.learn(entry("a", service_s=1e-6, waiting=0), 0.0, DRAWS)
    promise = view.promise_of(view[0])
    assert promise == Promise(0, 1e-6)
    for _ in range(RESPONSES_MIN):
        view.measure("a", promise, 5.0)
    assert (view[0].service_time_s_mean or 0.0) > 1.0
    assert view.word_of(view[0]) == entry("a", service_s=1e-6, waiting=0)
    view.learn(entry("a", 2, service_s=1e-6, waiting=0), 1.0, DRAWS)
    assert (view[0].service_time_s_mean or 0.0) > 1.0
    assert view.promise_of(view[0]) == Promise(0, 1e-6), "doubt is no promise"


def test_a_third_party_s_word_on_a_load_counts_until_the_device_has_spoken_or_with_its_proof() -> None:
    view = PeerView("me", 8)
    view.learn(entry("a", 1, 9.0, 9), 0.0, DRAWS, carried=True)
    assert (view[0].requests_waiting, view[0].service_time_s_mean) == (9, 9.0)
    view.learn(entry("a", 2), 1.0, DRAWS)
    lie = replace(entry("a", 3, 0.0, 0), able=False, home_broker="there")
    view.learn(lie, 2.0, DRAWS, carried=True)
    assert (view[0].requests_waiting, view[0].service_time_s_mean, view[0].able) == (3, 2.0, True)
    assert view[0].heartbeat == 3, "that it lives is news"
    proven = replace(entry("a", 4, 4.0, 4), proof="p")
    view.learn(proven, 3.0, DRAWS, carried=True)
    assert (view[0].requests_waiting, view[0].service_time_s_mean) == (4, 4.0)
    view.learn(replace(lie, incarnation=2, able=True), 4.0, DRAWS, carried=True)
    assert view[0].service_time_s_mean == 0.0, "of a new life nothing is known yet"
