"""One damaged place in the journal costs what stands there, said in a line without a word of a prompt, and no more.

SQLite's own check looks at its pages, not at what a text or number holds, so most damage passes it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.adapters.journal.damaged import DETAIL
from edge_agent.adapters.journal.database import SCHEMA_VERSION_MAX
from edge_agent.wire.codec import decode, encode
from tests.adapters.journals import Journal
from tests.adapters.test_journal import ALICE, answer, prompt, responses
from tests.support.polling import until

SECRET = "the-words-of-a-prompt"
NAMES = ["p-0", "p-1", "p-2"]


async def filled(path: Path) -> None:
    journal = Journal(path)
    await journal.open()
    for name in NAMES:
        await journal.record_prompt(prompt(name, f"{SECRET} of {name}"), ALICE, 500.0)
        await journal.record_layer(name, ALICE, 1, responses(1))
    await journal.record_prompt(prompt("ended"), ALICE, 500.0)
    await journal.record_answer(answer("ended"), ALICE)
    await journal.close()


async def kept_after(path: Path) -> list[str]:
    """Opens a damaged journal, which must work, now and after another start; returns which prompts it still knew."""
    journal = Journal(path, device_id="d1")
    restored = await journal.open()
    assert await journal.next_incarnation() < 2**52
    await journal.record_prompt(prompt("new"), ALICE, None)
    await until(lambda: journal.health[-1:] in ([], [""]), "the journal is well")
    assert SECRET not in "".join(journal.health)
    await journal.close()
    assert "new" in [session.prompt.prompt_id for session in (await journal.open()).sessions]
    await journal.close()
    return [session.prompt.prompt_id for session in restored.sessions]


@pytest.mark.parametrize(
    ("column", "old", "new"),
    [
        ("prompt", f"{SECRET} of p-1", f"{SECRET} of p-1".encode().replace(b"w", b"\xf7")),
        ("prompt", '"prompt_id":"p-1"', b'"prompt_id"="p-1"'),
        ("reply", "user.alice", b"user.alic\xe5"),
        ("boot_id", "-", b"\xad"),
    ],
)
async def test_a_damaged_letter_costs_its_row_at_most(
    column: str, old: str, new: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.sqlite3"
    await filled(path)
    with sqlite3.connect(path) as connection:
        connection.text_factory = bytes
        text = connection.execute(f"SELECT {column} FROM prompts WHERE prompt_id = 'p-1'").fetchone()[0]
        assert old.encode() in text
        damaged = text.replace(old.encode(), new)
        connection.execute(f"UPDATE prompts SET {column} = CAST(? AS TEXT) WHERE prompt_id = 'p-1'", (damaged,))
    connection.close()
    kept = await kept_after(path)
    assert [name for name in kept if name != "p-1"] == ["p-0", "p-2"]
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        "elapsed_s = 'x'",
        "elapsed_s = -1e300",
        "deadline_in_s = x'00'",
        "deadline_in_s = 9e999",
        "wall_s = 'then'",
        "since_boot_s = x'ff'",
        "restarts = 'often'",
        "restarts = -4",
        "layer_count = 1000000000",
        "layer_count = 'two'",
        "fanout = -1",
        "fanout = x'00ff'",
    ],
)
async def test_a_damaged_number_costs_its_row(change: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal.sqlite3"
    await filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE prompts SET {change} WHERE prompt_id = 'p-1'")
    connection.close()
    assert await kept_after(path) == ["p-0", "p-2"]
    assert caplog.text.count("a journalled row of prompts is not readable and is dropped") == 1


async def told_after(path: Path) -> dict[str, tuple[str, str]]:
    """What is told after a start of a damaged journal: to whom, and what, by prompt."""
    journal = Journal(path, device_id="d1")
    restored = await journal.open()
    await journal.close()
    again = await journal.open()
    kept, kept_again = ([replace(one, age_s=0.0) for one in each.answers] for each in (restored, again))
    assert kept_again == kept, "until it is delivered, it is told again, the same"
    await journal.close()
    told = [kept for kept in restored.answers if not kept.delivered]
    for kept in told:
        assert decode(encode(kept.answer)) == kept.answer, "a user's program can read it"
    return {kept.answer.prompt_id: (kept.reply.inbox, kept.answer.detail) for kept in told}


@pytest.mark.parametrize(
    ("table", "change", "is_told"),
    [
        ("prompts", "prompt = replace(prompt, '{', '[')", True),
        ("prompts", "prompt = x'ff00ff'", True),
        ("prompts", "wall_s = 'then'", True),
        ("prompts", "fanout = -1", True),
        ("prompts", "reply = replace(reply, '{', '[')", False),
        ("prompts", "reply = replace(reply, 'alice', 'alicf')", False),
        ("prompts", "inbox = 'user.bob/0', prompt = ''", False),
        ("prompts", "prompt_id = CAST(x'ff41' AS TEXT), prompt = ''", False),
        ("prompts", "prompt_id = x'00', prompt = ''", False),
        ("answers", "answer = replace(answer, '{', '[')", True),
        ("answers", "wall_s = 'then'", True),
        ("answers", "answer = '', delivered = 1", False),
        ("answers", "answer = '', reply = ''", False),
    ],
)
async def test_the_user_of_a_damaged_row_is_told_where_it_says_who_that_is(
    table: str, change: str, is_told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.sqlite3"
    await filled(path)
    which = "ended" if table == "answers" else "p-1"
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {table} SET {change} WHERE prompt_id = '{which}'")
    connection.close()
    told = await told_after(path)
    whole = {"ended": ("user.alice/0", "")} if which != "ended" else {}
    assert told == whole | ({which: ("user.alice/0", DETAIL)} if is_told else {})
    assert ("its user is notified" in caplog.text, "nobody can be notified" in caplog.text) == (is_told, not is_told)


async def test_a_damaged_layer_costs_itself_and_what_was_built_on_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    await filled(path)
    journal = Journal(path)
    await journal.open()
    await journal.record_layer("p-1", ALICE, 2, responses(1))
    await journal.close()
    for layer, left in ((2, 1), (1, 0)):
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE layers SET joined = '[' WHERE layer = ? AND prompt = 2", (layer,))
        connection.close()
        restored = await journal.open()
        assert [len(session.layers) for session in restored.sessions] == [1, left, 1]
        await journal.close()


@pytest.mark.parametrize("value", ["'many'", "-9", "9223372036854775807", "1.5"])
async def test_a_damaged_counter_is_counted_anew(value: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    await filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"INSERT OR REPLACE INTO counters VALUES ('incarnation', {value})")
    connection.close()
    assert await kept_after(path) == NAMES


@pytest.mark.parametrize("change", ["wall_s = 'then'", "delivered = 'yes'"])
async def test_a_damaged_end_costs_its_row(change: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal.sqlite3"
    await filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE answers SET {change}")
    connection.close()
    assert await kept_after(path) == NAMES
    assert caplog.text.count("a journalled row of answers is not readable and is dropped") == 1


@pytest.mark.parametrize(
    "statement",
    [
        f"PRAGMA user_version = {SCHEMA_VERSION_MAX + 1}",
        "PRAGMA user_version = -2147483646",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = 1",
        "ALTER TABLE prompts RENAME COLUMN wall_s TO wall_z",
        "ALTER TABLE answers RENAME COLUMN reply TO rePly_",
        "DROP TABLE layers",
        "ALTER TABLE counters RENAME TO kounters",
    ],
)
async def test_damaged_tables_are_set_aside(statement: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal.sqlite3"
    await filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    assert await kept_after(path) == []
    assert "was set aside" in caplog.text


@pytest.mark.parametrize("place", [18, 19, 47])
async def test_a_damaged_header_is_no_newer_format_and_no_read_only_disk(
    place: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.sqlite3"
    await filled(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(content)
    assert await kept_after(path) == []
    assert "was set aside" in caplog.text
