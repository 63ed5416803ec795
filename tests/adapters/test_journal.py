from __future__ import annotations

import asyncio
import logging
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.adapters.journal.database import FILE_BYTES_MAX, SET_ASIDE_MAX
from edge_agent.adapters.journal.moment import Moment, read_moment
from edge_agent.core.errors import JournalError
from edge_agent.core.events import JoinedLayer, ReplyRoute
from edge_agent.core.messages import (
    DEADLINE_MAX_S,
    Answer,
    ChatMessage,
    Contribution,
    Prompt,
    PromptOptions,
    Provenance,
    Role,
    Sampling,
)
from edge_agent.core.states import Outcome
from tests.adapters.journals import Journal

ALICE = ReplyRoute("user.alice", correlation="c0ffee")
BOB = ReplyRoute("user.bob", body_id="7")


class Clock:
    """A machine's clocks under the test's hand."""

    def __init__(self) -> None:
        self.wall_s = 1_790_000_000.0
        self.boot_id = "boot-1"
        self.since_boot_s = 100.0

    def __call__(self) -> Moment:
        return Moment(self.wall_s, self.boot_id, self.since_boot_s)

    def pass_time(self, seconds: float) -> None:
        self.wall_s += seconds
        self.since_boot_s += seconds

    def reboot(self, *, wall_jump_s: float) -> None:
        self.boot_id += "x"
        self.since_boot_s = 5.0
        self.wall_s += wall_jump_s


def prompt(prompt_id: str = "p-1", text: str = "Why is the sky blue? Ω\n") -> Prompt:
    options = PromptOptions(layers=2, fanout=2, deadline_s=60.0, sampling=Sampling(stop=("###",), seed=7))
    return Prompt(prompt_id, (ChatMessage(Role.SYSTEM, "Be brief."), ChatMessage(Role.USER, text)), options)


def responses(layer: int) -> tuple[tuple[str, Contribution], ...]:
    return tuple(
        (f"response {layer} of {device}", Contribution(device, "smollm2", 0.5, 1.25, 20, 30 + layer))
        for device in ("dev-1", "dev-2", "dev-3")
    )


def answer(prompt_id: str = "p-1", text: str = "Rayleigh scattering.") -> Answer:
    provenance = Provenance("dev-1", 1, 2, (tuple(c for _, c in responses(1)),), None, (), (), (("join", "all"),), 4, 8)
    return Answer(prompt_id, "dev-1", Outcome.ANSWERED, text, "", 12.5, provenance)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal.sqlite3"


@pytest.fixture
async def opened():
    """Closes every journal that a test opened with it."""
    journals: list[Journal] = []

    async def open_one(path: Path, **options):
        journal = Journal(path, **options)
        journals.append(journal)
        return journal, await journal.open()

    yield open_one
    for journal in journals:
        await journal.close()


async def test_an_unfinished_prompt_comes_back_as_it_was_with_its_joined_layers(path, opened):
    journal, restored = await opened(path)
    assert restored.sessions == () == restored.answers
    await journal.record_prompt(prompt(), ALICE, 60.0)
    await journal.record_layer("p-1", ALICE, 1, responses(1))
    await journal.record_layer("p-1", ALICE, 2, responses(2))
    await journal.close()

    _, restored = await opened(path)
    (session,) = restored.sessions
    assert (session.prompt, session.reply) == (prompt(), ALICE)
    assert session.layers == (JoinedLayer(responses(1)), JoinedLayer(responses(2)))
    assert (session.layer_count, session.fanout) == (2, 3)
    assert session.restarts == 1


async def test_layers_after_a_gap_are_not_restored(path, opened):
    journal, _ = await opened(path)
    await journal.record_prompt(prompt(), ALICE, None)
    for layer in (1, 3):
        await journal.record_layer("p-1", ALICE, layer, responses(layer))
    restored = await reopen(journal)
    assert restored.sessions[0].layers == (JoinedLayer(responses(1)),)


