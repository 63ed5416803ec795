"""Whatever a command line or its environment holds: one clear line and exit status 2, for every command there is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from edge_agent.cli.entry import CHARACTERS_MAX, FREE_TEXT
from edge_agent.cli.main import app
from edge_agent.config import load_config
from edge_agent.config.model import keys_of, section_types
from tests.support.patience import PATIENCE_S

NOT_UTF8 = os.fsdecode(b"caf\xe9")
HOSTILE = {
    "not UTF-8": (NOT_UTF8, "is not UTF-8 text"),
    "an escape": ("\x1b[2Jred", "holds a control character"),
    "a NUL": ("a\0b", "holds a control character"),
    "a bell in Latin-1's upper half": ("a\x85b", "holds a control character"),
    "a line break": ("a\nb", "holds a line break"),
    "nothing": ("", "is empty"),
    "very long": ("a" * (CHARACTERS_MAX + 1), f"at most {CHARACTERS_MAX} are taken"),
}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
    else:
        for name, one in inner.items():
            yield from commands(one, (*path, name))


def forms(path: tuple[str, ...], command: Any, value: str) -> Iterator[tuple[str, list[str]]]:
    """Every way to bring a value into a command: each argument in its place, each option in its forms."""
    before: list[str] = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            yield parameter.name, [*path, *before, value]
            before.append("x")
        elif not parameter.is_flag:
            for option in parameter.opts:
                yield parameter.name, [*path, option, value]
            yield parameter.name, [*path, f"{parameter.opts[0]}={value}"]
    yield "", [*path, f"--no-such-option{value}"] if value else [*path, ""]


COMMAND = typer.main.get_command(app)  # made once: the runner would make all of it anew for each of a few thousand
COMMANDS = dict(commands(COMMAND))


def test_all_commands_are_walked() -> None:
    assert len(COMMANDS) > 40
    assert {("ask",), ("gateway", "key", "add"), ("device", "revoke")} <= COMMANDS.keys()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", HOSTILE)
def test_every_command_answers_every_hostile_argument_in_one_line(
    path: tuple[str, ...], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    value, said = HOSTILE[kind]
    for parameter, arguments in forms(path, COMMANDS[path], value):
        if parameter in FREE_TEXT and kind in ("a line break", "nothing", "very long"):
            continue
        with pytest.raises(SystemExit) as ended:
            COMMAND.main(arguments)
        line = capsys.readouterr().err
        assert ended.value.code == 2, (arguments, line)
        assert said in line, (arguments, line)
        assert line.startswith("moamesh: ")
        assert line.removesuffix("\n").isprintable()
        assert len(line) < 300


@pytest.mark.parametrize("arguments", [["ask", ""], ["ask", "x\ny"], ["ask", "a" * 99_999], ["ask", "-s", "a\nb", "x"]])
def test_free_text_may_hold_line_breaks_and_be_long(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "no local mesh is running" in result.stderr or "the prompt is empty" in result.stderr


def test_no_secret_is_shown() -> None:
    for arguments in (
        ["agent", "-c", "x", "--set", f"broker.password=hunter2{NOT_UTF8}"],
        ["ask", "--broker", f"mqtt://me:hunter2@x{NOT_UTF8}", "x"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert "hunter2" not in result.output
    result = CliRunner(env={"MOAMESH_BROKER__PASSWORD": f"hunter2{NOT_UTF8}"}).invoke(app, ["status"])
    assert (result.exit_code, "hunter2" in result.output) == (2, False)


def moamesh(
    *arguments: bytes | str, env: dict[bytes, bytes] | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "edge_agent.cli.main", *arguments],
        env={**os.environb, **(env or {})},
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
        **options,
    )


@pytest.mark.parametrize("variable", ["MOAMESH_HOME", "MOAMESH_BROKER__URLS", "MOAMESH_ENGINE__MODEL", "HOME"])
def test_bytes_in_the_environment_are_named_with_their_variable(variable: str) -> None:
    done = CliRunner(env={variable: NOT_UTF8}).invoke(app, ["status"])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"moamesh: environment {variable} is not UTF-8 text")
    assert done.stderr.count("\n") == 1


def test_bytes_in_the_environment_of_a_real_process() -> None:
    done = moamesh("status", env={b"moamesh_agent__layers": b"caf\xe9"})
    assert done.returncode == 2
    assert done.stderr.startswith(b"moamesh: environment moamesh_agent__layers is not UTF-8 text")
    assert done.stderr.count(b"\n") == 1


def test_bytes_as_an_argument_of_a_real_process() -> None:
    done = moamesh("device", "revoke", b"caf\xe9")
    assert done.returncode == 2
    assert done.stderr == (
        b"moamesh: argument NAME is not UTF-8 text: 'caf\\xe9'; files may be given by a link with another name\n"
    )


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && exec "$2" -m edge_agent.cli.main status'
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(gone), sys.executable],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "moamesh: the current folder no longer exists: change to another (cd)\n",
    )


def test_standard_input_that_is_no_text_is_refused() -> None:
    done = moamesh("ask", "-", input=b"caf\xe9")
    assert (done.returncode, done.stderr) == (2, b"moamesh: standard input is not UTF-8 text\n")


FILES = {
    "a prompt file": ["run-prompts", "FILE", "--output", "o.json"],
    "a password": ["ask", "x", "--username", "user.a", "--password-file", "FILE"],
    "settings": ["agent", "--config", "FILE"],
    "settings for a check": ["doctor", "--config", "FILE"],
    "an invitation": ["device", "claim", "FILE", "--config", "agent.toml"],
    "a token": ["telemetry", "check", "http://127.0.0.1:1", "--token-file", "FILE"],
    "a passphrase": ["mesh", "create", "home", "--passphrase-file", "FILE"],
    "keys": ["gateway", "key", "list", "--keys-file", "FILE"],
}


@pytest.mark.parametrize("content", [b"caf\xe9\n", b"\xff\xfea\0b\0", b"\0" * 100], ids=["latin-1", "utf-16", "NULs"])
@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_text_is_named(
    kind: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path / "moamesh"))
    file = tmp_path / "given"
    file.write_bytes(content)
    identity = tmp_path / "identity"
    (tmp_path / "agent.toml").write_text(
        '[device]\nid = "a"\nmesh = "home"\n[broker]\nurls = ["mqtts://127.0.0.1:1"]\n'
        + "".join(
            f'{key} = "{identity / name}"\n'
            for key, name in (("cert_file", "identity.pem"), ("key_file", "identity.pem"), ("ca_file", "ca.pem"))
        )
    )
    result = CliRunner().invoke(app, [str(file) if word == "FILE" else word for word in FILES[kind]])
    assert result.exit_code in (1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert str(file) in result.output, result.output


def test_half_characters_in_a_prompt_file_are_named(tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps([{"instruction": "fine"}, {"instruction": "\ud83d"}]))
    result = CliRunner().invoke(app, ["run-prompts", str(file), "--output", str(tmp_path / "o.json")])
    assert (result.exit_code, result.stderr) == (
        2,
        f"moamesh: {file}: entry 1 holds half a character (\\ud800 to \\udfff)\n",
    )


@pytest.mark.parametrize("value", ["", '""', '[""]', "[]", "{}", "nan", "1e999", "-1", "9" * 30, "true", "x" * 4000])
def test_every_setting_refuses_in_one_line_or_takes_the_value(value: str, tmp_path: Path) -> None:
    from edge_agent.cli.agent.overrides import parse_overrides
    from edge_agent.core.errors import SettingsError

    path = tmp_path / "agent.toml"
    path.write_text('[device]\nid = "a"\n[broker]\nurls = ["mqtt://127.0.0.1:1883"]\n')
    for section, kind in section_types().items():
        for key in keys_of(kind):
            try:
                load_config(path, parse_overrides([f"{section}.{key}={value}"]))
            except SettingsError as error:
                assert str(error).isprintable(), (section, key)  # noqa: PT017 - it need not be raised


def test_a_terminal_that_is_not_utf8_shows_what_it_can(tmp_path: Path) -> None:
    done = moamesh("simulate", "--help", env={b"PYTHONIOENCODING": b"ascii"})
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
