"""What a user may ask a device about their own earlier prompts, and what is told of each in a list."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

ANSWERS_ON_A_PAGE = 20  # what fits a screen, where the query does not say
ANSWERS_ON_A_PAGE_MAX = 100
BEGINNING_LENGTH_MAX = 120  # characters of an answer that a list shows: one line


@final
@dataclass(frozen=True, slots=True)
class AnswersQuery:
    """Asks how the sender's own prompts ended: of one by its id, with the whole answer, or a page of all, newest first.

    Of a sender without a name (`me`) a list holds the asking client's prompts only: everybody there has that name.
    """

    query_id: str
    prompt_id: str = ""
    """One prompt. "" asks for the list."""
    of_client: str = ""
    """Only prompts of this client of the sender. "" is any; of one id, the asking client's own comes first."""
    since_s: float | None = None
    """Only what ended in the last so many seconds, and what still runs."""
    after: str = ""
    """Goes on behind the page before: its `next`."""
    count_max: int = ANSWERS_ON_A_PAGE


class Standing(StrEnum):
    """Where a prompt stands: it runs, how it ended, it was refused, or nothing is known of it (any more)."""

    RUNNING = "running"
    REFUSED = "refused"
    ANSWERED = "answered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"
    GONE = "gone"


@final
@dataclass(frozen=True, slots=True)
class AnswerSummary:
    """One line of a list: a prompt and how it stands."""

    prompt_id: str
    client: str
    standing: Standing
    age_s: float
    """Since it ended or was refused, or since it was accepted if it still runs; 0 of one that is gone."""
    text: str
    """The beginning of the answer, or why there is none."""
    text_bytes: int
    """Of the whole answer."""
    partial: bool = False
