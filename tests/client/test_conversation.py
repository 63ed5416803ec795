"""When a prompt is sent again, and which messages about it count."""

from __future__ import annotations

import pytest

from edge_agent.client.conversation import AskTimeoutError, ClientSettings, Conversation, NoReceiptError
from edge_agent.core.messages import (
    ChatMessage,
    Prompt,
    PromptOptions,
    PromptReceipt,
    PromptRefusal,
    RefusalReason,
    Role,
    TokenChunk,
)

SETTINGS = ClientSettings(
    receipt_timeout_s=1.0, sends_max=3, probe_interval_s=10.0, answer_timeout_s=100.0, grace_s=5.0
)
RECEIPT = PromptReceipt("p", "device-1", None)


def make(deadline_s: float | None = None) -> Conversation:
    prompt = Prompt("p", (ChatMessage(Role.USER, "why?"),), PromptOptions(deadline_s=deadline_s))
    return Conversation(prompt, "device-1", SETTINGS, now=0.0)


def test_a_prompt_is_sent_at_once_and_again_after_doubling_waits_until_nobody_can_be_there() -> None:
    conversation = make()
    sent_at = []
    for _ in range(3):
        assert conversation.is_due(conversation.wait_until())
        sent_at.append(conversation.wait_until())
        conversation.add_sent(conversation.wait_until(), taken=True)
    assert sent_at == [0.0, 1.0, 3.0]
    with pytest.raises(NoReceiptError, match="device-1 does not respond"):
        conversation.is_due(7.0)


def test_sends_that_the_broker_did_not_take_do_not_count_against_the_device() -> None:
    conversation = make()
    for _ in range(10):
        assert conversation.is_due(conversation.wait_until())
        conversation.add_sent(conversation.wait_until(), taken=False)
    assert conversation.is_due(conversation.wait_until())


def test_after_a_receipt_it_is_sent_again_only_when_no_news_came_for_the_probe_interval() -> None:
    conversation = make()
    conversation.add_sent(0.0, taken=True)
    assert conversation.deliver(RECEIPT, 0.5)
    assert not conversation.is_due(10.0)
    assert conversation.deliver(TokenChunk("p", 0, "a"), 8.0)
    assert not conversation.is_due(17.9)
    assert conversation.is_due(18.0)


def test_a_new_connection_makes_it_due_at_once() -> None:
    conversation = make()
    conversation.add_sent(0.0, taken=True)
    conversation.deliver(RECEIPT, 0.1)
    conversation.reconnected(2.0)
    assert conversation.is_due(2.0)


def test_the_deadline_of_the_prompt_and_a_grace_end_the_wait() -> None:
    conversation = make(deadline_s=20.0)
    conversation.add_sent(0.0, taken=True)
    conversation.deliver(RECEIPT, 0.1)
    assert conversation.wait_until() <= 25.0
    with pytest.raises(AskTimeoutError, match="within 25 s"):
        conversation.is_due(25.0)


def test_repeated_receipts_and_chunks_are_dropped_but_a_fresh_count_is_kept() -> None:
    conversation = make()
    assert [conversation.deliver(RECEIPT, 0.0) for _ in range(2)] == [True, False]
    assert [conversation.deliver(TokenChunk("p", index, "x"), 0.0) for index in (0, 1, 2, 1)] == [
        True,
        True,
        True,
        False,
    ]
    assert conversation.deliver(TokenChunk("p", 0, "A"), 0.0)
    assert conversation.deliver(TokenChunk("p", 1, "B"), 0.0)


def test_nothing_counts_after_the_end() -> None:
    conversation = make()
    refusal = PromptRefusal("p", "device-1", RefusalReason.OVERLOADED, "full", 2.0)
    assert conversation.deliver(refusal, 0.0)
    assert conversation.ended
    assert not conversation.deliver(refusal, 0.0)
    assert not conversation.is_due(50.0)
    assert conversation.take() == refusal
    assert conversation.take() is None


def test_a_reader_that_lags_loses_progress_but_not_the_end() -> None:
    conversation = make()
    conversation.deliver(RECEIPT, 0.0)
    kept = sum(conversation.deliver(TokenChunk("p", index, "x"), 0.0) for index in range(5_000))
    assert kept < 5_000
    assert conversation.deliver(PromptRefusal("p", "device-1", RefusalReason.STOPPING, "bye"), 0.0)
