"""What a broken or malicious peer sends costs that peer, never this device: nothing raises, nothing grows.

The codec refuses much of this before the core sees it; the core must not depend on that.
"""

from __future__ import annotations

import dataclasses
import math
import os
import random
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.messages import (
    Answer,
    BusyReason,
    ChatMessage,
    Contribution,
    PeerEntry,
    Presence,
    PresenceState,
    PromptRefusal,
    ProposalRequest,
    ProposalResponse,
    RequestCancel,
    RequestReceipt,
    Role,
    Sampling,
    ViewExchange,
)
from edge_agent.core.settings import AgentSettings
from edge_agent.core.states import ItemOutcome, Outcome
from tests.core.mesh import QUIET, Mesh

ENTRY = PeerEntry("evil", "", "m", "f", 1, 1, 0, None)
REQUEST = ProposalRequest("r1", "evil", "", 1, (ChatMessage(Role.USER, "hi"),), (), Sampling(), None)
WORK = Contribution("evil", "m", 0.0, 1.0, 1, 1)
HUGE = 2**53
RUNS = int(os.environ.get("MOAMESH_CHAOS_RUNS", "40"))


def tell(mesh: Mesh, message: Any, name: str = "d0") -> list[fx.Effect]:
    """A forged message arrives; `Mesh` checks the invariants after it."""
    return mesh.handle(name, ev.PeerMessageReceived(message))


def refusals(effects: list[fx.Effect]) -> list[BusyReason | None]:
    """Returns what the receipts among the effects say."""
    messages = [effect.message for effect in effects if isinstance(effect, fx.SendToDevice)]
    return [message.busy for message in messages if isinstance(message, RequestReceipt)]


def asked_peer(mesh: Mesh, origin: str = "d0") -> tuple[str, str]:
    """Returns (request id, device) of the last request that an origin sent."""
    return next(
        (message.request_id, receiver)
        for sender, receiver, message in reversed(mesh.sent)
        if isinstance(message, ProposalRequest) and sender == origin
    )


def test_an_absurd_expected_wait_does_not_put_the_probe_off_for_ever() -> None:
    mesh = Mesh(2, replace(QUIET, deadline_s=None))
    key = mesh.ask("d0", layers=1, fanout=1)
    request_id, peer = asked_peer(mesh)
    mesh.stop(peer)
    for wait in (1e308, math.inf, 1e12):
        tell(mesh, RequestReceipt(request_id, peer, None, 0, wait))
    mesh.run(until=3_600.0)
    assert mesh.answer(key).provenance.missing[0].reason == "silent"


def test_receipts_sent_over_and_over_take_no_memory() -> None:
    mesh = Mesh(2, service_s=1e6)
    mesh.ask("d0", layers=1, fanout=1)
    request_id, peer = asked_peer(mesh)
    for wait in range(5_000):
        tell(mesh, RequestReceipt(request_id, peer, None, wait, float(wait)))
    assert len(mesh.agents["d0"]._context.timers._heap) < 200


def test_a_response_by_another_than_who_was_asked_is_not_taken() -> None:
    mesh = Mesh(3)
    key = mesh.ask("d0", layers=1, fanout=1)
    request_id, _ = asked_peer(mesh)
    tell(mesh, ProposalResponse(request_id, ItemOutcome.COMPLETED, "lies", "", WORK))
    tell(mesh, RequestReceipt(request_id, "evil", BusyReason.QUEUE_FULL, 0, None))
    tell(mesh, ProposalResponse("guess", ItemOutcome.COMPLETED, "lies", "", WORK))
    assert mesh.agents["d0"].counters.responses_unexpected == 3
    mesh.run()
    answer = mesh.answer(key)
    assert "evil" not in {work.device_id for layer in answer.provenance.layers for work in layer}
    assert answer.provenance.substitutes == ()


@pytest.mark.parametrize("layer", [0, -1, 9, HUGE])
def test_a_request_of_an_impossible_layer_is_refused_as_invalid(layer: int) -> None:
    mesh = Mesh(1)
    effects = tell(mesh, replace(REQUEST, layer=layer))
    assert refusals(effects) == [BusyReason.INVALID]
    assert mesh.agents["d0"]._server.queue.places_used == 0


