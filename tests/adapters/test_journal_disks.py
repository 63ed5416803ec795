"""A disk that is full, read-only or failing is a state of the journal: told, tried again, left by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import sqlite3
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.adapters.journal import database
from edge_agent.adapters.journal import file as file_module
from edge_agent.adapters.journal import journal as journal_module
from edge_agent.adapters.journal.reserve import Reserve
from edge_agent.adapters.journal.store import Store
from edge_agent.core.effects import JournalAnswer, JournalDelivered, JournalLayer, JournalPrompt
from edge_agent.core.errors import JournalError
from edge_agent.core.events import JoinedLayer, ReplyRoute, SessionsRestored
from edge_agent.core.messages import Missing, Substitute
from tests.adapters.journals import Journal
from tests.adapters.test_journal import ALICE, BOB, answer, prompt, responses
from tests.support.polling import until
from tests.support.small_disk import small_disk

DATA = Path(__file__).parent / "data"
SMALL = 256 * 1024


def small(card: Path) -> Journal:
    """A journal whose reserve fits on the card."""
    return Journal(card / "journal.sqlite3", reserve_bytes=SMALL)


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 1 MiB: with room for the reserve of `SMALL`."""
    with small_disk(tmp_path / "card", kib=1024) as folder:
        yield folder


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "RETRY_MIN_S", 0.05)
    monkeypatch.setattr(journal_module, "RETRY_MAX_S", 0.2)


def fill(card: Path) -> Path:
    """Leaves no room on the card."""
    ballast = card / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def remount(card: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(card)], check=True)


async def test_a_disk_that_fills_up_is_told_once_and_left_by_itself_when_there_is_room(card: Path, caplog) -> None:
    journal = small(card)
    await journal.open()
    await journal.record_prompt(prompt("before"), ALICE, None)
    ballast = fill(card)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            with pytest.raises(JournalError, match="no space on the disk"):
                await journal.record_prompt(prompt(f"large-{number}", "x" * 50_000), ALICE, None)
    (trouble,) = journal.health
    assert "a restart would lose accepted prompts" in trouble
    assert "free some space" in trouble
    assert caplog.text.count("free some space") == 1, "said once, not for each prompt"
    ballast.unlink()
    await until(
        lambda: journal.health[-1] == "", "the journal is well again"
    )  # nothing is written meanwhile: it tries by itself
    await journal.record_prompt(prompt("after"), ALICE, None)
    await journal.close()
    restored = await journal.open()
    assert [session.prompt.prompt_id for session in restored.sessions] == ["before", "after"]
    await journal.close()


async def full(card: Path) -> Callable[[], None]:
    ballast = fill(card)
    return ballast.unlink


async def read_only(card: Path) -> Callable[[], None]:
    remount(card, "ro")
    return lambda: remount(card, "rw")


async def without_inodes(card: Path) -> Callable[[], None]:
    (card / "many").mkdir()
    with contextlib.suppress(OSError):
        for number in range(1_000_000):
            (card / "many" / str(number)).touch()
    return lambda: shutil.rmtree(card / "many")


