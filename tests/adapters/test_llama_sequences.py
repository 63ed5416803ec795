"""Which sequence of the cache a prompt gets."""

from __future__ import annotations

import random

from edge_agent.adapters.llama.sequences import Sequences

SHARED = list(range(8))


def held(sequences: Sequences, tokens: list[int]) -> int:
    """Has a prompt computed in some sequence; returns its number."""
    sequence, kept = sequences.take(tokens)
    del sequence.tokens[kept:]
    sequence.tokens += tokens[kept:]
    sequences.give_back(sequence)
    return sequence.number


def test_the_next_turn_of_a_chat_gets_the_sequence_of_the_one_before() -> None:
    sequences = Sequences(3)
    chats = [[*SHARED, 100 + chat, *range(20)] for chat in range(3)]
    numbers = [held(sequences, chat) for chat in chats]
    assert sorted(numbers) == [0, 1, 2]
    for chat in (2, 0, 1):
        sequence, kept = sequences.take([*chats[chat], 7, 8])
        assert (sequence.number, kept) == (numbers[chat], len(chats[chat]))
        sequences.give_back(sequence)


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    sequences = Sequences(1)
    held(sequences, SHARED)
    assert sequences.take(SHARED)[1] == len(SHARED) - 1


def test_where_nothing_fits_an_empty_sequence_is_taken_and_then_the_one_used_longest_ago() -> None:
    sequences = Sequences(2)
    first = held(sequences, [1, 2, 3])
    second = held(sequences, [4, 5, 6])
    assert first != second
    assert held(sequences, [7, 8, 9]) == first
    assert held(sequences, [10, 11, 12]) == second


def test_a_beginning_that_all_prompts_share_takes_no_chat_from_its_sequence() -> None:
    sequences = Sequences(2)
    chat = [1, 2, *range(50, 90)]
    number = held(sequences, chat)
    assert held(sequences, [1, 2, *range(200, 240)]) != number
    assert sequences.take([*chat, 5])[1] == len(chat)


def test_a_sequence_in_use_is_nobody_elses() -> None:
    sequences = Sequences(2)
    held(sequences, [*SHARED, 1])
    taken = [sequences.take([*SHARED, 1, 2])[0].number for _ in range(2)]
    assert sorted(taken) == [0, 1]
    assert sequences.free == 0


def test_afresh_nothing_is_kept() -> None:
    sequences = Sequences(1)
    held(sequences, [*SHARED, 1])
    assert sequences.take([*SHARED, 1, 2], afresh=True)[1] == 0


def test_what_is_said_to_be_kept_is_the_beginning_of_the_prompt_whatever_came_before() -> None:
    rng = random.Random(5)
    sequences = Sequences(4)
    for _ in range(2_000):
        prompt = [rng.randrange(2) for _ in range(rng.randint(1, 24))]
        sequence, kept = sequences.take(prompt)
        assert kept < len(prompt)
        assert sequence.tokens[:kept] == prompt[:kept]
        sequence.tokens = prompt
        sequences.give_back(sequence)
    assert sequences.free == 4
