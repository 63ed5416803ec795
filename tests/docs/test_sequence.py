"""The picture of a prompt's way is of the core as it is."""

from __future__ import annotations

import pytest

from edge_agent.core.effects import JournalDelivered
from scripts.docs.__main__ import main
from scripts.docs.sequence import OUTSIDE, PICTURE, ROOMS, ROOT, record


def test_the_picture_is_what_a_run_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["scripts.docs", "sequence", "--check"])
    assert main() == 0, "run: python -m scripts.docs sequence"


def test_the_run_passes_every_room_in_the_picture_and_ends_with_a_delivered_answer() -> None:
    steps = record()
    assert {step.target for step in steps} == {OUTSIDE, *ROOMS}
    assert next(step.what for step in steps if step.source == OUTSIDE) == "PromptReceived"
    assert steps[-1].what == JournalDelivered.__name__
    assert [(step.now, step.what) for step in record()] == [(step.now, step.what) for step in steps]


def test_the_architecture_page_shows_it_and_says_what_each_room_in_it_is_for() -> None:
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert f"](img/{PICTURE.name})" in page
    rooms = page.split("Inside the core")[1]
    assert [room for room in ROOMS if f"`{room}`" not in rooms] == []