async def reopen(journal: Journal):
    await journal.close()
    return await journal.open()


async def test_the_same_prompt_twice_is_one_prompt(path, opened):
    journal, _ = await opened(path)
    await journal.record_prompt(prompt(), ALICE, 60.0)
    await journal.record_layer("p-1", ALICE, 1, responses(1))
    await journal.record_prompt(prompt(text="changed"), ALICE, 5.0)
    (session,) = (await reopen(journal)).sessions
    assert session.prompt == prompt()
    assert session.layers == (JoinedLayer(responses(1)),)


async def test_two_users_with_the_same_prompt_id_have_two_prompts(path, opened):
    journal, _ = await opened(path)
    await journal.record_prompt(prompt(text="from alice"), ALICE, 60.0)
    await journal.record_prompt(prompt(text="from bob"), BOB, 60.0)
    await journal.record_layer("p-1", BOB, 1, responses(1))
    await journal.record_answer(answer(text="to alice"), ALICE)
    await journal.mark_delivered("p-1", ALICE)
    restored = await reopen(journal)
    (session,) = restored.sessions
    assert (session.reply, session.layers) == (BOB, (JoinedLayer(responses(1)),))
    (kept,) = restored.answers
    assert (kept.reply, kept.answer.text, kept.delivered) == (ALICE, "to alice", True)


async def test_an_end_that_is_given_again_cut_is_the_one_that_a_restart_tells(path, opened):
    journal, _ = await opened(path)
    await journal.record_prompt(prompt(), ALICE, 60.0)
    await journal.record_answer(answer(text="as long as the first broker took it"), ALICE)
    await journal.mark_delivered("p-1", ALICE)
    await journal.record_answer(answer(text="as long as"), ALICE)
    (kept,) = (await reopen(journal)).answers
    assert (kept.answer.text, kept.delivered) == ("as long as", False)


async def test_an_answer_replaces_its_prompt_and_is_undelivered_until_marked(path, opened):
    journal, _ = await opened(path)
    await journal.record_prompt(prompt(), ALICE, 60.0)
    await journal.record_layer("p-1", ALICE, 1, responses(1))
    await journal.record_answer(answer(), ALICE)
    restored = await reopen(journal)
    assert restored.sessions == ()
    assert [(a.answer, a.reply, a.delivered) for a in restored.answers] == [(answer(), ALICE, False)]
    await journal.mark_delivered("p-1", ALICE)
    assert (await reopen(journal)).answers[0].delivered


async def test_the_first_end_of_a_prompt_stays(path, opened):
    journal, _ = await opened(path)
    await journal.record_answer(answer(text="first"), ALICE)
    await journal.record_answer(answer(text="second"), ALICE)
    assert [a.answer.text for a in (await reopen(journal)).answers] == ["first"]


async def test_a_prompt_accepted_anew_after_its_answer_is_open_again(path, opened):
    journal, _ = await opened(path)
    await journal.record_answer(answer(), ALICE)
    await journal.record_prompt(prompt(), ALICE, 60.0)
    restored = await reopen(journal)
    assert (len(restored.sessions), restored.answers) == (1, ())


async def test_answers_leave_after_their_time_and_undelivered_ones_stay_for_a_day(path, opened):
    clock = Clock()
    journal, _ = await opened(path, answers_kept_s=100.0, now=clock)
    await journal.record_answer(answer("delivered"), ALICE)
    await journal.mark_delivered("delivered", ALICE)
    await journal.record_answer(answer("undelivered"), ALICE)
    clock.pass_time(99.0)
    assert len((await reopen(journal)).answers) == 2
    clock.pass_time(2.0)
    assert [a.answer.prompt_id for a in (await reopen(journal)).answers] == ["undelivered"]
    clock.pass_time(DEADLINE_MAX_S)
    assert (await reopen(journal)).answers == ()


