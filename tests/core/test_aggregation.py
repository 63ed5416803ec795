from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.aggregation import AGGREGATION_INSTRUCTION, build_chat, cut_references, keep_end, keep_start
from edge_agent.core.messages import ChatMessage, Role

QUESTION = ChatMessage(Role.USER, "What is dew?")


def words(text: str) -> int:
    return len(text.split())


def test_without_references_the_chat_is_unchanged() -> None:
    assert build_chat([QUESTION], []) == (QUESTION,)


def test_references_stand_numbered_in_a_system_message_before_the_chat() -> None:
    system, last = build_chat([QUESTION], ["Water.\n", "Condensed vapour."])
    assert last == QUESTION
    assert system.role is Role.SYSTEM
    assert system.content == f"{AGGREGATION_INSTRUCTION}\n\n1. Water.\n\n2. Condensed vapour."


def test_a_users_system_message_leads_the_common_one() -> None:
    chat = build_chat([ChatMessage(Role.SYSTEM, "Be brief."), QUESTION], ["Water."], "Merge:")
    assert [message.role for message in chat] == [Role.SYSTEM, Role.USER]
    assert chat[0].content == "Be brief.\n\nMerge:\n\n1. Water."


def test_the_longest_references_give_first() -> None:
    cut = cut_references(["a b", "c d e f g h", "i j k l"], 8, words)
    assert [words(text) for text in cut.texts] == [2, 3, 3]
    assert cut.tokens_cut == 4


def test_references_that_fit_are_untouched() -> None:
    cut = cut_references(["a  b", "c\nd"], 4, words)
    assert cut.texts == ("a  b", "c\nd")
    assert cut.tokens_cut == 0


def test_references_cut_to_nothing_are_left_out() -> None:
    cut = cut_references(["a b", "c d"], 0, words)
    assert cut.texts == ()
    assert cut.tokens_cut == 4


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(-5, 300))
def test_a_cut_keeps_to_the_budget_is_fair_and_wastes_nothing(sizes: list[int], budget: int) -> None:
    references = ["x" * size for size in sizes]
    cut = cut_references(references, budget, len)
    kept = [len(text) for text in cut.texts]
    assert sum(kept) <= max(0, budget)
    assert sum(kept) + cut.tokens_cut == sum(sizes)
    if sum(sizes) > budget >= 0:
        assert sum(kept) == budget
        shortened = [size for size in kept if size not in sizes]
        # Whoever was shortened keeps as much as anybody, give or take the remainder of the division.
        assert all(size >= max(kept) - 1 for size in shortened)


@given(st.text(max_size=50), st.integers(0, 60))
def test_the_start_and_the_end_of_a_text_are_kept(text: str, budget: int) -> None:
    assert keep_start(text, budget, len) == text[:budget]
    assert keep_end(text, budget, len) == (text[-budget:] if budget else "")
