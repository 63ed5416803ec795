"""Several items at once: order, places, waits that are told, and what of it peers hear."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.agent import Agent
from edge_agent.core.context import RandomStreams
from edge_agent.core.errors import InvariantError, SettingsError
from edge_agent.core.health import Part
from edge_agent.core.messages import DeviceStatus, PromptReceipt, RequestReceipt
from edge_agent.core.settings import DeviceIdentity
from edge_agent.core.states import ItemOutcome
from edge_agent.wire.codec import decode, encode
from tests.core.mesh import QUIET, Mesh


def waits(mesh: Mesh) -> list[float]:
    return [effect.waiting_time_s for _, effect in mesh.effects if isinstance(effect, fx.RecordRequest)]


def ask_many(mesh: Mesh, count: int) -> None:
    for number in range(count):
        mesh.ask("d0", layers=0, user=f"u{number}")


def receipt(mesh: Mesh, key: str) -> PromptReceipt:
    return next(message for message in mesh.user_messages[key] if isinstance(message, PromptReceipt))


def test_items_start_in_the_order_they_came_as_slots_become_free() -> None:
    mesh = Mesh(1, slots=3)
    ask_many(mesh, 8)
    started = [effect.item_id for _, effect in mesh.effects if isinstance(effect, fx.StartInference)]
    assert len(started) == 3
    mesh.run()
    started = [effect.item_id for _, effect in mesh.effects if isinstance(effect, fx.StartInference)]
    assert started == [f"#{number}" for number in range(1, 9)]
    assert waits(mesh) == pytest.approx([0.0] * 3 + [1.0] * 3 + [2.0] * 2)


def test_a_cancelled_item_and_one_past_its_deadline_make_room_for_the_next_and_leave_the_others_alone() -> None:
    mesh = Mesh(1, slots=2, service_s=10.0)
    mesh.ask("d0", layers=0, user="short", deadline_s=1.0)
    mesh.ask("d0", layers=0, user="long")
    mesh.ask("d0", layers=0, user="third")
    mesh.ask("d0", layers=0, user="fourth")
    mesh.run(until=2.0)
    assert mesh.agents["d0"].outstanding()["running"] == 2
    mesh.handle("d0", ev.PromptCancelReceived("p1", ev.ReplyRoute("long", "0")))
    assert mesh.agents["d0"].outstanding()["running"] == 2
    mesh.run()
    ends = [effect.outcome for _, effect in mesh.effects if isinstance(effect, fx.RecordRequest)]
    assert sorted(ends) == sorted([ItemOutcome.CANCELLED] * 2 + [ItemOutcome.COMPLETED] * 2)


def test_one_item_that_never_ends_holds_one_slot_only() -> None:
    mesh = Mesh(1, slots=2, service_s=lambda device, request: 1e6 if request.item_id == "#1" else 1.0)
    ask_many(mesh, 5)
    mesh.run(until=10.0)
    assert mesh.agents["d0"].outstanding()["running"] == 1
    assert sorted(waits(mesh)) == pytest.approx([0.0, 1.0, 2.0, 3.0])


def test_an_engine_that_cannot_infer_fails_all_that_wait_and_what_runs_ends_each_for_itself() -> None:
    mesh = Mesh(1, slots=2, service_s=5.0)
    ask_many(mesh, 4)
    mesh.handle("d0", ev.HealthChanged(Part.ENGINE, "no memory"))
    assert mesh.agents["d0"].outstanding()["waiting"] == 0
    assert mesh.agents["d0"].outstanding()["running"] == 2
    mesh.run()
    assert mesh.agents["d0"].outstanding()["running"] == 0


def test_the_expected_wait_is_none_while_a_slot_is_free_and_then_goes_by_the_measured_rates() -> None:
    mesh = Mesh(1, slots=4, service_s=8.0)
    ask_many(mesh, 28)
    mesh.run()  # items of 8 s, four at a time: one leaves every 2 s
    keys = [mesh.ask("d0", layers=0, user=f"v{number}") for number in range(6)]
    told = [receipt(mesh, key).expected_wait_s for key in keys]  # each with the prompt itself already in
    assert told[:3] == [0.0] * 3
    assert told[3] == pytest.approx(8.0)  # all four have just begun
    assert told[4] == pytest.approx(8.0 + 2.0, rel=0.2)
    assert told[5] == pytest.approx(8.0 + 4.0, rel=0.2)


def test_peers_hear_of_turns_of_waiting_not_of_items() -> None:
    settings = replace(QUIET, principal_share=1.0)
    mesh = Mesh(2, settings, slots=4, service_s=1_000.0)
    for number in range(13):
        mesh.ask("d0", layers=1, fanout=1, user=f"u{number}")
    mesh.run(until=1.0)
    assert mesh.agents["d1"].outstanding()["waiting"] == 9
    receipts = [message for sender, _, message in mesh.sent if sender == "d1" and isinstance(message, RequestReceipt)]
    assert [one.requests_waiting for one in receipts] == [0] * 4 + [1] * 4 + [2] * 4 + [3]


def test_the_status_tells_slots_rates_and_how_much_of_them_is_used() -> None:
    mesh = Mesh(1, replace(QUIET, status_interval_s=40.0), slots=4, service_s=8.0)
    ask_many(mesh, 16)
    mesh.run(until=41.0)
    status = next(effect.status for _, effect in mesh.effects if isinstance(effect, fx.PublishStatus))
    assert (status.slots, status.requests_running, status.completed) == (4, 0, 16)
    assert len(status.service_rates_hz) == 4
    assert status.service_rate_hz == status.service_rates_hz[-1] == pytest.approx(0.5, rel=0.15)
    assert status.utilisation == pytest.approx(32.0 / 40.0, abs=0.01)
    assert decode(encode(status), (DeviceStatus,)) == status


def test_more_running_than_slots_is_a_contradiction() -> None:
    mesh = Mesh(1, slots=2, service_s=5.0)
    ask_many(mesh, 3)
    agent = mesh.agents["d0"]
    extra = agent.queue.pop()
    assert extra is not None
    agent.queue.start(extra, mesh.now)
    with pytest.raises(InvariantError, match="slots"):
        agent.check_invariants(mesh.now)


def test_an_engine_without_a_slot_is_no_engine() -> None:
    with pytest.raises(SettingsError):
        Agent(DeviceIdentity("d0"), QUIET, RandomStreams(None, None, None), slots=0)  # type: ignore[arg-type]  # unused
