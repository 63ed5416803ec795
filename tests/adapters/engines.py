"""The three engines that run a real language model, each as a device would have it, for tests that hold for all."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from edge_agent.adapters.llama import LlamaEngine
from edge_agent.adapters.llama_server import LlamaServerEngine, find_server
from edge_agent.adapters.openai_engine import OpenAIEngine
from edge_agent.core.effects import StartInference
from edge_agent.core.messages import ChatMessage, Role, Sampling
from tests.conftest import missing
from tests.support.patience import PATIENCE_S

API_KEY = "sk-not-to-be-seen"
OWN = ("llama", "llama-server")
"""Engines with a process of their own."""
ALL = (*OWN, "openai")
Engine = TypeVar("Engine", LlamaEngine, LlamaServerEngine, OpenAIEngine)
ModelEngine = LlamaEngine | LlamaServerEngine | OpenAIEngine


def request(
    text: str = "What is the capital of France",
    *,
    references: tuple[str, ...] = (),
    stream: bool = True,
    sampling: Sampling | None = None,
) -> StartInference:
    """An item; by default one with a short answer of which every engine says the same."""
    sampling = sampling or Sampling(max_output_tokens=8, temperature=0.0)
    return StartInference("item", (ChatMessage(Role.USER, text),), references, sampling, stream)


@asynccontextmanager
async def engine_of(
    kind: str, model: Path, context_tokens: int, *, stall_timeout_s: float = PATIENCE_S
) -> AsyncIterator[ModelEngine]:
    """A started engine of this kind with one slot; its context is the server's where it has one of somebody else's."""
    if kind != "llama" and importlib.util.find_spec("xllamacpp") is None:
        missing("xllamacpp, which holds llama.cpp's own server, is not installed")
    if kind == "openai":
        async with (
            llama_server(model, context_tokens) as address,
            started(OpenAIEngine(address, "smollm2", API_KEY)) as away,
        ):
            yield away
        return
    options: dict[str, Any] = {"threads": 1, "context_tokens": context_tokens, "stall_timeout_s": stall_timeout_s}
    if kind == "llama":
        async with started(LlamaEngine(model, **options)) as own:
            yield own
    else:
        async with started(LlamaServerEngine(model, find_server("xllamacpp"), **options)) as child:
            yield child


@asynccontextmanager
async def started(engine: Engine) -> AsyncIterator[Engine]:
    """Starts and in the end stops it."""
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@asynccontextmanager
async def llama_server(model: Path, context_tokens: int = 1024) -> AsyncIterator[str]:
    """The address of llama.cpp's own server, run by somebody else on loopback."""
    program = Path(__file__).with_name("llama_server.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(program), str(model), API_KEY, str(context_tokens)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            address = (await process.stdout.readline()).decode().strip()
        yield address
    finally:
        process.kill()
        await process.communicate()
