"""The engine `llama-server` beyond what holds for all: which server it starts, where that listens, what it is told."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import httpx
import psutil
import pytest

from edge_agent.adapters.llama_server import LlamaServerEngine, ServerProgram, find_server
from edge_agent.confinement.landlock import landlock_abi
from edge_agent.core.errors import EngineError, SettingsError
from edge_agent.core.messages import Sampling
from tests.adapters.engines import request, started
from tests.support import llama_server_program, odd_models

CONTEXT_TOKENS = 512


def engine_with(model: Path, program: ServerProgram, slots: int = 1) -> LlamaServerEngine:
    return LlamaServerEngine(model, program, threads=1, context_tokens=CONTEXT_TOKENS, slots=slots)


@pytest.mark.llm
async def test_the_package_listens_where_only_this_user_may_and_is_given_no_secret(
    default_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOAMESH_INFLUX_TOKEN", "SECRET-OF-THE-DEVICE")
    async with started(engine_with(default_model, find_server("xllamacpp"), slots=2)) as engine:
        process = psutil.Process(engine.child_pid)
        server = engine._kept.process
        assert server is not None
        socket = server._place.socket
        assert socket is not None
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert process.net_connections("inet") == []
        assert "SECRET" not in str(process.environ())
        assert server._place.api_key not in " ".join(process.cmdline())
        if landlock_abi():
            assert server.open_doors == ""
        results = await asyncio.gather(*(engine.infer(request(), None) for _ in range(3)))  # one more than slots
        assert all("Paris" in result.text for result in results)
    assert not socket.parent.exists()


@pytest.mark.llm
@pytest.mark.parametrize("knows_sockets", [True, False])
async def test_a_program_is_told_the_same_and_listens_on_a_socket_if_it_can(
    default_model: Path, tmp_path: Path, knows_sockets: bool
) -> None:
    program = ServerProgram(llama_server_program.write(tmp_path, knows_sockets=knows_sockets))
    async with started(engine_with(default_model, program)) as engine:
        server = engine._kept.process
        assert server is not None
        arguments = psutil.Process(engine.child_pid).cmdline()
        assert str(CONTEXT_TOKENS) in arguments
        assert server._place.api_key not in " ".join(arguments)
        assert "Paris" in (await engine.infer(request(), None)).text
        if not knows_sockets:
            async with httpx.AsyncClient(trust_env=False) as stranger:
                refused = await stranger.get(f"{server._place.address.root}/slots")
            assert refused.status_code == httpx.codes.UNAUTHORIZED
        else:
            assert psutil.Process(engine.child_pid).net_connections("inet") == []


@pytest.mark.llm
async def test_a_cancelled_item_leaves_its_slot_to_the_next(default_model: Path) -> None:
    async with started(engine_with(default_model, find_server("xllamacpp"))) as engine:
        long = request("Count to a thousand.", sampling=Sampling(max_output_tokens=400, temperature=0.0))
        begun = asyncio.Event()
        task = asyncio.create_task(engine.infer(long, lambda text: begun.set()))
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        result = await engine.infer(request(), None)
        assert "Paris" in result.text
        server = engine._kept.process
        assert server is not None
        slots = (await server._client.get(f"{server._place.address.root}/slots")).json()
        assert [slot["is_processing"] for slot in slots] == [False]


async def test_a_program_that_does_not_serve_is_refused_in_one_line(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho 'error: unknown model architecture' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(EngineError, match="unknown model architecture") as caught:
        await engine_with(model, ServerProgram(program)).start()
    assert not caught.value.retryable
    assert "\n" not in caught.value.detail


def test_the_server_is_the_one_that_is_named_or_the_first_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server("") == ServerProgram(None)  # the package is installed
    with pytest.raises(SettingsError, match=r"moamesh\[llama-server\]"):
        find_server("llama-server")
    program = llama_server_program.write(tmp_path)
    assert find_server("llama-server") == find_server(str(program)) == ServerProgram(program)
    monkeypatch.setattr("edge_agent.adapters.llama_server.programs.find_spec", lambda name: None)
    assert find_server("") == ServerProgram(program)
    os.remove(program)
    with pytest.raises(SettingsError, match="PATH"):
        find_server("")
    with pytest.raises(SettingsError, match="not installed"):
        find_server("xllamacpp")


@pytest.mark.llm
async def test_a_template_with_a_syntax_error_is_told_and_a_plain_one_is_used(
    default_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = await asyncio.to_thread(odd_models.with_broken_template, default_model, tmp_path)
    async with started(engine_with(model, find_server("xllamacpp"))) as engine:
        assert "Paris" in (await engine.infer(request(), None)).text
    assert caplog.text.count("chat template cannot be used") == 1
