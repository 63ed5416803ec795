"""The checkers see what they are for: each broken promise here is caught, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core.messages import Answer, PromptReceipt, PromptRefusal, RefusalReason
from edge_agent.core.provenance import Provenance
from edge_agent.core.states import Outcome
from tests.chaos.checks import Journal, Report, judge_prompts
from tests.chaos.record import Key, Record

KEY: Key = ("d1", "user-0", "p1")
ANSWER = Answer("p1", "d1", Outcome.ANSWERED, "blue", "", 1.0, Provenance("d1", 0, 0, (), None, (), (), (), 0, 0))
OTHER = replace(ANSWER, text="green")


def judged(
    *messages: object,
    kept: Answer | None = None,
    still_open: bool = False,
    unanswered: str = "",
) -> Report:
    record = Record()
    for message in messages:
        record.take(KEY[0], KEY[1], message)
    journal = Journal()
    if kept is not None:
        journal.ends[KEY[1:]] = kept
    if still_open:
        journal.open.append(KEY[1:])
    report = Report()
    judge_prompts(report, record, {"d1": journal}, {KEY: unanswered} if unanswered else {})
    return report


def receipt(durable: bool = True) -> PromptReceipt:
    return PromptReceipt("p1", "d1", None, durable)


def test_a_prompt_that_was_accepted_answered_and_answered_again_the_same_is_well() -> None:
    report = judged(receipt(), ANSWER, ANSWER, kept=ANSWER)
    assert (report.accepted, report.ended, report.told, report.violations) == (1, 1, 1, [])


def test_an_end_that_waits_in_the_journal_for_a_user_who_is_gone_is_no_loss() -> None:
    report = judged(receipt(), kept=ANSWER)
    assert (report.ended, report.lost, report.violations) == (1, 0, [])


@pytest.mark.parametrize(
    ("report", "words"),
    [
        pytest.param(judged(receipt()), "not told its end", id="no end anywhere"),
        pytest.param(judged(receipt(), ANSWER, unanswered="NoReceiptError"), "not told its end", id="not told again"),
        pytest.param(judged(receipt(), kept=ANSWER, unanswered="refused"), "not told its end", id="refused again"),
        pytest.param(judged(receipt(), ANSWER, OTHER), "two different ends", id="two ends told"),
        pytest.param(judged(receipt(), ANSWER, kept=OTHER), "two different ends", id="another end is kept"),
        pytest.param(judged(receipt(False), ANSWER, OTHER), "two different ends", id="two ends, not durable"),
        pytest.param(judged(receipt(), ANSWER, still_open=True), "under way", id="still under way"),
    ],
)
def test_a_broken_promise_is_seen(report: Report, words: str) -> None:
    assert len(report.violations) == 1
    assert words in report.violations[0]


def test_what_was_not_promised_is_counted_apart() -> None:
    report = judged(receipt(False))
    assert (report.accepted, report.not_durable, report.not_durable_lost, report.violations) == (0, 1, 1, [])
    refused = PromptRefusal("p1", "d1", RefusalReason.OVERLOADED, "full")
    assert judged(refused).violations == []