STATES = {
    "full": (full, "no space on the disk"),
    "read-only": (read_only, "mount it writable, or replace a worn card"),
    "without inodes": (without_inodes, "unable to open|No space left"),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
async def test_a_journal_on_a_disk_that_takes_nothing_is_read_at_the_start(
    card: Path, state: str, killed: bool
) -> None:
    worsen, words = STATES[state]
    journal = small(card)
    await journal.open()
    await journal.record_prompt(prompt("under-way", "x" * 100_000), ALICE, None)
    for number, text in enumerate(("blue", "green")):
        await journal.record_prompt(prompt(f"ended-{number}"), ALICE, None)
        await journal.record_answer(answer(f"ended-{number}", text), ALICE)
    if killed:
        for part in ("journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-ends"):
            shutil.copy(card / part, card.parent / part)
    await journal.close()
    if killed:
        for part in ("journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-ends"):
            (card / part).unlink(missing_ok=True)
            shutil.move(card.parent / part, card / part)
    mend = await worsen(card)
    for _ in range(2):
        restored = await journal.open()
        assert [session.prompt.prompt_id for session in restored.sessions] == ["under-way"]
        assert ends(restored) == {"ended-0": "blue", "ended-1": "green"}
        if journal.health:  # what a kill left needs no new file
            assert re.search(words, journal.health[-1])
        await journal.close()
    await journal.open()
    mend()
    await until(lambda: not journal.health or journal.health[-1] == "", "the journal is well again")
    assert [event for event in journal.said if isinstance(event, SessionsRestored)] == [], "it was restored already"
    await journal.record_answer(answer("under-way", "red"), ALICE)
    await journal.close()
    assert ends(await journal.open()) == {"ended-0": "blue", "ended-1": "green", "under-way": "red"}
    await journal.close()


async def test_on_a_disk_that_takes_nothing_each_record_is_refused_with_the_reason_and_the_way_out(card: Path) -> None:
    journal = small(card)
    await journal.open()
    await journal.close()
    mend = await read_only(card)
    await journal.open()
    assert await journal.next_incarnation() > 1_000_000_000, "as after the loss of a disk, the clock must do"
    for _ in range(2):
        with pytest.raises(JournalError, match="Read-only file system: mount it writable"):
            await journal.record_prompt(prompt("meanwhile"), ALICE, None)
    assert len(journal.health) == 1
    mend()
    await journal.close()


async def test_a_journal_that_cannot_even_be_read_is_restored_once_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    journal = Journal(path)
    await journal.open()
    await journal.record_prompt(prompt("kept"), ALICE, None)
    await journal.close()
    path.rename(tmp_path / "elsewhere")
    path.mkdir()
    assert (await journal.open()).sessions == ()
    path.rmdir()
    (tmp_path / "elsewhere").rename(path)
    await until(lambda: journal.health[-1] == "", "the journal is well again")
    (late,) = [event for event in journal.said if isinstance(event, SessionsRestored)]
    assert [session.prompt.prompt_id for session in late.sessions] == ["kept"]
    await journal.close()


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_a_journal_that_is_taken_away_in_mid_run_is_begun_anew_and_that_is_told(tmp_path: Path, how: str) -> None:
    path = tmp_path / "journal.sqlite3"
    journal = Journal(path)
    await journal.open()
    await journal.record_prompt(prompt("before"), ALICE, None)
    for suffix in ("", "-wal", "-ends"):
        (tmp_path / f"journal.sqlite3{suffix}").unlink()
    if how == "replaced":
        path.write_bytes(b"something else")
    await journal.record_prompt(prompt("after"), ALICE, None)
    assert "it was removed or replaced while it was in use" in journal.health[0]
    assert ("nothing is left of it" if how == "removed" else "set aside as") in journal.health[0]
    assert journal.health[-1] == "", "the core has what has not ended kept anew"
    await journal.close()
    restored = await journal.open()
    assert [session.prompt.prompt_id for session in restored.sessions] == ["after"]
    await journal.close()


def in_its_place(card: Path, what: str) -> None:
    place = card / "journal.sqlite3-ends"
    match what:
        case "a folder":
            place.mkdir()
        case "a link":
            (card / "elsewhere").write_bytes(b"not ours")
            place.symlink_to(card / "elsewhere")
        case "a pipe":
            os.mkfifo(place)
        case "a device":
            place.symlink_to("/dev/full")


@pytest.mark.parametrize("what", ["a folder", "a link", "a pipe", "a device"])
async def test_what_stands_in_the_reserves_place_is_named_and_not_written(card: Path, what: str, caplog) -> None:
    in_its_place(card, what)
    journal = small(card)
    await journal.open()
    assert "there is no reserve" in caplog.text
    await journal.record_answer(answer("p", "blue"), ALICE)
    assert not (card / "elsewhere").exists() or (card / "elsewhere").read_bytes() == b"not ours"
    await journal.close()


async def test_a_device_without_room_for_its_reserve_says_so_until_there_is(
    card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RESERVE_RETRY_S", 0.05)
    (card / "ballast").write_bytes(bytes(640 * 1024))
    journal = small(card)
    await journal.open()
    assert len(journal.reserve) == 1
    assert "No space left" in journal.reserve[0]
    assert journal.health == [], "what is accepted is as durable as ever"
    await journal.record_prompt(prompt("p"), ALICE, None)
    assert len(journal.reserve) == 1, "once"
    (card / "ballast").unlink()
    await until(lambda: journal.reserve[-1] == "", "there is room, though nothing is written")
    assert (card / "journal.sqlite3-ends").stat().st_size == SMALL
    await journal.close()


async def test_a_reserve_that_is_removed_in_mid_run_is_made_anew_with_what_it_held(card: Path) -> None:
    reserve = Reserve(card / "ends", SMALL)
    records = [JournalAnswer(answer(f"p{number}", "blue"), ALICE) for number in range(2)]
    assert reserve.put(records[:1]) == 1
    (card / "ends").unlink()
    assert reserve.put(records[1:]) == 1
    reserve.close()
    reserve.open()
    assert list(reserve.records) == records
    reserve.close()


async def test_a_removed_reserve_for_which_there_is_no_more_room_forgets_nothing_that_it_held(card: Path) -> None:
    reserve = Reserve(card / "ends", SMALL)
    records = [JournalAnswer(answer(f"p{number}", "blue"), ALICE) for number in range(2)]
    assert reserve.put(records[:1]) == 1
    (card / "ends").unlink()
    mend = await full(card)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            reserve.put(records[1:])
        assert list(reserve.records) == records[:1]
    mend()
    assert reserve.put(records[1:]) == 1
    assert list(reserve.records) == records
    reserve.close()


async def test_a_reserve_for_which_there_was_no_room_is_made_once_there_is(card: Path) -> None:
    ballast = await full(card)
    journal = Journal(card.parent / "journal.sqlite3", reserve_bytes=SMALL)
    journal._file._reserve._path = card / "ends"  # on a disk of its own, so that only the reserve has no room
    await journal.open()
    ballast()
    for number in range(file_module.RESERVE_TRY_EVERY + 1):
        await journal.record_prompt(prompt(f"p{number}"), ALICE, None)
    assert (card / "ends").stat().st_size == SMALL
    await journal.close()


def a_folder(path: Path) -> Callable[[], None]:
    path.mkdir()
    return path.rmdir


def a_file_for_a_folder(path: Path) -> Callable[[], None]:
    path.parent.rmdir()
    path.parent.write_text("in the way")
    return path.parent.unlink


def a_dangling_link(path: Path) -> Callable[[], None]:
    path.symlink_to(path.parent / "nowhere" / "journal")
    return path.unlink


@pytest.mark.parametrize("obstacle", [a_folder, a_file_for_a_folder, a_dangling_link])
async def test_what_stands_in_the_journals_way_is_told_and_does_not_keep_the_device_from_serving(tmp_path, obstacle):
    path = tmp_path / "data" / "journal.sqlite3"
    path.parent.mkdir()
    remove = obstacle(path)
    journal = Journal(path)
    assert await journal.open() == SessionsRestored(())
    assert journal.health[0] != ""
    remove()
    await until(lambda: journal.health[-1] == "", "the journal is well again")
    await journal.record_prompt(prompt(), ALICE, None)
    await journal.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 8_192, b"half of SQLite format 3"], ids=["empty", "NULs", "half"])
