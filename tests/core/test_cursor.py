"""A place in a list as a text: read by the run of the device that wrote it, refused from anybody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core import events as ev
from edge_agent.core.cursor import Cursor, Place, read_cursor
from edge_agent.core.messages import AnswersQuery, PromptRefusal, RefusalReason
from edge_agent.wire.checks import MESSAGE_ID_LENGTH_MAX, check
from tests.core.test_kept import ask_many, busy_mesh
from tests.core.test_lookup import answered, ask_back, ids, page_of

RUN = f"{2**52}-0123456789abcdef"
"""The longest there is."""


@pytest.mark.parametrize(
    "place",
    [
        (True, 0.1 + 0.2, "0", "p"),
        (False, -1e-300, "phone", "with/slashes and spaces/"),
        (False, 1.7e308, "c" * 64, "Ω" * MESSAGE_ID_LENGTH_MAX),
    ],
)
def test_a_place_is_read_as_it_was_written_and_fits_a_query(place: Place) -> None:
    cursor = Cursor(123.456, place)
    text = cursor.written(RUN)
    check(AnswersQuery("q", after=text))
    assert read_cursor(text, RUN, 999.0) == cursor


def test_the_beginning_of_a_list_is_its_moment() -> None:
    assert read_cursor("", RUN, 5.0) == Cursor(5.0)
    assert Cursor(5.0).written(RUN) == ""


NOT_A_NUMBER = replace(Cursor(float("nan")), behind=(True, 1.0, "0", "p")).written(RUN)
ENDLESS = Cursor(1.0, (True, float("inf"), "0", "p")).written(RUN)


@pytest.mark.parametrize(
    "text",
    ["0/p1", "/", "///", f"{RUN}", f"{RUN}/", f"{RUN}/////", f"{RUN}/Ω/0/p", f"{RUN}/AAAA/0/p", NOT_A_NUMBER, ENDLESS],
)
def test_what_no_device_wrote_is_not_read(text: str) -> None:
    assert read_cursor(text, RUN, 0.0) is None


def test_another_runs_place_is_refused_in_words_and_an_old_one_of_this_run_is_not() -> None:
    mesh = busy_mesh()
    answered("p1", "p2", "p3", mesh=mesh)
    after = page_of(mesh, count_max=1).next
    assert ids(page_of(mesh, count_max=1, after=after)) == ["p2"]
    ask_many(mesh, 100, "u1")
    assert ids(page_of(mesh, after=after)) == [], "what stood behind it is forgotten, and nothing is told twice"
    mesh.stop("d0")
    mesh.start("d0", ev.SessionsRestored(()))
    refusal = ask_back(mesh, after=after)
    assert isinstance(refusal, PromptRefusal)
    assert refusal.reason is RefusalReason.INVALID
    assert "start again without it" in refusal.detail
