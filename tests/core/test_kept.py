"""Kept answers are shared out: whoever keeps most gives first, as on disk. A look at them costs what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from edge_agent.core import events as ev
from edge_agent.core.crowding import Row, crowded_out, greatest
from edge_agent.core.kept import End, Kept
from edge_agent.core.messages import AnswersPage, PromptRefusal, RefusalReason, Standing
from edge_agent.core.settings import AgentSettings
from edge_agent.core.sizes import MESSAGE_OVERHEAD_BYTES
from tests.core.mesh import QUIET, Mesh
from tests.core.test_ends import answers_told, journalled_ends
from tests.core.test_lookup import answered, ids, page_of

BOUND = 40_000
"""Of about twelve ends."""


def busy_mesh(**settings: object) -> Mesh:
    return Mesh(1, replace(QUIET, answers_bytes_max=BOUND, **settings), service_s=0.001)  # type: ignore[arg-type]  # by name


def ask_many(mesh: Mesh, count: int, user: str = "busy", *, clients: bool = False) -> None:
    for number in range(count):
        client = f"c{number}" if clients else "0"
        mesh.ask("d0", layers=0, prompt_id=f"{user}{number}", user=user, client=client)
        mesh.run(until=mesh.now + 0.01)


def standing(mesh: Mesh, prompt_id: str, user: str, client: str = "0") -> Standing:
    return page_of(mesh, user, client, prompt_id=prompt_id).answers[0].standing


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ({"a/": 5}, "a/"),
        ({"a/": 5, "b/": 6}, "b/"),
        ({"a/": 5, "b/": 5}, "a/"),
        ({"me/x": 5, "me/y": 6}, "me/y"),
        ({"me/x": 3, "a/": 5, "me/y": 3}, "me/x"),  # together they are more than a
        ({"me/x": 2, "a/": 5, "me/y": 3}, "a/"),
    ],
)
def test_who_keeps_most_gives_and_who_has_no_name_counts_with_all_of_them(held: dict[str, int], expected: str) -> None:
    assert greatest(held, lambda holder: True) == expected
    assert greatest(held, lambda holder: False) == ""


@pytest.mark.parametrize(
    ("rows", "bytes_max", "gone"),
    [
        ([], 1, []),
        ([(1, "a/", 9, True)], 1, []),  # the newest stays
        ([(1, "a/", 1, True), (2, "a/", 9, False)], 1, [1]),
        ([(1, "a/", 4, True), (2, "b/", 4, True), (3, "b/", 4, True)], 8, [2]),
        ([(1, "a/", 4, True), (2, "b/", 4, False), (3, "b/", 4, False)], 8, [1]),  # delivered before owed
        ([(1, "a/", 4, False), (2, "b/", 4, False), (3, "b/", 4, False)], 8, [2]),
        ([(1, "a/", 2, True), (2, "b/", 3, True), (3, "c/", 9, False)], 12, [2]),  # not of who has least
        ([(1, "a/", 4, False), (2, "b/", 9, False)], 9, [1]),
        ([(1, "b/", 4, False), (2, "b/", 4, True), (3, "b/", 4, True), (4, "a/", 4, True)], 4, [2, 1, 3]),
        ([(1, "a/", 4, True), (2, "me/x", 9, True)], 9, [1]),
        ([(1, "a/", 4, True), (2, "me/x", 4, False), (3, "me/y", 9, True)], 9, [1, 2]),
        ([(1, "a/", 4, True), *((n, f"me/{n}", 4, True) for n in range(2, 8))], 12, [2, 3, 4, 5]),
    ],
)
def test_the_rows_that_go_are_the_oldest_delivered_of_who_keeps_most(
    rows: list[Row], bytes_max: int, gone: list[int]
) -> None:
    assert sorted(crowded_out(rows, bytes_max)) == sorted(gone)


@pytest.mark.parametrize(("user", "clients"), [("busy", False), ("busy", True), ("me", True)])
def test_a_busy_user_pushes_out_its_own_and_no_others(user: str, clients: bool) -> None:
    mesh = busy_mesh()
    answered("hers", mesh=mesh, user="quiet")
    ask_many(mesh, 300, user, clients=clients)
    assert standing(mesh, "hers", "quiet") is Standing.ANSWERED
    assert standing(mesh, f"{user}0", user) is Standing.GONE
    assert standing(mesh, f"{user}299", user, "c299" if clients else "0") is Standing.ANSWERED
    assert page_of(mesh, "quiet").whole_s == QUIET.answers_kept_s, "nothing of hers is forgotten"
    assert page_of(mesh, user, "c299" if clients else "0").whole_s < 4.0
    before = len(journalled_ends(mesh))
    answered("hers", mesh=mesh, user="quiet")
    assert len(answers_told(mesh, "quiet/0 hers")) == 2
    assert len(journalled_ends(mesh)) == before, "it is not worked on again"


def test_what_is_owed_stays_while_a_busy_user_has_anything_delivered() -> None:
    mesh = busy_mesh()
    mesh.broker_takes = lambda device: False
    mesh.ask("d0", layers=0, prompt_id="owed", user="quiet")
    mesh.run(until=0.1)
    mesh.broker_takes = lambda device: True
    ask_many(mesh, 100)
    mesh.run(until=mesh.now + 60.0)
    assert len(answers_told(mesh, "quiet/0 owed")) == 1


@pytest.mark.parametrize(("user", "clients"), [("busy", False), ("me", True)])
def test_who_is_owed_much_is_refused_before_anything_owed_has_to_go(user: str, clients: bool) -> None:
    """A broker that takes nothing for a user whom it has shut out, say: what was accepted is told all the same."""
    mesh = busy_mesh(response_bytes_max=512)
    mesh.broker_takes = lambda device: False
    mesh.ask("d0", layers=0, prompt_id="owed", user="quiet")
    mesh.run(until=0.1)
    ask_many(mesh, 100, user, clients=clients)
    keys = [f"{user}/{f'c{number}' if clients else 0} {user}{number}" for number in range(100)]
    words = [message for key in keys for message in mesh.user_messages[key]]
    refused = [word for word in words if isinstance(word, PromptRefusal)]
    assert 0 < len(refused) < 100
    assert {(word.reason, word.detail.split(":")[0]) for word in refused} == {
        (RefusalReason.OVERLOADED, "too many of your answers wait for delivery")
    }
    mesh.ask("d0", layers=0, prompt_id="hers", user="another")  # to whom nothing is owed
    mesh.run(until=mesh.now + 0.1)
    mesh.broker_takes = lambda device: True
    mesh.run(until=mesh.now + 60.0)
    ids = {word.prompt_id for word in refused}
    accepted = [key for key in keys if key.partition(" ")[2] not in ids]
    for key in ("quiet/0 owed", "another/0 hers", *accepted):
        assert len(answers_told(mesh, key)) == 1, key
    answered("now", mesh=mesh, user=user)  # nothing is owed any more


def test_what_is_set_by_default_has_room_for_all_that_may_be_owed() -> None:
    """The condition of `Ends.has_room`: twice as many ends as there are places."""
    default = AgentSettings()
    end_bytes = default.response_bytes_max + MESSAGE_OVERHEAD_BYTES
    assert 2 * default.queue_capacity * end_bytes <= default.answers_bytes_max


def test_a_restart_keeps_the_shares_whatever_order_the_ends_come_in() -> None:
    mesh = Mesh(1, service_s=0.001)
    answered("hers", mesh=mesh, user="quiet")
    ask_many(mesh, 60)
    last = mesh.now
    kept = [
        ev.RestoredAnswer(end.answer, end.reply, True, last - 0.01 * number)
        for number, end in enumerate(journalled_ends(mesh))
    ]
    mesh.stop("d0")
    mesh.settings = replace(QUIET, answers_bytes_max=BOUND)
    mesh.start("d0", ev.SessionsRestored((), tuple(kept[::-1])))
    assert standing(mesh, "hers", "quiet") is Standing.ANSWERED
    assert page_of(mesh, "quiet").whole_s == pytest.approx(last)
    assert standing(mesh, "busy59", "busy") is Standing.ANSWERED
    assert standing(mesh, "busy0", "busy") is Standing.GONE
    assert page_of(mesh, "stranger").whole_s == 0.0


def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[End]:
    """Every end that a list looks at from now on."""
    seen: list[End] = []
    newest = Kept.newest

    def counted(self: Kept, holder: str, behind: tuple[float]) -> Iterator[End]:
        for end in newest(self, holder, behind):
            seen.append(end)
            yield end

    monkeypatch.setattr(Kept, "newest", counted)
    return seen


def test_a_page_looks_at_no_more_ends_than_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = Mesh(1, service_s=0.001)
    ask_many(mesh, 300, "u1")
    ask_many(mesh, 300, "other")
    ask_many(mesh, 300, "me", clients=True)
    seen = looked_at(monkeypatch)
    after = ""
    for _ in range(20):
        page = page_of(mesh, count_max=10, after=after)
        assert len(page.answers) == 10
        assert len(seen) <= 12, "ten, the one behind them, and one that is too old to have run at the list's moment"
        seen.clear()
        after = page.next
    assert ids(page_of(mesh, "me", "c7")) == ["me7"]
    assert page_of(mesh, "stranger").answers == ()
    assert standing(mesh, "u150", "u1") is Standing.ANSWERED
    assert standing(mesh, "me150", "me", "other") is Standing.ANSWERED
    assert len(seen) <= 2, "one prompt is found by its id"


def test_what_is_past_its_time_is_not_looked_at_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = Mesh(1, replace(QUIET, answers_kept_s=60.0), service_s=0.001)
    ask_many(mesh, 300, "u1")
    mesh.run(until=mesh.now + 100.0)
    seen = looked_at(monkeypatch)
    assert page_of(mesh).answers == ()
    assert seen == []


def all_pages(mesh: Mesh, after: str = "") -> Iterator[AnswersPage]:
    while True:
        page = page_of(mesh, count_max=1, after=after)
        yield page
        after = page.next
        if not after:
            return


def test_reading_on_meets_each_prompt_once_while_prompts_end_and_come() -> None:
    mesh = Mesh(1, replace(QUIET, queue_capacity=8, principal_share=1.0))
    for number in range(12):  # eight places: the last four are refused, and two of those are asked again in time
        mesh.ask("d0", layers=0, prompt_id=f"p{number}", client="xyz"[number % 3])
    mesh.run(until=5.5)
    for number in (8, 11):
        mesh.ask("d0", layers=0, prompt_id=f"p{number}", client="xyz"[number % 3])
        mesh.run(until=mesh.now + 0.1)
    found = []
    for number, page in enumerate(all_pages(mesh)):
        found += ids(page)
        mesh.ask("d0", layers=0, prompt_id=f"new{number}")
        mesh.run(until=mesh.now + 0.7)  # meanwhile one or two that ran end
    assert sorted(found) == sorted(f"p{number}" for number in range(12))
    assert set(found[:5]) == {"p5", "p6", "p7", "p8", "p11"}, "what ran when the list began stands first"


@pytest.mark.parametrize("same_moment", [True, False])
def test_a_prompt_that_was_shown_as_running_is_not_shown_again_as_ended(same_moment: bool) -> None:
    mesh = Mesh(1)
    for prompt_id in ("p0", "p1", "p2"):
        mesh.ask("d0", layers=0, prompt_id=prompt_id)
    mesh.run(until=1.0)
    pages = all_pages(mesh)
    first = next(pages)
    mesh.confirms_writes = same_moment
    mesh.run(until=1.0 if same_moment else 9.0)
    rest = [prompt_id for page in pages for prompt_id in ids(page)]
    assert sorted([*ids(first), *rest]) == ["p0", "p1", "p2"]


def test_ends_of_one_moment_are_told_apart() -> None:
    mesh = Mesh(1)
    mesh.ask("d0", layers=0)
    mesh.run()
    (end,) = journalled_ends(mesh)
    mesh.stop("d0")
    routes = [(replace(end.reply, client=client), f"p{number}") for number in range(5) for client in ("a", "b")]
    same_age = [ev.RestoredAnswer(replace(end.answer, prompt_id=name), route, True, 9.0) for route, name in routes]
    mesh.start("d0", ev.SessionsRestored((), tuple(same_age)))
    found = [(line.client, line.prompt_id) for page in all_pages(mesh) for line in page.answers]
    assert sorted(found) == sorted((route.client, name) for route, name in routes)