async def test_what_a_power_cut_leaves_of_the_file_never_keeps_the_agent_down(tmp_path, content) -> None:
    path = tmp_path / "journal.sqlite3"
    path.write_bytes(content)
    journal = Journal(path)
    assert await journal.open() == SessionsRestored(())
    await journal.record_prompt(prompt(), ALICE, None)
    await journal.close()
    assert len((await journal.open()).sessions) == 1
    await journal.close()


async def test_damage_in_mid_run_is_set_aside_and_what_lives_is_asked_for_anew(tmp_path, caplog) -> None:
    path = tmp_path / "journal.sqlite3"
    journal = Journal(path)
    await journal.open()
    for number in range(30):
        await journal.record_prompt(prompt(f"p-{number}", "y" * 20_000), ALICE, None)

    def damage() -> None:
        journal._file._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))
        journal._file._connection.execute("PRAGMA shrink_memory").fetchall()

    await journal._in_thread(damage)
    await journal.record_answer(answer("p-3"), ALICE)
    assert "was set aside" in caplog.text
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    assert ["damaged" in journal.health[0], journal.health[1:]] == [True, [""]]
    await journal.record_prompt(prompt("p-4"), ALICE, None)  # as the core does now for what has not ended
    await journal.close()
    restored = await journal.open()
    assert [session.prompt.prompt_id for session in restored.sessions] == ["p-4"]
    assert [kept.answer.prompt_id for kept in restored.answers] == ["p-3"]
    await journal.close()


