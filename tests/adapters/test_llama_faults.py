"""What becomes of inferences, child and agent when the model process dies, hangs or never starts."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from edge_agent.adapters.llama import LlamaEngine
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.messages import ChatMessage, Role, Sampling
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

pytestmark = pytest.mark.llm

STALL_TIMEOUT_S = 2.0  # of a child that was stopped; one that works has all the time it wants


def request(max_output_tokens: int = 4, text: str = "What is the capital of France?") -> StartInference:
    sampling = Sampling(max_output_tokens=max_output_tokens, temperature=0.0)
    return StartInference("item", (ChatMessage(Role.USER, text),), (), sampling, True)


@pytest.fixture
async def engine(default_model: Path) -> AsyncIterator[LlamaEngine]:
    engine = LlamaEngine(default_model, threads=1, context_tokens=1024, stall_timeout_s=PATIENCE_S)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def signal_child(engine: LlamaEngine, number: signal.Signals) -> int:
    pid = engine.child_pid
    assert pid is not None
    os.kill(pid, number)
    return pid


def kill(engine: LlamaEngine) -> int:
    return signal_child(engine, signal.SIGKILL)


def freeze(engine: LlamaEngine) -> int:
    """Stops the child, as a hang does. It alone is given a short time from now on, and no child after it."""
    pid = signal_child(engine, signal.SIGSTOP)
    child = engine._kept.process
    assert child is not None
    child._stall_timeout_s = STALL_TIMEOUT_S
    if child._owed_ids:
        assert child._watchdog is not None, "a child at work is watched"
        child._restart_watchdog()
    return pid


async def strike_in_mid_inference(engine: LlamaEngine, blow: Callable[[LlamaEngine], int]) -> tuple[int, EngineError]:
    """Strikes the child at the first piece of text; returns its process id and the error that comes of it."""
    struck: list[int] = []

    def strike(text: str) -> None:
        if not struck:
            struck.append(blow(engine))

    with pytest.raises(EngineError) as caught:
        await engine.infer(request(400, "Count from one to a thousand."), strike)
    return struck[0], caught.value


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_killed_child_costs_one_inference_and_comes_back_by_itself(engine: LlamaEngine) -> None:
    pid, error = await strike_in_mid_inference(engine, kill)
    assert error.retryable
    assert "SIGKILL" in error.detail
    result = await engine.infer(request(), None)  # at once, as the agent does
    assert result.output_tokens == 4
    assert engine.restarts == 1
    assert engine.child_pid not in (None, pid)
    assert is_gone(pid)


async def test_a_child_killed_while_idle_is_replaced_without_being_asked(engine: LlamaEngine) -> None:
    pid = signal_child(engine, signal.SIGKILL)
    await until(lambda: engine.child_pid not in (None, pid), "another child")
    assert engine.restarts == 1
    assert (await engine.infer(request(), None)).output_tokens == 4


async def test_a_hanging_child_is_killed_and_replaced(engine: LlamaEngine) -> None:
    pid, error = await strike_in_mid_inference(engine, freeze)
    assert error.retryable
    assert "no progress" in error.detail
    assert (await engine.infer(request(), None)).output_tokens == 4
    assert is_gone(pid)


async def test_a_child_that_hangs_is_killed_even_if_its_request_was_cancelled(engine: LlamaEngine) -> None:
    pid = freeze(engine)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await engine.infer(request(), None)
    await until(lambda: is_gone(pid), "the end of the hanging child")
    assert (await engine.infer(request(), None)).output_tokens == 4


async def test_an_engine_can_be_stopped_while_its_child_hangs(engine: LlamaEngine) -> None:
    pid = freeze(engine)
    waiting = asyncio.create_task(engine.infer(request(), None))
    await asyncio.sleep(0)
    await engine.stop()
    with pytest.raises(EngineError):
        await waiting
    assert is_gone(pid)


async def test_the_child_dies_with_its_parent(default_model: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"""
import asyncio
from pathlib import Path
from edge_agent.adapters.llama import LlamaEngine

async def main():
    engine = LlamaEngine(Path({str(default_model)!r}), threads=1, context_tokens=256)
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


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"", "not a GGUF"), (b"PK\x03\x04 a zip file", "not a GGUF")]
)
async def test_a_file_that_is_no_model_is_refused_in_one_line(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match=reason) as caught:
        await LlamaEngine(path, threads=1).start()
    assert not caught.value.retryable
    assert str(path) in caught.value.detail
    assert "\n" not in caught.value.detail


async def test_a_cut_off_model_is_refused_in_one_line_with_llama_cpps_reason(
    default_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.gguf"
    with default_model.open("rb") as whole:
        path.write_bytes(whole.read(4 * 1024 * 1024))
    engine = LlamaEngine(path, threads=1)
    with pytest.raises(EngineError, match="cannot load") as caught:
        await engine.start()
    assert not caught.value.retryable
    assert "\n" not in caught.value.detail
    assert engine.child_pid is None
    assert capfd.readouterr() == ("", "")
