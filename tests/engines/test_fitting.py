from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.messages import ChatMessage, Role
from edge_agent.engines.fitting import ANSWER_TOKENS_MIN, FittedPrompt, PromptFitter

FRAME = 2  # tokens that the template of this test puts around a message


class CharacterModel:
    """A tokenizer of one token a character, which remembers the last chat it was given."""

    def __init__(self) -> None:
        self.chat: list[ChatMessage] = []

    def render(self, chat: Sequence[ChatMessage]) -> list[int]:
        self.chat = list(chat)
        return list(range(sum(len(message.content) + FRAME for message in chat)))

    def fitter(self) -> PromptFitter[list[int]]:
        return PromptFitter(self.render, len, "Merge.")

    def fit(self, chat: Sequence[ChatMessage], references: Sequence[str], budget: int) -> FittedPrompt[list[int]]:
        """Into a context that leaves so much beside an answer of one token."""
        return self.fitter().fit(chat, references, budget + 1, 1)


def user(text: str) -> ChatMessage:
    return ChatMessage(Role.USER, text)


def test_what_fits_is_not_cut() -> None:
    model = CharacterModel()
    fitted = model.fit([user("hello")], ["ref"], 100)
    assert fitted.tokens_cut == 0
    assert "ref" in model.chat[0].content


def test_references_are_cut_before_the_prompt_and_the_cut_is_counted() -> None:
    model = CharacterModel()
    fitted = model.fit([user("q" * 20)], ["a" * 50, "b" * 5], 60)
    assert len(fitted.prompt) <= 60
    full = len(model.render([ChatMessage(Role.SYSTEM, f"Merge.\n\n1. {'a' * 50}\n\n2. bbbbb"), user("q" * 20)]))
    assert fitted.tokens_cut == full - len(fitted.prompt) > 0


def test_references_that_leave_no_room_are_given_up() -> None:
    model = CharacterModel()
    model.fit([user("q" * 50)], ["a" * 50], 60)
    assert model.chat == [user("q" * 50)]


@pytest.mark.parametrize("output_tokens_max", [1, 64, 200, 2048])
def test_a_longer_answer_never_cuts_a_chat_that_fits(output_tokens_max: int) -> None:
    model = CharacterModel()
    chat = [user("Repeat the first word. ZEBRA" + "x" * 400)]
    fitted = model.fitter().fit(chat, [], 512, output_tokens_max)
    assert (model.chat, fitted.tokens_cut) == (chat, 0)
    model.fitter().fit(chat, ["r" * 200], 512, output_tokens_max)
    assert model.chat[-1] == chat[-1]


def test_a_chat_that_must_be_cut_leaves_the_answer_its_room() -> None:
    model = CharacterModel()
    assert len(model.fitter().fit([user("x" * 500)], [], 512, 2048).prompt) == 256
    assert len(model.fitter().fit([user("x" * (510 - ANSWER_TOKENS_MIN))], [], 512, 2048).prompt) == 448


def test_references_give_way_to_the_answer_that_was_asked_for() -> None:
    model = CharacterModel()
    assert len(model.fitter().fit([user("q" * 100)], ["r" * 600], 512, 200).prompt) <= 312
    assert "r" * 100 in model.chat[0].content


def test_the_oldest_turns_go_before_the_last_one_is_cut_and_the_system_message_stays() -> None:
    model = CharacterModel()
    system = ChatMessage(Role.SYSTEM, "sys")
    turns = [user("old" * 5), ChatMessage(Role.ASSISTANT, "yes" * 5), user("new"), ChatMessage(Role.ASSISTANT, "no")]
    model.fit([system, *turns, user("last")], [], 30)
    assert model.chat == [system, user("new"), turns[3], user("last")]


def test_the_end_of_the_last_turn_is_kept() -> None:
    model = CharacterModel()
    system = ChatMessage(Role.SYSTEM, "sys")
    fitted = model.fit([system, user("start" + "x" * 100 + "end")], ["ref"], 30)
    assert model.chat[0] == system
    assert model.chat[1].content.endswith("xend")
    assert len(fitted.prompt) == 30


def test_an_oversized_system_message_leaves_half_for_the_user() -> None:
    model = CharacterModel()
    model.fit([ChatMessage(Role.SYSTEM, "s" * 500), user("u" * 500)], [], 100)
    assert len(model.chat[0].content) == 50
    assert len(model.chat[1].content) == 100 - 50 - 2 * FRAME


@pytest.mark.parametrize("budget", [1, FRAME])
def test_a_context_too_small_for_anything_is_an_error(budget: int) -> None:
    with pytest.raises(ValueError, match="no prompt fits"):
        CharacterModel().fit([user("hello")], [], budget)


def test_an_empty_chat_is_an_error() -> None:
    with pytest.raises(ValueError, match="no messages"):
        CharacterModel().fit([], [], 100)


@given(
    st.lists(st.tuples(st.sampled_from(list(Role)), st.text("xy ", max_size=40)), min_size=1, max_size=8),
    st.lists(st.text("r", max_size=40), max_size=4),
    st.integers(12, 200),
)
def test_every_prompt_is_made_to_fit(chat: list[tuple[Role, str]], references: list[str], budget: int) -> None:
    messages = [ChatMessage(role, text) for role, text in chat]
    fitted = CharacterModel().fit(messages, references, budget)
    assert 0 < len(fitted.prompt) <= budget
    assert fitted.tokens_cut >= 0
