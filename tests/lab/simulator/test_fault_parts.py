"""What surrounds an agent in a fault run, part by part."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.agent import Agent
from edge_agent.core.context import RandomStreams
from edge_agent.core.errors import JournalError
from edge_agent.core.messages import (
    Answer,
    ChatMessage,
    LayerProgress,
    Prompt,
    PromptReceipt,
    PromptRefusal,
    ProposalRequest,
    ProposalResponse,
    RefusalReason,
    RequestCancel,
    Role,
    Sampling,
)
from edge_agent.core.provenance import Contribution, Provenance
from edge_agent.core.settings import AgentSettings, DeviceIdentity
from edge_agent.core.sizes import fit_answer
from edge_agent.core.states import ItemOutcome, Outcome
from edge_agent.lab.simulator.checkers import EndsOnce, Violation
from edge_agent.lab.simulator.cluster import Cluster
from edge_agent.lab.simulator.faults.disks import Disks
from edge_agent.lab.simulator.faults.journal import RESERVE_ENDS, DeviceClock, Disk, SimulatedJournal
from edge_agent.lab.simulator.faults.kinds import FaultKind, parse_faults
from edge_agent.lab.simulator.faults.plan import draw_plan
from edge_agent.lab.simulator.faults.sizes import body_size, is_too_large
from edge_agent.lab.simulator.faults.transport import Outgoing, Transport
from edge_agent.lab.simulator.randomness import stream
from edge_agent.lab.simulator.service import DeclaredService
from edge_agent.lab.simulator.trace import Trace
from edge_agent.service_time import parse_service
from edge_agent.wire.codec import BODY_BYTES_MAX, encode

ROUTE = ev.ReplyRoute("u1")
WORK = Contribution("d1", "m", 0.0, 1.0, 5, 5)


def user(prompt_id: str) -> Outgoing:
    message = PromptRefusal(prompt_id, "d0", RefusalReason.OVERLOADED, "full")
    return Outgoing(fx.SendToUser(ROUTE, message), message)


def peer(request_id: str, expires_at: float = float("inf")) -> Outgoing:
    message = RequestCancel(request_id, "d0")
    return Outgoing(fx.SendToDevice("d1", "", message), message, expires_at)


def progress() -> Outgoing:
    message = LayerProgress("p", 1, 1, (), ())
    return Outgoing(fx.SendToUser(ROUTE, message), message)


class Line:
    """A transport whose broker writes down what it is handed, and confirms nothing by itself."""

    def __init__(self, *, strict: bool = True, items_max: int = 64, keeps_peers: bool = True) -> None:
        self.handed: list[Outgoing] = []
        self.transport = Transport(
            strict=strict, items_max=items_max, keeps_peers=keeps_peers, hand_over=self.hand_over
        )

    def hand_over(self, item: Outgoing) -> bool:
        self.handed.append(item)
        return True


def test_what_is_sent_before_the_transport_has_started_is_gone() -> None:
    line, first, second = Line(), user("a"), user("b")
    line.transport.send(first)
    line.transport.start()
    line.transport.send(second)
    line.transport.connect(1.0)
    assert line.handed == [second]
    assert line.transport.dropped == 1


def test_until_its_first_failure_a_transport_keeps_even_what_is_worth_nothing_later() -> None:
    line, passing, late = Line(), progress(), progress()
    line.transport.start()
    line.transport.send(passing)
    line.transport.connect(1.0)
    line.transport.lose()
    line.transport.send(late)
    line.transport.connect(2.0)
    assert passing in line.handed
    assert late not in line.handed


def test_an_outbox_keeps_what_its_device_could_not_send_while_it_has_not_expired() -> None:
    line, early, late = Line(), peer("a", expires_at=11.0), peer("b", expires_at=70.0)
    line.transport.start()
    line.transport.send(early)
    line.transport.send(late)
    line.transport.connect(20.0)
    assert line.handed == [late]


def test_in_a_full_outbox_the_oldest_of_the_least_important_gives_way() -> None:
    line, items = Line(items_max=3), [peer("a"), user("b"), peer("c"), user("d"), user("e"), peer("f")]
    line.transport.start()
    for item in items:
        line.transport.send(item)
    line.transport.connect(1.0)
    assert line.handed == [items[1], items[3], items[4]]


def test_what_the_broker_did_not_confirm_is_sent_again_on_the_next_connection() -> None:
    line, first, second = Line(), user("a"), user("b")
    line.transport.start()
    line.transport.connect(1.0)
    line.transport.send(first)
    line.transport.send(second)
    assert line.transport.confirmed(first.sequence)
    line.transport.lose()
    line.transport.connect(2.0)
    assert line.handed == [first, second, second]


def test_sizes_are_those_of_the_real_codec_wherever_they_could_matter() -> None:
    chat = (ChatMessage(Role.USER, "x" * 8_000),)
    references = tuple("\x01" * 32_000 for _ in range(9))
    request = ProposalRequest("r", "d0", "", 2, chat, references, Sampling(), None)
    response = ProposalResponse("r", ItemOutcome.COMPLETED, '"' * 32_768, "", WORK)
    for message in (request, response, Prompt("p", chat * 2)):
        assert body_size(message) == len(encode(message))
    assert is_too_large(body_size(request), None)
    assert not is_too_large(body_size(response), None)
    assert is_too_large(body_size(response), 64 * 1024)
    small = ProposalRequest("r", "d0", "", 2, (ChatMessage(Role.USER, "\x01" * 8_000),), (), Sampling(), None)
    assert body_size(small) == 0
    assert not is_too_large(len(encode(small)), 64 * 1024), "what is not looked at could have been too large"
    assert is_too_large(BODY_BYTES_MAX + 1, None)


def a_prompt(number: int = 1) -> fx.JournalPrompt:
    return fx.JournalPrompt(Prompt(f"p{number}", (ChatMessage(Role.USER, "x"),)), ROUTE, None, 0, 0)


@pytest.mark.parametrize(("disk", "kept"), [(Disk.FULL, 1), (Disk.READ_ONLY, 1), (Disk.UNSYNCED, 2), (Disk.DAMAGED, 0)])
def test_a_disk_that_is_not_well_refuses_and_keeps_what_it_may(disk: Disk, kept: int) -> None:
    journal = SimulatedJournal(DeviceClock())
    journal.record_prompt(a_prompt(1), 0.0)
    journal.disk = disk
    with pytest.raises(JournalError):
        journal.record_prompt(a_prompt(2), 1.0)
    assert len(journal.restore(2.0).sessions) == kept


@pytest.mark.parametrize("killed", [False, True], ids=["well again", "killed before"])
def test_ends_on_a_full_disk_are_kept_in_the_reserve_until_that_is_full(killed: bool) -> None:
    journal = SimulatedJournal(DeviceClock())
    for number in range(RESERVE_ENDS + 1):
        journal.record_prompt(a_prompt(number), 0.0)
    journal.change(Disk.FULL)
    ends = [replace(WHOLE, prompt_id=a_prompt(number).prompt.prompt_id) for number in range(RESERVE_ENDS + 1)]
    for end in ends[:-1]:
        journal.record_answer(fx.JournalAnswer(end, ROUTE))
    with pytest.raises(JournalError, match="nor in the reserve"):
        journal.record_answer(fx.JournalAnswer(ends[-1], ROUTE))
    if not killed:
        journal.change(Disk.WELL)
    restored = journal.restore(1.0)
    assert [kept.answer for kept in restored.answers] == ends[:-1]
    assert [session.prompt.prompt_id for session in restored.sessions] == [ends[-1].prompt_id]


def a_cluster(*, journal: bool = False) -> tuple[Cluster, Agent]:
    cluster = Cluster(["d0"], DeclaredService(parse_service("deterministic:1")), random.Random(1), Trace())
    settings = AgentSettings(layers=0, gossip_interval_s=None, status_interval_s=None, journal=journal)
    agent = Agent(DeviceIdentity("d0"), settings, RandomStreams(*(random.Random(seed) for seed in range(3))))
    cluster.start(0, agent, 1)
    cluster.handle(0, ev.ConnectionChanged(True))
    return cluster, agent


def test_a_frozen_device_takes_in_late_what_has_waited_and_sees_first_what_the_time_is() -> None:
    cluster, agent = a_cluster()
    seen: list[tuple[float, str]] = []
    cluster.carry_out_with(
        fx.SendToUser, lambda device, effect: seen.append((cluster.now, type(effect.message).__name__))
    )
    cluster.freeze(0)
    cluster.post(1.0, 0, ev.PromptReceived(a_prompt().prompt, ROUTE, 1))
    cluster.at(5.0, lambda: cluster.thaw(0))
    cluster.run(4.0)
    assert cluster.is_frozen(0)
    assert not seen
    cluster.run()
    assert seen == [(5.0, "PromptReceipt"), (6.0, "Answer")]
    assert not any(agent.outstanding().values())


def with_disk(write_s: float) -> tuple[Cluster, Disks, list[tuple[float, str]]]:
    """A device with a journal, and what it tells its user when."""
    cluster, _ = a_cluster(journal=True)
    disks = Disks(cluster, Trace(), [], random.Random(1))
    disks.journals[0].write_s = write_s
    told: list[tuple[float, str]] = []
    cluster.carry_out_with(
        fx.SendToUser,
        lambda device, effect: told.append(
            (cluster.now, f"{type(effect.message).__name__} {effect.message.prompt_id}")
        ),
    )
    return cluster, disks, told


def test_a_slow_card_holds_up_receipts_and_answers_and_commits_together_what_came_meanwhile() -> None:
    cluster, _, told = with_disk(3.0)
    for number, at in enumerate((0.0, 0.5, 1.0), start=1):
        cluster.post(at, 0, ev.PromptReceived(a_prompt(number).prompt, ROUTE, 1))
    cluster.run()
    receipts = [(at, what) for at, what in told if what.startswith("PromptReceipt")]
    # the first write takes three seconds, the second takes what came meanwhile: both prompts, and the first end
    assert receipts == [(3.0, "PromptReceipt p1"), (6.0, "PromptReceipt p2"), (6.0, "PromptReceipt p3")]
    answers = [at for at, what in told if what.startswith("Answer")]
    assert answers[0] == 6.0
    assert answers == sorted(answers)


def test_nothing_is_said_of_what_was_being_written_when_its_device_died() -> None:
    cluster, disks, told = with_disk(3.0)
    cluster.post(0.0, 0, ev.PromptReceived(a_prompt().prompt, ROUTE, 1))
    cluster.at(1.0, lambda: cluster.stop(0))
    cluster.at(1.0, lambda: disks.died(0))
    cluster.run()
    assert told == []


@pytest.mark.parametrize("disk", [Disk.FULL, Disk.UNSYNCED])
def test_a_device_is_told_of_a_disk_that_takes_nothing_and_again_when_it_is_well(disk: Disk) -> None:
    cluster, disks, told = with_disk(0.01)
    durable: list[bool] = []
    cluster.on_effect(
        fx.SendToUser,
        lambda device, effect: (
            durable.append(effect.message.durable) if isinstance(effect.message, PromptReceipt) else None
        ),
    )
    disks.change(0, disk)
    for number in (1, 2):
        cluster.post(number, 0, ev.PromptReceived(a_prompt(number).prompt, ROUTE, 1))
    cluster.at(1.5, lambda: disks.change(0, Disk.WELL))
    cluster.run()
    assert durable == [False, True]
    assert [what for _, what in told if what.startswith("Answer")] == ["Answer p1", "Answer p2"]


def test_few_kinds_that_are_asked_for_by_name_are_in_every_seed() -> None:
    for seed in range(1, 20):
        kinds = draw_plan(seed, parse_faults("card,loss"), stream(seed, "plan")).kinds
        assert kinds == {FaultKind.CARD, FaultKind.LOSS}


LAYERS = ((WORK, WORK, WORK), (WORK, WORK, WORK))
WHOLE = Answer(
    "p", "d0", Outcome.ANSWERED, "long " * 2_000, "", 1.0, Provenance("d0", 2, 2, LAYERS, WORK, (), (), (), 9, 9)
)
TEXT_CUT = fit_answer(WHOLE, 32_768, 9_000)
RECORDS_LEFT_OUT = fit_answer(replace(WHOLE, text="short"), 32_768, 4_096)


def test_a_broker_that_takes_less_may_cost_text_or_records() -> None:
    assert 0 < len(TEXT_CUT.text) < len(WHOLE.text)
    assert RECORDS_LEFT_OUT.text == "short"
    assert RECORDS_LEFT_OUT.provenance.layers == ()


@pytest.mark.parametrize(
    ("first", "second", "may_be"),
    [
        (WHOLE, WHOLE, True),
        (WHOLE, TEXT_CUT, True),
        (replace(WHOLE, text="short"), RECORDS_LEFT_OUT, True),
        (TEXT_CUT, WHOLE, False),
        (RECORDS_LEFT_OUT, replace(WHOLE, text="short"), False),
        (WHOLE, replace(TEXT_CUT, outcome=Outcome.FAILED), False),
        (WHOLE, replace(TEXT_CUT, detail="other"), False),
        (WHOLE, replace(WHOLE, text="other " * 2_000), False),
    ],
)
def test_an_end_may_be_given_again_cut_and_no_other(first: Answer, second: Answer, may_be: bool) -> None:
    checker, journal = EndsOnce(), SimulatedJournal(DeviceClock())
    agent = Agent(DeviceIdentity("d0"), AgentSettings(), RandomStreams(*(random.Random(n) for n in range(3))))
    prompt = fx.JournalPrompt(Prompt("p", (ChatMessage(Role.USER, "why?"),)), ROUTE, None, 2, 2)
    for one in (prompt, fx.JournalAnswer(first, ROUTE)):
        checker.after(0.0, 0, agent, ev.DeadlineReached(), [one])
    journal.record_answer(fx.JournalAnswer(first, ROUTE))
    journal.record_answer(fx.JournalAnswer(second, ROUTE))
    if may_be:
        checker.after(0.0, 0, agent, ev.DeadlineReached(), [fx.JournalAnswer(second, ROUTE)])
        assert [kept.answer for kept in journal.restore(0.0).answers] == [second]
    else:
        with pytest.raises(Violation):
            checker.after(0.0, 0, agent, ev.DeadlineReached(), [fx.JournalAnswer(second, ROUTE)])