async def test_what_gathers_during_one_wait_for_the_disk_is_written_with_the_next(tmp_path, monkeypatch) -> None:
    waits: list[bool] = []
    real = database.synchronise

    def noted(connection: sqlite3.Connection, durable: bool) -> None:
        waits.append(durable)
        real(connection, durable)

    monkeypatch.setattr("edge_agent.adapters.journal.store.synchronise", noted)
    journal = Journal(tmp_path / "journal.sqlite3")
    await journal.open()
    waits.clear()
    await asyncio.gather(*(journal.record_prompt(prompt(f"p-{number}"), ALICE, None) for number in range(100)))
    assert waits.count(True) <= 2
    waits.clear()
    await journal.record_layer("p-1", ALICE, 1, responses(1))
    await journal.record_answer(answer("p-2"), ALICE)
    await journal.mark_delivered("p-2", ALICE)
    assert waits == [False, True, False], "a layer and a delivery need not survive a power cut: no one waits for them"
    await journal.close()


async def test_one_record_that_cannot_be_written_does_not_take_the_others_with_it(tmp_path, monkeypatch) -> None:
    real = Store._write

    def refuse(self, record, now) -> None:
        if isinstance(record, JournalPrompt) and record.prompt.prompt_id == "bad":
            raise sqlite3.IntegrityError("not this one")
        real(self, record, now)

    monkeypatch.setattr(Store, "_write", refuse)
    journal = Journal(tmp_path / "journal.sqlite3")
    await journal.open()
    ends = await asyncio.gather(
        *(journal.record_prompt(prompt(name), ALICE, None) for name in ("first", "bad", "last")), return_exceptions=True
    )
    assert [type(end) for end in ends] == [type(None), JournalError, type(None)]
    await journal.close()
    assert [session.prompt.prompt_id for session in (await journal.open()).sessions] == ["first", "last"]
    await journal.close()


