from pathlib import Path

import pytest

from edge_agent.confinement.landlock import landlock_abi
from edge_agent.models.errors import ModelError
from edge_agent.models.gguf import GgufHeader
from edge_agent.models.optimise import PARAMETERS_MAX, Optimisation, choose, requantise
from edge_agent.models.progress import ignore_progress
from tests.models.tiny_gguf import tiny_gguf


def header(file_type: str, parameters: int = 100_000_000) -> GgufHeader:
    return GgufHeader("llama", "", "", file_type, parameters, 4096, has_chat_template=True)


@pytest.mark.parametrize(
    ("own", "wish", "expected"),
    [
        ("Q4_1", Optimisation.AUTO, "Q8_0"),
        ("F16", Optimisation.AUTO, "Q8_0"),
        ("Q4_K_M", Optimisation.AUTO, "Q4_K_M"),
        ("Q8_0", Optimisation.AUTO, "Q8_0"),
        ("unknown", Optimisation.AUTO, "unknown"),
        ("Q4_1", Optimisation.KEEP, "Q4_1"),
        ("Q4_1", Optimisation.Q4_0, "Q4_0"),
        ("Q4_K_M", Optimisation.Q8_0, "Q8_0"),
    ],
)
def test_slow_forms_become_q8_0_and_others_only_what_was_asked(own: str, wish: Optimisation, expected: str) -> None:
    choice = choose(header(own), wish)
    assert choice.file_type == expected
    assert choice.reason


def test_large_models_are_left_as_they_are() -> None:
    assert choose(header("Q4_1", PARAMETERS_MAX), Optimisation.AUTO).file_type == "Q8_0"
    choice = choose(header("Q4_1", PARAMETERS_MAX + 1), Optimisation.AUTO)
    assert choice.file_type == "Q4_1"
    assert "memory" in choice.reason


@pytest.mark.llm
def test_a_failure_is_told_in_one_line_and_leaves_no_file(default_model: Path, tmp_path: Path) -> None:
    assert default_model.exists()  # so that llama_cpp is there as well
    source, target = tmp_path / "tiny.gguf", tmp_path / "tiny.Q8_0.gguf"
    source.write_bytes(tiny_gguf())
    with pytest.raises(ModelError, match=r"tiny\.gguf could not be made Q8_0") as caught:
        requantise(source, target, "Q8_0", ignore_progress)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("deed", "stopped_by"),
    [
        ("open({key!r}).read()", "PermissionError" if landlock_abi() else "SECRET"),
        ("open({beside!r}, 'wb')", "PermissionError" if landlock_abi() else "it came through"),
        ("__import__('socket').socket()", "PermissionError"),
        ("__import__('os').fork()", "PermissionError"),
        ("''.join(__import__('os').environ['MOAMESH_INFLUX_TOKEN'])", "KeyError"),
    ],
)
def test_a_model_that_takes_the_maker_of_its_other_form_over_gets_nowhere(
    deed: str, stopped_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of the model process: a library that runs a stranger's code stands for llama.cpp with a hole in its parser."""
    packages, key, source = tmp_path / "packages", tmp_path / "key", tmp_path / "m.gguf"
    packages.mkdir()
    key.write_text("SECRET")
    source.write_bytes(b"GGUF")
    code = deed.format(key=str(key), beside=str(tmp_path / "beside"))
    (packages / "llama_cpp.py").write_text(
        f"import os\ntry:\n    said = {code}\nexcept BaseException as e:\n    said = type(e).__name__\n"
        "print('it came through', said, flush=True)\nos._exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(packages))
    monkeypatch.setenv("MOAMESH_INFLUX_TOKEN", "SECRET")
    with pytest.raises(ModelError, match=stopped_by):
        requantise(source, tmp_path / "m.to-Q8_0.gguf", "Q8_0", ignore_progress)
    assert not (tmp_path / "m.to-Q8_0.gguf.part").exists()
