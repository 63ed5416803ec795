"""The real model process with a stranger in it: what a model file that takes it over can do to this device."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.adapters.llama import LlamaEngine
from edge_agent.confinement.landlock import landlock_abi
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.messages import ChatMessage, Role, Sampling
from edge_agent.engines.child_start import model_files

BOMB = "import os\nwhile True:\n    if os.fork() == 0:\n        os._exit(0)"
HOSTILE = {
    "read the key": ("print(open({key!r}).read())", "PermissionError"),
    "read the journal by a link": ("import os\nprint(os.readlink({link!r}), open({link!r}).read())", "PermissionError"),
    "read the agent's memory": ("import os\nopen(f'/proc/{{os.getppid()}}/mem', 'rb')", "PermissionError"),
    "fill the disk": ("open({full!r}, 'wb').write(bytes(2**20))", "PermissionError"),
    "fill what it may write to": ("import os\nos.write(os.memfd_create('f'), b'x')", "File too large"),
    "open a socket": ("import socket\nsocket.create_connection(('127.0.0.1', {port}))", "PermissionError"),
    "fork without end": (BOMB, "PermissionError"),
    "end the agent": ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", "PermissionError"),
    "take all memory": ("held = bytearray(2**42)", "MemoryError"),
    "see a secret": ("import os\nraise KeyError(' '.join(sorted(os.environ)))", "KeyError"),
}
NEEDS_LANDLOCK = {"read the key", "read the journal by a link", "read the agent's memory", "fill the disk"}


@pytest.mark.parametrize("deed", [deed for deed in HOSTILE if deed not in NEEDS_LANDLOCK or landlock_abi() > 0])
async def test_a_model_that_takes_its_process_over_gets_nowhere(
    deed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that runs a stranger's code while it loads stands for llama.cpp with a hole in its parser."""
    code, stopped_by = HOSTILE[deed]
    key, link, packages = tmp_path / "key", tmp_path / "link", tmp_path / "packages"
    key.write_text("SECRET-OF-THE-DEVICE")
    link.symlink_to(key)
    packages.mkdir()
    named = {"key": str(key), "link": str(link), "full": str(tmp_path / "full"), "port": 1}
    body = "\n".join(f"    {line}" for line in code.format(**named).splitlines())
    (packages / "llama_cpp.py").write_text(
        f"try:\n{body}\nexcept BaseException as e:\n    raise ValueError(f'{{type(e).__name__}}: {{e}}')\n"
        "raise ValueError('it came through')\n"
    )
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    monkeypatch.setenv("MOAMESH_INFLUX_TOKEN", "SECRET-OF-THE-DEVICE")
    with pytest.raises(EngineError) as caught:
        await LlamaEngine(model, threads=1).start()
    assert stopped_by in caught.value.detail
    assert "SECRET" not in caught.value.detail
    assert "MOAMESH" not in caught.value.detail
    assert not (tmp_path / "full").exists() or landlock_abi() == 0


def environment_of(pid: int | None) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.llm
async def test_a_real_model_loads_and_answers_in_there(default_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOAMESH_INFLUX_TOKEN", "SECRET-OF-THE-DEVICE")
    engine = LlamaEngine(default_model, threads=1, context_tokens=256)
    await engine.start()
    try:
        environment = environment_of(engine.child_pid)
        sampling = Sampling(max_output_tokens=8, temperature=0.0)
        chat = (ChatMessage(Role.USER, "What is the capital of France"),)
        result = await engine.infer(StartInference("item", chat, (), sampling, False), None)
    finally:
        await engine.stop()
    assert b"SECRET" not in environment
    assert b"HOME=" not in environment
    assert "Paris" in result.text


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("model.gguf", 0),
        ("model-00001-of-00003.gguf", 3),
        ("model-00001-of-99999.gguf", 1000),
        ("the-best-of-both.gguf", 0),
        ("x-of-3.gguf", 0),
    ],
)
def test_a_model_in_parts_is_let_in_with_all_of_them(name: str, others: int) -> None:
    path = Path("/models") / name
    found = model_files(path)
    assert found[0] == path
    assert len(found) == 1 + others
    assert others == 0 or found[1] == path
    assert all(part.parent == path.parent for part in found)
