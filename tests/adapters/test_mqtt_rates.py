"""How often each may speak, and who is told that it is too often."""

from __future__ import annotations

from edge_agent.adapters.mqtt.rates import CROWD, PRINCIPALS_MAX, TELLS_HZ, MessageRates
from edge_agent.core import events as ev
from edge_agent.core.messages import BusyReason, PromptRefusal, RefusalReason, RequestReceipt
from edge_agent.core.states import Outcome
from tests.core.mesh import Mesh


def taken(rates: MessageRates, principal: str, count: int, now: float, client: str = "0") -> int:
    return sum(rates.takes(principal, client, now) for _ in range(count))


def test_a_burst_is_taken_and_then_so_many_a_second() -> None:
    rates = MessageRates(10.0, 50)
    assert taken(rates, "user.flood", 200, 0.0) == 50
    assert taken(rates, "user.flood", 200, 1.0) == 10
    assert taken(rates, "user.flood", 200, 100.0) == 50, "silence fills a bucket, and no further"


def test_what_one_spends_is_not_missing_to_another() -> None:
    rates = MessageRates(10.0, 50)
    taken(rates, "user.flood", 1_000, 0.0)
    assert taken(rates, "user.alice", 50, 0.0) == 50
    assert taken(rates, "kitchen", 50, 0.0) == 50


def test_the_clients_of_a_user_have_one_bucket_and_those_without_a_name_one_each_and_one_together() -> None:
    rates = MessageRates(10.0, 50)
    assert sum(taken(rates, "user.flood", 50, 0.0, f"c{number}") for number in range(10)) == 50
    assert taken(rates, "me", 60, 0.0, "c0") == 50
    assert sum(taken(rates, "me", 50, 0.0, f"c{number}") for number in range(1, 10)) == (CROWD - 1) * 50


def test_invented_names_take_no_memory_beyond_a_bound() -> None:
    rates = MessageRates(10.0, 50)
    for number in range(3 * PRINCIPALS_MAX):
        rates.takes(f"user.x{number}", "0", 0.0)
        rates.tells(f"user.x{number}", 0.0)
    assert len(rates) == PRINCIPALS_MAX


def test_somebody_is_told_a_few_times_a_second() -> None:
    rates = MessageRates(10.0, 50)
    assert sum(rates.tells("user.flood", 0.0) for _ in range(100)) == TELLS_HZ
    assert sum(rates.tells("user.flood", 1.0) for _ in range(100)) == TELLS_HZ


def test_a_repeat_that_is_over_the_rate_does_not_refuse_the_prompt_that_was_taken() -> None:
    mesh = Mesh(1, service_s=5.0)
    key = mesh.ask("d0")
    again = ev.OverRate("p1", reply=ev.ReplyRoute("u1", "0"))
    mesh.handle("d0", again)
    mesh.run()
    mesh.handle("d0", again)
    assert not any(isinstance(one, PromptRefusal) for one in mesh.user_messages[key])
    assert mesh.answer(key).outcome is Outcome.ANSWERED
    mesh.handle("d0", ev.OverRate("p1", reply=ev.ReplyRoute("u2", "0")))
    assert isinstance(mesh.user_messages["u2/0 p1"][-1], PromptRefusal), "another's prompt of that id is another"


def test_a_user_is_refused_in_words_and_a_device_told_that_this_one_is_busy() -> None:
    mesh = Mesh(2)
    mesh.handle("d0", ev.OverRate("p1", reply=ev.ReplyRoute("user.flood")))
    (refusal,) = mesh.user_messages["user.flood/0 p1"]
    assert isinstance(refusal, PromptRefusal)
    assert (refusal.reason, refusal.detail) == (
        RefusalReason.OVERLOADED,
        "more than 200 messages a second: the message was not read",
    )
    assert refusal.retry_after_s
    mesh.handle("d0", ev.OverRate("r1", device_id="d1"))
    (_, to, receipt) = mesh.sent[-1]
    assert isinstance(receipt, RequestReceipt)
    assert (to, receipt.request_id, receipt.busy) == ("d1", "r1", BusyReason.OVER_RATE)
    assert mesh.agents["d0"].counters.over_rate == 2
