"""API keys: made once, kept as hashes, followed while a gateway runs."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.gateway.keys import KEYS_MAX, KeyRing, add_key, load_keys, remove_key
from tests.gateway.programs import moamesh, refused


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "api-keys.json"


def test_a_key_has_256_bits_and_the_file_only_its_hash(file: Path) -> None:
    secret = add_key(file, "alice")
    assert re.fullmatch(r"sk-moamesh-[A-Za-z0-9_-]{43}", secret)
    assert secret.removeprefix("sk-moamesh-") not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (key,) = load_keys(file)
    assert (key.name, key.ending) == ("alice", secret[-4:])
    assert KeyRing(file).name_of(secret) == "alice"
    assert KeyRing(file).name_of(secret + "x") is None


def test_two_keys_differ_and_a_removed_one_is_gone(file: Path) -> None:
    alice, bob = add_key(file, "alice"), add_key(file, "bob")
    ring = KeyRing(file)
    assert (ring.name_of(alice), ring.name_of(bob)) == ("alice", "bob")
    remove_key(file, "alice")
    assert (ring.name_of(alice), ring.name_of(bob)) == (None, "bob")


def test_the_file_is_followed_and_once_there_was_a_key_one_is_always_needed(file: Path) -> None:
    ring = KeyRing(file)
    assert not ring.needed
    secret = add_key(file, "alice")
    assert ring.name_of(secret) == "alice"
    assert ring.needed
    remove_key(file, "alice")
    assert ring.name_of(secret) is None
    assert ring.needed
    file.unlink()
    ring.refresh()
    assert ring.needed


def test_a_file_damaged_meanwhile_changes_nothing_and_one_damaged_before_stops_the_start(file: Path) -> None:
    secret = add_key(file, "alice")
    ring = KeyRing(file)
    file.write_text("{")
    assert ring.name_of(secret) == "alice"
    with pytest.raises(SettingsError, match="not a file of API keys"):
        KeyRing(file)


@pytest.mark.parametrize(
    "content", ["[]", '{"version": 2}', '{"keys": [{"name": "a"}]}', '{"keys": 1}', "\x00", '{"other": 1}']
)
def test_what_is_no_file_of_keys_is_said_in_one_line(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(SettingsError) as caught:
        load_keys(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_is_taken_once_and_must_be_a_name(file: Path) -> None:
    add_key(file, "alice")
    with pytest.raises(SettingsError, match="already"):
        add_key(file, "alice")
    for wrong in ("", "a b", "x" * 65, "../etc"):
        with pytest.raises(SettingsError, match="name must be"):
            add_key(file, wrong)
    with pytest.raises(SettingsError, match=r"no key of bob.*there are: alice"):
        remove_key(file, "bob")
    assert [key.name for key in load_keys(file)] == ["alice"]


def test_there_is_a_bound_to_the_keys(file: Path) -> None:
    add_key(file, "first")
    content = json.loads(file.read_text())
    content["keys"] = [content["keys"][0] | {"name": f"n{number}"} for number in range(KEYS_MAX)]
    file.write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="is the most"):
        add_key(file, "one-more")


def test_the_command_shows_a_key_once_on_stdout_and_lists_names_only(file: Path) -> None:
    made = moamesh("gateway", "key", "add", "alice", "--keys-file", str(file))
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert KeyRing(file).name_of(secret) == "alice"
    listed = moamesh("gateway", "key", "list", "--keys-file", str(file), "--json")
    assert [key["name"] for key in json.loads(listed.stdout)["keys"]] == ["alice"]
    assert "sha256" not in listed.stdout
    assert secret not in listed.stdout
    gone = moamesh("gateway", "key", "remove", "alice", "--keys-file", str(file))
    assert gone.returncode == 0
    assert "no key of alice" in refused("gateway", "key", "remove", "alice", "--keys-file", str(file))
