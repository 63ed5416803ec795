"""What became of a user's prompts: told to that user alone, of what is on disk, page by page; what is gone is said."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.lookup import PAGE_BYTES_MAX
from edge_agent.core.messages import (
    BEGINNING_LENGTH_MAX,
    AnswersPage,
    AnswersQuery,
    DeviceToUser,
    PromptRefusal,
    RefusalReason,
    Standing,
)
from edge_agent.core.refusals import EACH_MAX, HOLDERS_MAX, Refusals
from edge_agent.wire.codec import encode
from tests.core.mesh import QUIET, Mesh

_numbers = count()


def ask_back(mesh: Mesh, user: str = "u1", client: str = "0", device: str = "d0", **wanted: object) -> DeviceToUser:
    query = replace(AnswersQuery(f"q{next(_numbers)}"), **wanted)  # type: ignore[arg-type]  # by name
    reply = ev.ReplyRoute(user, client)
    (effect,) = mesh.handle(device, ev.AnswersQueryReceived(query, reply))
    assert isinstance(effect, fx.SendToUser)
    assert effect.reply == reply
    return effect.message


def page_of(mesh: Mesh, user: str = "u1", client: str = "0", device: str = "d0", **wanted: object) -> AnswersPage:
    message = ask_back(mesh, user, client, device, **wanted)
    assert isinstance(message, AnswersPage)
    return message


def ids(page: AnswersPage) -> list[str]:
    return [line.prompt_id for line in page.answers]


def answered(*prompt_ids: str, mesh: Mesh | None = None, user: str = "u1") -> Mesh:
    """A device that has answered these prompts, a second after each other."""
    mesh = mesh or Mesh(1)
    for prompt_id in prompt_ids:
        mesh.ask("d0", layers=0, prompt_id=prompt_id, user=user)
        mesh.run()
    return mesh


def test_a_list_has_the_newest_first_and_says_how_each_ended() -> None:
    mesh = answered("first", "second")
    page = page_of(mesh)
    assert ids(page) == ["second", "first"]
    second, first = page.answers
    assert (second.standing, second.client, second.age_s) == (Standing.ANSWERED, "0", 0.0)
    assert first.age_s == pytest.approx(1.0)
    told = mesh.answer("u1/0 second")
    assert (second.text, second.text_bytes) == (told.text, len(told.text.encode()))
    assert (page.answer, page.next) == (None, "")


def test_one_prompt_comes_with_its_whole_answer() -> None:
    mesh = answered("first", "second")
    page = page_of(mesh, prompt_id="first")
    assert ids(page) == ["first"]
    assert page.answer == mesh.answer("u1/0 first")


def test_a_prompt_that_still_runs_is_said_to_and_stands_first() -> None:
    mesh = answered("ended")
    mesh.ask("d0", layers=0, prompt_id="running")
    mesh.run(until=mesh.now + 0.5)
    page = page_of(mesh, since_s=0.0)
    assert [(line.prompt_id, line.standing) for line in page.answers] == [("running", Standing.RUNNING)]
    assert page.answers[0].age_s == pytest.approx(0.5)
    assert ids(page_of(mesh)) == ["running", "ended"]
    alone = page_of(mesh, prompt_id="running")
    assert (alone.answers[0].standing, alone.answer) == (Standing.RUNNING, None)


def test_an_end_that_is_not_on_disk_yet_is_told_as_running() -> None:
    mesh = Mesh(1)
    mesh.ask("d0", layers=0)
    mesh.confirms_writes = False
    mesh.run()
    page = page_of(mesh, prompt_id="p1")
    assert (page.answers[0].standing, page.answer) == (Standing.RUNNING, None), "a restart might end it otherwise"


def test_nobody_is_told_of_another_users_prompts() -> None:
    mesh = answered("hers")
    mesh.ask("d0", layers=0, prompt_id="running")
    assert page_of(mesh, "u2").answers == ()
    for prompt_id in ("hers", "running"):
        (line,) = page_of(mesh, "u2", prompt_id=prompt_id).answers
        assert line.standing is Standing.GONE
    assert page_of(mesh, "u2", of_client="0").answers == ()


def test_clients_of_one_user_see_each_others_prompts_and_of_one_id_their_own() -> None:
    mesh = Mesh(1)
    for client in ("0", "phone"):
        mesh.ask("d0", layers=0, prompt_id="same", client=client)
        mesh.run()
    assert [line.client for line in page_of(mesh, client="0").answers] == ["phone", "0"]
    assert [line.client for line in page_of(mesh, of_client="0").answers] == ["0"]
    for client, of_client, expected in (
        ("0", "", "0"),
        ("phone", "", "phone"),
        ("0", "phone", "phone"),
        ("other", "", "phone"),
    ):
        (line,) = page_of(mesh, client=client, of_client=of_client, prompt_id="same").answers
        assert line.client == expected


def test_where_nobody_has_a_name_a_list_is_of_the_asking_client_and_one_must_know_an_id() -> None:
    mesh = Mesh(1)
    mesh.ask("d0", layers=0, user="me")
    mesh.run()
    assert ids(page_of(mesh, "me", "0")) == ["p1"]
    assert ids(page_of(mesh, "me", "another")) == []
    assert ids(page_of(mesh, "me", "another", of_client="0")) == []
    assert page_of(mesh, "me", "another", prompt_id="p1").answer is not None


def test_pages_follow_each_other_until_there_is_no_more() -> None:
    names = [f"p{number}" for number in range(7)]
    mesh = answered(*names)
    found, after = [], ""
    for _ in range(4):
        page = page_of(mesh, count_max=2, after=after)
        found += ids(page)
        after = page.next
    assert found == names[::-1]
    assert after == ""


def test_a_page_has_a_bound_in_bytes_and_still_goes_on() -> None:
    mesh = Mesh(1)
    mesh.say = lambda device, request: "\N{SNOWMAN}" * 1_000
    answered(*(f"p{number}-".ljust(128, "\N{SNOWMAN}") for number in range(60)), mesh=mesh)
    first = page_of(mesh, count_max=100)
    assert 0 < len(first.answers) < 60
    assert len(encode(first)) <= PAGE_BYTES_MAX
    assert all(len(line.text) <= BEGINNING_LENGTH_MAX for line in first.answers)
    rest = page_of(mesh, count_max=100, after=first.next)
    assert len({*ids(first), *ids(rest)}) == len(first.answers) + len(rest.answers)


@pytest.mark.parametrize("limit", [1_500, 5_000, 20_000, 65_536])
def test_a_page_fits_into_what_the_broker_takes(limit: int) -> None:
    mesh = Mesh(1)
    mesh.say = lambda device, request: 'a "quoted" word, ' * 3_000
    answered(*(f"p{number}" for number in range(30)), mesh=mesh)
    mesh.handle("d0", ev.ConnectionChanged(True, limit))
    assert len(encode(page_of(mesh, count_max=100))) <= limit
    if limit > 5_000:
        page = page_of(mesh, prompt_id="p3")
        assert len(encode(page)) <= limit
        assert page.answer is not None
        assert page.answer.text, "as much of it as fits"


def test_a_place_that_is_forgotten_is_refused_in_words() -> None:
    mesh = answered("p1")
    refusal = ask_back(mesh, after="0/never")
    assert isinstance(refusal, PromptRefusal)
    assert refusal.reason is RefusalReason.INVALID
    assert "start again" in refusal.detail


def test_what_is_past_its_time_is_said_to_be_gone() -> None:
    mesh = answered("old", mesh=Mesh(1, replace(QUIET, answers_kept_s=60.0)))
    mesh.run(until=mesh.now + 61.0)
    (line,) = page_of(mesh, prompt_id="old").answers
    assert line.standing is Standing.GONE
    assert "kept for 60 s" in line.text
    page = page_of(mesh)
    assert page.answers == ()
    assert page.whole_s == 60.0, "and how far back the list is whole"


def test_what_was_pushed_out_shortens_how_far_back_a_list_is_whole() -> None:
    mesh = Mesh(1, replace(QUIET, answers_bytes_max=12_000))
    answered(*(f"p{number}" for number in range(9)), mesh=mesh)
    page = page_of(mesh)
    assert 0 < len(page.answers) < 9
    assert page.answers[-1].age_s <= page.whole_s < 9.0
    (gone,) = page_of(mesh, prompt_id="p0").answers
    assert gone.standing is Standing.GONE


def test_a_restart_keeps_lists_and_ages() -> None:
    mesh = answered("p1")
    (end,) = [effect for _, effect in mesh.effects if isinstance(effect, fx.JournalAnswer)]
    mesh.stop("d0")
    kept = ev.RestoredAnswer(end.answer, end.reply, delivered=True, age_s=500.0)
    mesh.start("d0", ev.SessionsRestored((), (kept,)))
    page = page_of(mesh)
    assert [(line.prompt_id, line.age_s) for line in page.answers] == [("p1", 500.0)]
    assert page.whole_s == 500.0
    assert page_of(mesh, since_s=400.0).answers == ()


def test_a_device_without_its_journal_vouches_for_nothing_before_its_start() -> None:
    mesh = answered("p1")
    mesh.stop("d0")
    mesh.start("d0", ev.SessionsRestored(()))
    mesh.run(until=mesh.now + 5.0)
    assert page_of(mesh).whole_s == pytest.approx(5.0)


def test_looking_changes_nothing_of_what_is_owed() -> None:
    mesh = Mesh(1)
    mesh.broker_takes = lambda device: False
    mesh.ask("d0", layers=0)
    mesh.run(until=2.0)
    assert page_of(mesh, prompt_id="p1").answer is not None
    assert mesh.agents["d0"].outstanding()["ends to tell"] == 1
    mesh.broker_takes = lambda device: True
    mesh.run()
    assert mesh.answer("u1/0 p1").text


def test_a_refused_prompt_is_told_as_refused_until_it_is_accepted() -> None:
    mesh = Mesh(1, replace(QUIET, queue_capacity=1))
    mesh.ask("d0", layers=0, prompt_id="first")
    mesh.ask("d0", layers=0, prompt_id="second")
    (line,) = page_of(mesh, prompt_id="second").answers
    assert (line.standing, line.text) == (Standing.REFUSED, "overloaded: the queue is full")
    assert page_of(mesh, "u2").answers == ()
    mesh.run()
    answered("second", mesh=mesh)
    assert [(line.prompt_id, line.standing) for line in page_of(mesh).answers] == [
        ("second", Standing.ANSWERED),
        ("first", Standing.ANSWERED),
    ]


def test_refusals_are_kept_within_bounds_and_apart() -> None:
    refusals = Refusals()
    refusal = PromptRefusal("p", "d0", RefusalReason.OVERLOADED, "full")
    refusals.add(refusal, ev.ReplyRoute("quiet"), 0.0)
    for number in range(10 * EACH_MAX):
        refusals.add(replace(refusal, prompt_id=f"p{number}"), ev.ReplyRoute("loud"), float(number))
    assert len(list(refusals.of("loud"))) == EACH_MAX
    assert len(list(refusals.of("quiet"))) == 1
    for number in range(10 * HOLDERS_MAX):
        refusals.add(refusal, ev.ReplyRoute("me", f"invented{number}"), 0.0)
    assert len(list(refusals.of("me"))) == HOLDERS_MAX - 2
    assert len(list(refusals.of("quiet"))) == 1, "who has a name goes after whoever can be invented"
    for number in range(HOLDERS_MAX):
        refusals.add(refusal, ev.ReplyRoute(f"user.u{number}"), 0.0)
    assert list(refusals.of("quiet")) == list(refusals.of("me")) == []


def test_a_refusal_of_one_nameless_client_is_not_pushed_out_by_anothers() -> None:
    refusals = Refusals()
    refusal = PromptRefusal("p", "d0", RefusalReason.OVERLOADED, "full")
    refusals.add(refusal, ev.ReplyRoute("me", "quiet"), 0.0)
    for number in range(10 * EACH_MAX):
        refusals.add(replace(refusal, prompt_id=f"p{number}"), ev.ReplyRoute("me", "loud"), float(number))
    assert [one.reply.client for one in refusals.of("me")].count("quiet") == 1