async def test_answers_are_bounded_in_bytes_delivered_ones_leaving_first(path, opened):
    journal, _ = await opened(path, answers_bytes_max=35_000)
    for prompt_id in "abcdef":
        await journal.record_answer(answer(prompt_id, "x" * 10_000), ALICE)
        if prompt_id in "ce":
            await journal.mark_delivered(prompt_id, ALICE)
    # after d: a, b, d (c was delivered and left); then e was over, and f pushed out e, delivered meanwhile
    assert [a.answer.prompt_id for a in (await reopen(journal)).answers] == ["b", "d", "f"]


@pytest.mark.parametrize("nameless", [False, True])
async def test_a_busy_user_pushes_out_its_own_answers_and_no_others(path, opened, nameless):
    journal, _ = await opened(path, answers_bytes_max=35_000)
    await journal.record_answer(answer("told"), BOB)
    await journal.mark_delivered("told", BOB)
    await journal.record_answer(answer("owed"), BOB)
    for number in range(40):
        route = ReplyRoute("me", f"c{number}") if nameless else replace(ALICE, client=f"c{number}")
        await journal.record_answer(answer(f"p-{number}", "x" * 4_000), route)
        await journal.mark_delivered(f"p-{number}", route)
    kept = [end.answer.prompt_id for end in (await reopen(journal)).answers]
    assert kept[:2] == ["told", "owed"]
    assert kept[-1] == "p-39"
    assert 5 < len(kept) < 10


async def test_many_small_answers_are_kept_as_long_as_their_time_lasts(path, opened):
    journal, _ = await opened(path)
    for number in range(600):
        await journal.record_answer(answer(f"p-{number}"), ALICE)
    assert len((await reopen(journal)).answers) == 600


async def test_the_file_shrinks_again_after_a_burst_and_has_a_hard_bound(path, opened):
    journal, _ = await opened(path, answers_bytes_max=2_000)
    for number in range(40):
        await journal.record_prompt(prompt(f"p-{number}", "x" * 100_000), ALICE, 60.0)
    await reopen(journal)
    full_bytes = path.stat().st_size
    for number in range(40):
        await journal.record_answer(answer(f"p-{number}"), ALICE)
    await journal.close()
    assert full_bytes > 4_000_000
    assert path.stat().st_size < full_bytes / 2
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    connection.close()
    assert FILE_BYTES_MAX == 512 * 2**20


async def test_a_full_journal_refuses_in_words_and_goes_on(path, opened):
    journal, _ = await opened(path)
    await journal._in_thread(lambda: journal._file._connection.execute("PRAGMA max_page_count = 20").fetchall())
    with pytest.raises(JournalError, match=r"journal\.sqlite3: no space on the disk, or over the journal.s size bound"):
        await journal.record_prompt(prompt("large", "x" * 200_000), ALICE, 60.0)
    await journal.record_prompt(prompt("small"), ALICE, 60.0)
    assert [s.prompt.prompt_id for s in (await reopen(journal)).sessions] == ["small"]


async def test_incarnations_rise_over_restarts_and_over_a_clock_that_is_set_back(path, opened):
    clock = Clock()
    journal, _ = await opened(path, now=clock)
    seen = [await journal.next_incarnation(), await journal.next_incarnation()]
    clock.wall_s = 0.0
    await reopen(journal)
    seen += [await journal.next_incarnation()]
    assert seen == [1_790_000_000, 1_790_000_001, 1_790_000_002]


async def test_a_lost_journal_does_not_make_a_device_look_older_than_it_was(tmp_path, opened):
    clock = Clock()
    before, _ = await opened(tmp_path / "a", now=clock)
    old = await before.next_incarnation()
    clock.pass_time(60.0)
    after, _ = await opened(tmp_path / "b", now=clock)
    assert await after.next_incarnation() > old