def test_a_request_in_this_devices_own_name_is_dropped() -> None:
    mesh = Mesh(1)
    assert tell(mesh, replace(REQUEST, origin="d0")) == []
    assert mesh.agents["d0"].counters.bad_input == 1


@pytest.mark.parametrize("expires_in_s", [0.0, -5.0, math.nan, math.inf, -math.inf, 1e308])
def test_a_request_with_a_strange_deadline_ends_like_any_other(expires_in_s: float) -> None:
    mesh = Mesh(1)
    tell(mesh, replace(REQUEST, expires_in_s=expires_in_s))
    mesh.run()
    assert mesh.agents["d0"]._server.queue.places_used == 0


def test_requests_in_a_thousand_names_take_only_the_places_there_are() -> None:
    mesh = Mesh(1, service_s=1e6)
    for number in range(1_000):
        tell(mesh, replace(REQUEST, origin=f"x{number}", request_id=f"r{number}"))
    queue = mesh.agents["d0"]._server.queue
    assert queue.places_used == QUIET.queue_capacity
    assert len(queue.shares._held) == QUIET.queue_capacity


def test_one_device_cannot_take_the_reserve_for_others_or_more_than_the_bytes_there_are() -> None:
    mesh = Mesh(1, service_s=1e6)
    for number in range(100):
        tell(mesh, replace(REQUEST, request_id=f"r{number}"))
    reserve = QUIET.queue_capacity * QUIET.principal_share
    assert mesh.agents["d0"]._server.queue.places_used == QUIET.queue_capacity - reserve
    big = (ChatMessage(Role.USER, "x" * (QUIET.queue_bytes_max + 1)),)
    effects = tell(mesh, replace(REQUEST, origin="other", request_id="big", messages=big))
    assert refusals(effects) == [BusyReason.QUEUE_FULL]


def test_nobody_can_cancel_or_take_over_an_item_of_this_device_or_of_another() -> None:
    mesh = Mesh(2, service_s=10.0)
    own = mesh.ask("d0", layers=0)
    tell(mesh, replace(REQUEST, origin="d1", request_id="secret"))
    for origin, request_id in (("", "#1"), ("#1", ""), ("evil", "secret"), ("", "d1/secret"), ("d1", "guess")):
        tell(mesh, RequestCancel(request_id, origin))
        tell(mesh, replace(REQUEST, origin=origin, request_id=request_id))
    mesh.run()
    assert mesh.answer(own).outcome is Outcome.ANSWERED
    responses = [message for _, to, message in mesh.sent if to == "d1" and isinstance(message, ProposalResponse)]
    assert [response.outcome for response in responses if response.request_id == "secret"] == [ItemOutcome.COMPLETED]


def test_gossip_of_thousands_of_entries_is_read_only_as_far_as_an_exchange_may_go() -> None:
    mesh = Mesh(2)
    crowd = tuple(replace(ENTRY, device_id=f"x{number}") for number in range(5_000))
    tell(mesh, ViewExchange(crowd, reply_wanted=False))
    assert len(mesh.agents["d0"].view.rows()) == 1 + QUIET.gossip_sample + 1


def test_a_crowd_of_invented_devices_never_makes_the_view_larger_than_its_bound() -> None:
    mesh = Mesh(2, replace(QUIET, view_size_max=10))
    for number in range(500):
        names = [f"x{number}-{index}" for index in range(9)]
        tell(mesh, ViewExchange(tuple(replace(ENTRY, device_id=name) for name in names), reply_wanted=True))
    view = mesh.agents["d0"].view
    assert len(view.rows()) == 10
    for number in range(2_000):
        tell(mesh, Presence(replace(ENTRY, device_id=f"y{number}"), PresenceState.OFFLINE, 1, ""))
    assert len(view._graves) <= 256


def test_an_empty_exchange_or_a_nameless_entry_does_nothing_bad() -> None:
    mesh = Mesh(2)
    assert tell(mesh, ViewExchange((), reply_wanted=True)) == []
    tell(mesh, ViewExchange((replace(ENTRY, device_id=""),), reply_wanted=True))
    key = mesh.ask("d0", layers=1, fanout=2)
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.ANSWERED


