"""Files of prompts, answers and what made them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_agent.cli.prompts.file import ProvenanceFile, read_prompts, write_outputs
from edge_agent.core.errors import SettingsError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_prompts_are_read_in_order_up_to_the_limit(tmp_path: Path) -> None:
    entries = [{"instruction": f"ask {number}", "dataset": "d", "more": 1} for number in range(3)]
    read = read_prompts(write(tmp_path / "p.json", json.dumps(entries)), 2)
    assert [(entry.number, entry.instruction, entry.dataset) for entry in read] == [
        (0, "ask 0", "d"),
        (1, "ask 1", "d"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("{}", "must hold a list"),
        ("[]", "holds no prompts"),
        ('[{"instruction": "a"}, {"instruction": ""}]', "entry 1 has no instruction"),
        ("[3]", "entry 0 has no instruction"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        read_prompts(write(tmp_path / "p.json", text), None)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"cannot read nowhere\.json: No such file"):
        read_prompts(Path("nowhere.json"), None)


def test_outputs_replace_the_old_file_in_one_step(tmp_path: Path) -> None:
    path = write(tmp_path / "out.json", "old")
    write_outputs(path, [{"output": "ü"}])
    assert json.loads(path.read_text(encoding="utf-8")) == [{"output": "ü"}]
    assert [file.name for file in tmp_path.iterdir()] == ["out.json"]


def test_what_was_written_before_a_crash_is_resumed_without_failures_and_torn_lines(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = ['{"number": 0, "outcome": "answered"}', '{"number": 1, "outcome": "failed"}', '{"number": 2, "outc']
    write(path, "\n".join(lines))
    provenance = ProvenanceFile(path, resume=True)
    assert set(provenance.done) == {0}
    provenance.add({"number": 1, "outcome": "answered"})
    assert [json.loads(line)["number"] for line in path.read_text(encoding="utf-8").splitlines()] == [0, 1]
    provenance.close()


def test_without_resume_an_earlier_run_is_kept_aside(tmp_path: Path) -> None:
    path = write(tmp_path / "out.jsonl", '{"number": 0, "outcome": "answered"}\n')
    provenance = ProvenanceFile(path, resume=False)
    assert provenance.done == {}
    provenance.close()
    assert path.read_text(encoding="utf-8") == ""
    assert (tmp_path / "out.jsonl.old").read_text(encoding="utf-8").startswith('{"number": 0')