@pytest.mark.parametrize(
    ("happening", "elapsed_s"),
    [
        (lambda clock: clock.pass_time(10.0), 10.0),
        (lambda clock: (clock.pass_time(10.0), setattr(clock, "wall_s", 0.0)), 10.0),  # same boot: exact anyway
        (lambda clock: (clock.pass_time(10.0), setattr(clock, "wall_s", 9e9)), 10.0),
        (lambda clock: clock.reboot(wall_jump_s=25.0), 25.0),
        (lambda clock: clock.reboot(wall_jump_s=-1e6), 0.0),
        (lambda clock: clock.reboot(wall_jump_s=1e9), 60.0),  # clamped to the deadline
    ],
)
async def test_remaining_time_survives_restarts_and_jumping_clocks(path, opened, happening, elapsed_s):
    clock = Clock()
    journal, _ = await opened(path, now=clock)
    await journal.record_prompt(prompt(), ALICE, 60.0)
    await journal.close()
    happening(clock)
    (session,) = (await journal.open()).sessions
    assert session.elapsed_s == pytest.approx(elapsed_s)
    assert session.remaining_s == pytest.approx(60.0 - elapsed_s)


async def test_time_that_was_seen_to_pass_is_not_taken_back_by_a_later_jump(path, opened):
    clock = Clock()
    journal, _ = await opened(path, now=clock)
    await journal.record_prompt(prompt(), ALICE, 60.0)
    clock.pass_time(20.0)
    await journal.record_layer("p-1", ALICE, 1, responses(1))
    clock.reboot(wall_jump_s=-1e6)
    (session,) = (await reopen(journal)).sessions
    assert session.remaining_s == pytest.approx(40.0)
    clock.pass_time(5.0)
    (session,) = (await reopen(journal)).sessions
    assert (session.remaining_s, session.restarts) == (pytest.approx(35.0), 2)


async def test_a_prompt_without_a_deadline_has_none_after_a_restart(path, opened):
    journal, _ = await opened(path)
    await journal.record_prompt(prompt(), ALICE, None)
    assert (await reopen(journal)).sessions[0].remaining_s is None


def test_this_machine_tells_moments_apart_by_its_boot():
    first, second = read_moment(), read_moment()
    assert first.boot_id == second.boot_id != ""
    assert 0.0 <= second.seconds_since(first) < 60.0


KILLED_RIGHT_AFTER = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.adapters.journals import Journal
from tests.adapters.test_journal import ALICE, answer, prompt, responses

async def main(path, prompt_id):
    journal = Journal(path)
    restored = await journal.open()
    print(len(restored.sessions), len(restored.answers), await journal.next_incarnation(), flush=True)
    await journal.record_prompt(prompt(prompt_id), ALICE, 3600.0)
    if int(prompt_id) % 2:
        await journal.record_layer(prompt_id, ALICE, 1, responses(1))
    if int(prompt_id) % 4 == 3:
        await journal.record_answer(answer(prompt_id), ALICE)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.mark.long