def test_numbers_that_are_none_do_not_stop_a_device() -> None:
    mesh = Mesh(2)
    for number in (math.nan, math.inf, -math.inf, -1.0):
        entry = replace(ENTRY, service_time_s_mean=number, requests_waiting=-HUGE, incarnation=-1, heartbeat=-HUGE)
        tell(mesh, ViewExchange((entry,), reply_wanted=True))
        tell(mesh, Presence(replace(entry, device_id="y"), PresenceState.ONLINE, -1, ""))
    key = mesh.ask("d0", layers=2, fanout=3)
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.ANSWERED


def test_who_speaks_in_this_devices_name_changes_nothing_here_and_starts_no_loop() -> None:
    mesh = Mesh(2)
    us = replace(ENTRY, device_id="d0", incarnation=HUGE, heartbeat=HUGE)
    assert tell(mesh, ViewExchange((us,), reply_wanted=True)) == []
    for state in PresenceState:
        assert tell(mesh, Presence(us, state, 1, "")) == []
    assert mesh.agents["d0"].view.get("d0") is None
    assert mesh.agents["d0"].last_will().entry.incarnation < HUGE


def test_messages_that_no_device_sends_to_another_are_counted_and_dropped() -> None:
    mesh = Mesh(1)
    key = mesh.ask("d0", layers=0)
    mesh.run()
    assert tell(mesh, mesh.answer(key)) == []
    assert mesh.agents["d0"].counters.bad_input == 1


def mutate(message: Any, rng: random.Random) -> Any:
    """Returns the message with one of its fields replaced by something that may not be there."""
    field = rng.choice(dataclasses.fields(message))
    old = getattr(message, field.name)
    new: Any = old
    if dataclasses.is_dataclass(old) and not isinstance(old, Sampling):
        new = mutate(old, rng)
    elif isinstance(old, bool):
        new = not old
    elif isinstance(old, int | float) or (old is None and field.name.endswith(("_s", "_mean"))):
        new = rng.choice((-1, 0, HUGE, -HUGE, 2**70, math.nan, math.inf, -math.inf, 1e308, 5e-324))
    elif type(old) is str:
        new = rng.choice(("", "d0", "d1", "evil", "#1", "\x00", "x" * 70_000))
    elif isinstance(old, tuple) and old:
        new = rng.choice(((), old * 500, old[:1]))
    return dataclasses.replace(message, **{field.name: new})


@pytest.mark.parametrize("seed", range(RUNS))
def test_any_message_with_any_field_forged_leaves_every_promise_standing(seed: int) -> None:
    rng = random.Random(seed)
    settings = AgentSettings(
        queue_capacity=4, view_size_max=6, deadline_s=rng.choice((None, 60.0)), status_interval_s=None
    )
    mesh = Mesh(4, settings, seed=seed)
    keys = []
    for number in range(60):
        if number % 4 == 0:
            keys.append(mesh.ask(f"d{number % 3}", layers=2, fanout=2, user=f"u{number}"))
        mesh.run(until=mesh.now + rng.expovariate(3.0))
        sender, receiver, message = rng.choice(mesh.sent[-40:])
        for _ in range(rng.randint(1, 2)):
            message = mutate(message, rng)
        tell(mesh, message, rng.choice((sender, receiver) if receiver in mesh.agents else (sender,)))
    for _ in range(60):  # an hour, if it takes that
        if not any(len(agent._sessions) or agent._server.queue.places_used for agent in mesh.agents.values()):
            break
        mesh.run(until=mesh.now + 60.0)
    for name, agent in mesh.agents.items():
        assert len(agent._sessions) == 0, f"{name} has sessions that never end (seed {seed})"
        assert agent._server.queue.places_used == 0, f"{name} holds places for nobody (seed {seed})"
    for key in keys:
        ends = [message for message in mesh.user_messages[key] if isinstance(message, Answer | PromptRefusal)]
        assert len(ends) == 1, f"{key} ended {len(ends)} times (seed {seed})"
