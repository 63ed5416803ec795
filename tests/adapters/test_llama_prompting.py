from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.llama.prompting import PromptFitter
from edge_agent.core.messages import ChatMessage, Role

FRAME = 2  # tokens that the template of this test puts around a message


class CharacterModel:
    """A tokenizer of one token a character, which remembers the last chat it was given."""

    def __init__(self) -> None:
        self.chat: list[ChatMessage] = []

    def tokenize_chat(self, chat: Sequence[ChatMessage]) -> list[int]:
        self.chat = list(chat)
        return list(range(sum(len(message.content) + FRAME for message in chat)))

    def fitter(self) -> PromptFitter:
        return PromptFitter(self.tokenize_chat, len, "Merge.")


def user(text: str) -> ChatMessage:
    return ChatMessage(Role.USER, text)


def test_what_fits_is_not_cut() -> None:
    model = CharacterModel()
    fitted = model.fitter().fit([user("hello")], ["ref"], 100)
    assert fitted.tokens_cut == 0
    assert "ref" in model.chat[0].content


def test_references_are_cut_before_the_prompt_and_the_cut_is_counted() -> None:
    model = CharacterModel()
    fitted = model.fitter().fit([user("q" * 20)], ["a" * 50, "b" * 5], 60)
    assert len(fitted.tokens) <= 60
    full = len(model.tokenize_chat([ChatMessage(Role.SYSTEM, f"Merge.\n\n1. {'a' * 50}\n\n2. bbbbb"), user("q" * 20)]))
    assert fitted.tokens_cut == full - len(fitted.tokens) > 0


def test_references_that_leave_no_room_are_given_up() -> None:
    model = CharacterModel()
    model.fitter().fit([user("q" * 50)], ["a" * 50], 60)
    assert model.chat == [user("q" * 50)]


def test_the_oldest_turns_go_before_the_last_one_is_cut_and_the_system_message_stays() -> None:
    model = CharacterModel()
    system = ChatMessage(Role.SYSTEM, "sys")
    turns = [user("old" * 5), ChatMessage(Role.ASSISTANT, "yes" * 5), user("new"), ChatMessage(Role.ASSISTANT, "no")]
    model.fitter().fit([system, *turns, user("last")], [], 30)
    assert model.chat == [system, user("new"), turns[3], user("last")]


def test_the_end_of_the_last_turn_is_kept() -> None:
    model = CharacterModel()
    system = ChatMessage(Role.SYSTEM, "sys")
    fitted = model.fitter().fit([system, user("start" + "x" * 100 + "end")], ["ref"], 30)
    assert model.chat[0] == system
    assert model.chat[1].content.endswith("xend")
    assert len(fitted.tokens) == 30


def test_an_oversized_system_message_leaves_half_for_the_user() -> None:
    model = CharacterModel()
    model.fitter().fit([ChatMessage(Role.SYSTEM, "s" * 500), user("u" * 500)], [], 100)
    assert len(model.chat[0].content) == 50
    assert len(model.chat[1].content) == 100 - 50 - 2 * FRAME


@pytest.mark.parametrize("budget", [0, 1, FRAME])
def test_a_context_too_small_for_anything_is_an_error(budget: int) -> None:
    with pytest.raises(ValueError, match="no prompt fits"):
        CharacterModel().fitter().fit([user("hello")], [], budget)


def test_an_empty_chat_is_an_error() -> None:
    with pytest.raises(ValueError, match="no messages"):
        CharacterModel().fitter().fit([], [], 100)


@given(
    st.lists(st.tuples(st.sampled_from(list(Role)), st.text("xy ", max_size=40)), min_size=1, max_size=8),
    st.lists(st.text("r", max_size=40), max_size=4),
    st.integers(12, 200),
)
def test_every_prompt_is_made_to_fit(chat: list[tuple[Role, str]], references: list[str], budget: int) -> None:
    messages = [ChatMessage(role, text) for role, text in chat]
    fitted = CharacterModel().fitter().fit(messages, references, budget)
    assert 0 < len(fitted.tokens) <= budget
    assert fitted.tokens_cut >= 0