async def test_what_waits_for_the_disk_is_bounded(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(journal_module, "WAITING_MAX", 2)
    journal = Journal(tmp_path / "journal.sqlite3")
    await journal.open()
    writes = [journal.write(JournalDelivered(f"p-{number}", ALICE)) for number in range(3)]
    with pytest.raises(JournalError, match="2 records wait for the disk already"):
        await writes[2]
    await asyncio.gather(*writes[:2])
    await journal.close()


async def test_what_was_missing_and_replaced_in_a_layer_survives_a_restart(tmp_path) -> None:
    journal = Journal(tmp_path / "journal.sqlite3")
    await journal.open()
    await journal.record_prompt(prompt(), ALICE, None)
    layer = JoinedLayer(responses(1), (Missing(1, "d4", "silent"),), (Substitute(1, "d5", "d6", "queue_full"),))
    await journal.write(JournalLayer("p-1", ALICE, 1, layer))
    await journal.close()
    (session,) = (await journal.open()).sessions
    assert session.layers == (layer,)
    await journal.close()


def stored(path: Path, version: int) -> None:
    """Makes the journal that a moamesh of before left."""
    connection = sqlite3.connect(path)
    connection.executescript((DATA / f"journal-v{version}.sql").read_text())
    connection.close()


async def test_a_journal_of_version_1_is_read_with_all_that_it_holds(tmp_path) -> None:
    path = tmp_path / "journal.sqlite3"
    stored(path, 1)
    journal = Journal(path, answers_kept_s=1e9)
    restored = await journal.open()
    unfinished, plain = restored.sessions
    assert (unfinished.prompt.prompt_id, plain.prompt.prompt_id) == ("unfinished", "without-layers")
    assert unfinished.layers == (JoinedLayer(responses(1)),)
    assert (unfinished.reply, plain.reply) == (ALICE, BOB)
    assert {kept.reply for kept in restored.answers} == {BOB}
    assert (unfinished.layer_count, unfinished.fanout) == (None, None)
    assert [(kept.answer.prompt_id, kept.delivered) for kept in restored.answers] == [
        ("delivered", True),
        ("owed", False),
    ]
    assert restored.answers[0].answer == answer("delivered")
    await journal.write(JournalAnswer(answer("unfinished"), unfinished.reply))
    await journal.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (database.SCHEMA_VERSION,)
    connection.close()
    assert len((await journal.open()).sessions) == 1
    await journal.close()


async def test_a_journal_of_version_2_keeps_whose_each_prompt_is(tmp_path) -> None:
    path = tmp_path / "journal.sqlite3"
    stored(path, 2)
    journal = Journal(path, answers_kept_s=1e9)
    restored = await journal.open()
    of_alice, of_bob, of_me = restored.sessions
    assert (of_alice.reply, of_bob.reply, of_me.reply) == (ALICE, BOB, ReplyRoute("user.me", "0"))
    layer = JoinedLayer(responses(1), (Missing(1, "d4", "silent"),), (Substitute(1, "d5", "d6", "queue_full"),))
    assert (of_alice.layers, of_alice.layer_count, of_alice.fanout) == ((layer,), 2, 3)
    assert (of_me.prompt, of_me.layers) == (of_alice.prompt, ())
    assert [(kept.answer.prompt_id, kept.reply, kept.delivered) for kept in restored.answers] == [
        ("delivered", BOB, True),
        ("owed", BOB, False),
    ]
    await journal.write(JournalAnswer(answer("unfinished"), ALICE))
    await journal.write(JournalDelivered("owed", BOB))
    await journal.close()
    restored = await journal.open()
    assert [session.reply for session in restored.sessions] == [BOB, of_me.reply]
    assert [kept.delivered for kept in restored.answers] == [True, True, False]
    await journal.close()


async def test_one_damaged_letter_in_an_old_journal_costs_its_row_alone(tmp_path) -> None:
    path = tmp_path / "journal.sqlite3"
    stored(path, 2)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE prompts SET reply = replace(reply, '{', '[') WHERE prompt_id = 'without-layers'")
    connection.commit()
    connection.close()
    journal = Journal(path, answers_kept_s=1e9)
    restored = await journal.open()
    assert [session.reply.principal for session in restored.sessions] == ["user.alice", "user.me"]
    assert len(restored.answers) == 2
    await journal.close()


async def test_of_two_old_prompts_that_were_one_users_the_later_stays(tmp_path) -> None:
    path = tmp_path / "journal.sqlite3"
    stored(path, 2)
    connection = sqlite3.connect(path)
    connection.execute(
        "UPDATE prompts SET reply_topic = replace(reply_topic, '/home/', '/before/'), prompt_id = 'unfinished'"
        " WHERE prompt_id = 'without-layers'"
    )
    connection.execute("UPDATE prompts SET reply_topic = replace(reply_topic, '/answers/bob', '/answers/me')")
    connection.commit()
    connection.close()
    journal = Journal(path)
    assert [session.reply.principal for session in (await journal.open()).sessions] == ["user.alice", "user.me"]
    await journal.close()


def test_every_version_but_the_present_has_a_way_to_the_next() -> None:
    assert sorted(database._MIGRATIONS) == list(range(1, database.SCHEMA_VERSION))


def ends(restored: SessionsRestored) -> dict[str, str]:
    return {kept.answer.prompt_id: kept.answer.text for kept in restored.answers}


async def test_an_end_on_a_full_disk_is_kept_over_a_kill_and_no_session_of_it_is_left(card: Path) -> None:
    journal = small(card)
    await journal.open()
    for number in range(3):
        await journal.record_prompt(prompt(f"p{number}"), ALICE, None)
    mend = await full(card)
    for number in range(2):
        await journal.record_answer(answer(f"p{number}", "y" * 20_000), ALICE)
    assert "no space on the disk" in journal.health[-1], "what is kept in the reserve is no sign of health"
    mend()
    await until(lambda: journal.health[-1] == "", "the journal is well again")
    assert not any((card / "journal.sqlite3-ends").read_bytes()), "the journal has them"
    await journal.close()
    restored = await journal.open()
    assert ends(restored) == {"p0": "y" * 20_000, "p1": "y" * 20_000}
    assert [session.prompt.prompt_id for session in restored.sessions] == ["p2"]
    await journal.close()


async def test_an_end_that_finds_no_room_in_the_reserve_either_is_refused_and_those_before_it_are_kept(card) -> None:
    journal = small(card)
    await journal.open()
    mend = await full(card)
    await journal.record_answer(answer("first", "x" * (SMALL // 2)), ALICE)
    with pytest.raises(JournalError, match="no space on the disk"):
        await journal.record_answer(answer("second", "y" * (SMALL // 2)), ALICE)
    await journal.record_answer(answer("third", "z"), ALICE)
    await journal.close()
    assert set(ends(await journal.open())) == {"first", "third"}
    mend()
    await journal.close()


async def test_without_room_for_the_reserve_a_journal_works_and_its_disk_is_not_filled(card: Path, caplog) -> None:
    journal = Journal(card / "journal.sqlite3")  # 4 MiB on a card of one
    await journal.open()
    assert "there is no reserve, so a full disk would lose ends of prompts: No space left on device" in caplog.text
    assert (card / "journal.sqlite3-ends").stat().st_size == 0
    await journal.record_answer(answer("p", "blue"), ALICE)
    assert journal.health == []
    await journal.close()


def cut_short(content: bytes) -> bytes:
    return content[:200] + bytes(len(content) - 200)


def with_a_flipped_bit(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 4]) + content[101:]


def with_an_endless_length(content: bytes) -> bytes:
    return b"\xff\xff\xff\xff" + content[4:]


def with_other_json(content: bytes) -> bytes:
    body = b'{"answer": 1}'
    head = len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big")
    return head + body + bytes(len(content) - len(head + body))


@pytest.mark.parametrize(
    "damage", [cut_short, with_a_flipped_bit, with_an_endless_length, with_other_json, lambda _: b""]
)
async def test_a_damaged_reserve_gives_what_is_whole_and_is_of_use_again(card: Path, damage) -> None:
    reserve = Reserve(card / "ends", SMALL)
    reserve.open()
    records = [JournalAnswer(answer(f"p{number}", "blue"), ALICE) for number in range(3)]
    assert reserve.put(records) == 3
    reserve.close()
    content = (card / "ends").read_bytes()
    (card / "ends").write_bytes(damage(content))
    again = Reserve(card / "ends", SMALL)
    again.open()
    assert list(again.records) == []
    assert again.put(records[:1]) == 1
    again.close()
    again.open()
    assert list(again.records) == records[:1], "and nothing of what lay behind"
    again.close()


async def test_a_kill_while_the_reserve_is_cleared_brings_no_old_end_back(card: Path) -> None:
    reserve = Reserve(card / "ends", SMALL)
    records = [JournalAnswer(answer(f"p{number}", "blue"), ALICE) for number in range(3)]
    assert reserve.put(records) == 3
    reserve.close()
    with (card / "ends").open("r+b") as file:
        first = int.from_bytes(file.read(4), "big") + 8
        file.seek(0)
        file.write(bytes(first))
    reserve = Reserve(card / "ends", SMALL)
    reserve.open()
    assert reserve.records == ()
    assert reserve.put(records[:1]) == 1
    reserve.close()
    reserve.open()
    assert list(reserve.records) == records[:1]
    reserve.close()
