"""What becomes of inferences, child and agent when the model process dies, hangs or never starts: for both engines that
have one."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from edge_agent.adapters.llama import LlamaEngine
from edge_agent.adapters.llama_server import LlamaServerEngine, find_server
from edge_agent.adapters.llama_server.process import ServerProcess
from edge_agent.adapters.openai_engine import OpenAIEngine
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.messages import Sampling
from tests.adapters.engines import OWN, engine_of, request
from tests.support.polling import until

pytestmark = [pytest.mark.llm, pytest.mark.asyncio(loop_scope="module")]

STALL_TIMEOUT_S = 2.0  # of a child that was stopped; one that works has all the time it wants
OwnEngine = LlamaEngine | LlamaServerEngine


def asked(max_output_tokens: int = 4, text: str = "What is the capital of France?") -> StartInference:
    return request(text, sampling=Sampling(max_output_tokens=max_output_tokens, temperature=0.0))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=OWN)
async def engine(request: pytest.FixtureRequest, default_model: Path) -> AsyncIterator[OwnEngine]:
    async with engine_of(request.param, default_model, 1024) as engine:
        assert not isinstance(engine, OpenAIEngine)
        yield engine


def signal_child(engine: OwnEngine, number: signal.Signals) -> int:
    pid = engine.child_pid
    assert pid is not None
    os.kill(pid, number)
    return pid


def kill(engine: OwnEngine) -> int:
    return signal_child(engine, signal.SIGKILL)


def freeze(engine: OwnEngine) -> int:
    """Stops the child, as a hang does. It alone is given a short time from now on, and no child after it."""
    pid = signal_child(engine, signal.SIGSTOP)
    child = engine._kept.process
    if isinstance(child, ServerProcess):
        child.watchdog.stall_timeout_s = STALL_TIMEOUT_S
        child.watchdog.heard()
        return pid
    assert child is not None
    child._stall_timeout_s = STALL_TIMEOUT_S
    if child._owed_ids:
        assert child._watchdog is not None, "a child at work is watched"
        child._restart_watchdog()
    return pid


async def strike_in_mid_inference(engine: OwnEngine, blow: Callable[[OwnEngine], int]) -> tuple[int, EngineError]:
    """Strikes the child at the first piece of text; returns its process id and the error that comes of it."""
    struck: list[int] = []

    def strike(text: str) -> None:
        if not struck:
            struck.append(blow(engine))

    with pytest.raises(EngineError) as caught:
        await engine.infer(asked(400, "Count from one to a thousand."), strike)
    return struck[0], caught.value


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_killed_child_costs_one_inference_and_comes_back_by_itself(engine: OwnEngine) -> None:
    before = engine.restarts
    pid, error = await strike_in_mid_inference(engine, kill)
    assert error.retryable
    assert "SIGKILL" in error.detail
    result = await engine.infer(asked(), None)  # at once, as the agent does
    assert result.output_tokens == 4
    assert engine.restarts == before + 1
    assert engine.child_pid not in (None, pid)
    assert is_gone(pid)


async def test_a_child_killed_while_idle_is_replaced_without_being_asked(engine: OwnEngine) -> None:
    before = engine.restarts
    pid = signal_child(engine, signal.SIGKILL)
    await until(lambda: engine.child_pid not in (None, pid), "another child")
    assert engine.restarts == before + 1
    assert (await engine.infer(asked(), None)).output_tokens == 4


async def test_a_hanging_child_is_killed_and_replaced(engine: OwnEngine) -> None:
    pid, error = await strike_in_mid_inference(engine, freeze)
    assert error.retryable
    assert "no progress" in error.detail
    assert (await engine.infer(asked(), None)).output_tokens == 4
    assert is_gone(pid)


async def test_a_child_that_hangs_is_killed_even_if_its_request_was_cancelled(engine: OwnEngine) -> None:
    pid = freeze(engine)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await engine.infer(asked(), None)
    await until(lambda: is_gone(pid), "the end of the hanging child")
    assert (await engine.infer(asked(), None)).output_tokens == 4


async def test_an_engine_can_be_stopped_while_its_child_hangs(engine: OwnEngine) -> None:
    pid = freeze(engine)
    waiting = asyncio.create_task(engine.infer(asked(), None))
    await asyncio.sleep(0)
    await engine.stop()
    with pytest.raises(EngineError):
        await waiting
    assert is_gone(pid)
    await engine.start()  # for the tests after this one


MADE = {
    "llama": "from edge_agent.adapters.llama import LlamaEngine as Engine\noptions = ()",
    "llama-server": "from edge_agent.adapters.llama_server import LlamaServerEngine as Engine, find_server\n"
    "options = (find_server('xllamacpp'),)",
}


@pytest.mark.parametrize("kind", OWN)
async def test_the_child_dies_with_its_parent(kind: str, default_model: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"""
import asyncio
from pathlib import Path
{MADE[kind]}

async def main():
    engine = Engine(Path({str(default_model)!r}), *options, threads=1, context_tokens=256)
    await engine.start()
    Path({str(pid_file)!r}).write_text(f"{{engine.child_pid}}\\n")
    await asyncio.Event().wait()

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    try:
        await until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), "the child has started")
        child_pid = int(pid_file.read_text())
        os.kill(child_pid, signal.SIGSTOP)  # so that it can't just notice the end of its input
    finally:
        parent.kill()
        await parent.wait()
    await until(lambda: is_gone(child_pid), "the end of the child")


def of_kind(kind: str, path: Path) -> OwnEngine:
    return (
        LlamaEngine(path, threads=1)
        if kind == "llama"
        else LlamaServerEngine(path, find_server("xllamacpp"), threads=1)
    )


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"", "not a GGUF"), (b"PK\x03\x04 a zip file", "not a GGUF")]
)
async def test_a_file_that_is_no_model_is_refused_in_one_line(
    kind: str, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match=reason) as caught:
        await of_kind(kind, path).start()
    assert not caught.value.retryable
    assert str(path) in caught.value.detail
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize("kind", OWN)
async def test_a_cut_off_model_is_refused_in_one_line_with_llama_cpps_reason(
    kind: str, default_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.gguf"
    with default_model.open("rb") as whole:
        path.write_bytes(whole.read(4 * 1024 * 1024))
    engine = of_kind(kind, path)
    with pytest.raises(EngineError, match="cannot load") as caught:
        await engine.start()
    assert not caught.value.retryable
    assert "\n" not in caught.value.detail
    assert engine.child_pid is None
    assert capfd.readouterr() == ("", "")
