"""The file of users of a broker without an inventory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker import people_file
from broker.access import UserLogin
from broker.passwords import hash_password
from broker.people_file import PeopleFile, PeopleFileError

HASH = hash_password("secret")


@pytest.fixture
def people(tmp_path: Path) -> PeopleFile:
    return PeopleFile(tmp_path / "users.json")


def test_what_was_written_is_read_back_and_nobody_else_may_look(people: PeopleFile) -> None:
    assert people().users == ()
    users = (UserLogin("alice", HASH), UserLogin("bob", HASH, ("kitchen", "attic")))
    people.replace(reversed(users))
    assert people().users == users
    assert people.path.stat().st_mode & 0o777 == 0o600
    people.replace(())
    assert people().users == ()


def test_changes_by_several_processes_at_once_all_hold(people: PeopleFile) -> None:
    def add(name: str) -> None:
        with PeopleFile(people.path).changing() as users:
            users[name] = UserLogin(name, HASH)

    names = [f"user-{number:02}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, names))
    assert [user.name for user in people.users()] == names


def test_a_change_that_fails_changes_nothing(people: PeopleFile) -> None:
    people.replace([UserLogin("alice", HASH)])

    def fail() -> None:
        with people.changing() as users:
            users.clear()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [user.name for user in people.users()] == ["alice"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"users": [{"name": "alice"}]}',
        b'{"users": [{"name": "al/ice", "password_hash": "%s", "devices": null}]}' % HASH.encode(),
        b'{"users": [{"name": "alice", "password_hash": "x\\nroot:y", "devices": null}]}',
        b"\xff",
    ],
)
def test_a_broken_file_lets_nobody_in_and_says_the_way_out(people: PeopleFile, content: bytes) -> None:
    people.path.write_bytes(content)
    with pytest.raises(PeopleFileError, match="remove it and pair again"):
        people()


def test_the_number_of_users_is_bounded(people: PeopleFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_file, "USERS_MAX", 2)
    with pytest.raises(PeopleFileError, match="at most 2 users"):
        people.replace(UserLogin(name, HASH) for name in ("a", "b", "c"))
    assert people().users == ()