def test_twenty_kills_right_after_recording_lose_nothing(path):
    incarnations = []
    for number in range(20):
        process = subprocess.run(
            [sys.executable, "-c", KILLED_RIGHT_AFTER, str(path), str(number)], capture_output=True, text=True
        )
        assert process.returncode == -signal.SIGKILL, process.stderr
        sessions, answers, incarnation = map(int, process.stdout.split())
        assert (sessions, answers) == (number - number // 4, number // 4), f"lost before start {number}"
        incarnations.append(incarnation)
    assert incarnations == sorted(set(incarnations))

    async def read():
        journal = Journal(path)
        try:
            return await journal.open()
        finally:
            await journal.close()

    restored = asyncio.run(read())
    assert {s.prompt for s in restored.sessions} == {prompt(str(n)) for n in range(20) if n % 4 != 3}
    assert {s.prompt.prompt_id for s in restored.sessions if s.layers == (JoinedLayer(responses(1)),)} == {
        "1",
        "5",
        "9",
        "13",
        "17",
    }
    assert {a.answer.prompt_id for a in restored.answers} == {"3", "7", "11", "15", "19"}
    assert next(s.restarts for s in restored.sessions if s.prompt.prompt_id == "0") == 20


async def test_writes_run_in_a_thread_of_their_own_and_are_durable_settings(path, opened):
    journal, _ = await opened(path)
    names: list[str] = []
    settings: list[tuple] = []

    def look():
        names.append(threading.current_thread().name)
        settings.extend(
            journal._file._connection.execute(f"PRAGMA {p}").fetchone() for p in ("journal_mode", "synchronous")
        )

    await journal._in_thread(look)
    assert names[0].startswith("journal")
    assert settings == [("wal",), (2,)]


@pytest.mark.parametrize("damage", ["header", "middle", "no database"])
async def test_a_damaged_journal_is_set_aside_and_a_new_one_begins(path, opened, caplog, damage):
    journal, _ = await opened(path)
    for number in range(20):
        await journal.record_prompt(prompt(str(number), "y" * 5_000), ALICE, 60.0)
    await journal.close()
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:64] = b"\x5a" * 64
    elif damage == "middle":
        content[4096 * 2 : 4096 * 20] = b"\xff" * (4096 * 18)
    else:
        content = bytearray(b"not a database at all" * 500)
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        restored = await journal.open()
    assert restored.sessions == ()
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_bytes()[100:] == bytes(content)[100:]  # SQLite counts openings in the header
    assert str(path) in caplog.text
    assert str(aside) in caplog.text
    await journal.record_prompt(prompt("new"), ALICE, 60.0)
    assert [s.prompt.prompt_id for s in (await reopen(journal)).sessions] == ["new"]


async def test_damaged_files_do_not_pile_up(path, opened):
    journal, _ = await opened(path)
    for _ in range(SET_ASIDE_MAX + 2):
        await journal.close()
        path.write_bytes(b"junk" * 2_000)
        await journal.open()
    assert len(list(path.parent.glob("*.damaged-*"))) == SET_ASIDE_MAX


async def test_a_row_that_cannot_be_read_costs_itself_and_is_said(path, opened, caplog):
    journal, _ = await opened(path)
    for prompt_id in ("good", "bad"):
        await journal.record_prompt(prompt(prompt_id), ALICE, 60.0)
    await journal.close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE prompts SET prompt = '{\"prompt_id\": 3}' WHERE prompt_id = 'bad'")
    connection.close()
    assert [s.prompt.prompt_id for s in (await journal.open()).sessions] == ["good"]
    assert "not readable and is dropped" in caplog.text


async def test_a_journal_of_a_newer_version_is_refused_untouched(path, opened):
    journal, _ = await opened(path)
    await journal.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalError, match=r"newer moamesh \(journal version 99.*update moamesh"):
        await journal.open()
    assert list(path.parent.glob("*.damaged-*")) == []


async def test_a_second_agent_on_the_same_journal_is_refused(path, opened):
    await opened(path)
    with pytest.raises(JournalError, match="another process has this journal open"):
        await Journal(path).open()


async def test_a_closed_journal_says_so(path, opened):
    journal, _ = await opened(path)
    with pytest.raises(JournalError, match="open already"):
        await journal.open()
    await journal.close()
    await journal.close()
    with pytest.raises(JournalError, match="is not open"):
        await journal.record_prompt(prompt(), ALICE, None)


async def test_prompts_on_disk_are_for_their_owner_alone(path, opened):
    journal, _ = await opened(path)
    await journal.record_prompt(prompt(), ALICE, None)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    assert path.with_name(path.name + "-wal").stat().st_mode & 0o077 == 0


async def test_a_layer_of_an_unknown_prompt_is_not_kept_and_said(path, opened, caplog):
    journal, _ = await opened(path)
    await journal.record_prompt(prompt(), ALICE, 60.0)
    await journal.record_layer("p-1", BOB, 1, responses(1))
    assert "is not journalled" in caplog.text
    assert (await reopen(journal)).sessions[0].layers == ()
