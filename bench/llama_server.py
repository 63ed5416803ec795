"""The engine `llama-server` beside the bare server: the same model file, prompts, threads and slots, in one run.

What is measured is what we add: prompts fitted, answers read token by token, confinement. The bare server runs in a
process of its own, unconfined, and is asked over loopback by a plain HTTP client, which waits for whole answers. They
take turns, round by round, and have the same priority, so that both meet the same moods of the machine.

    python -m bench.llama_server [PROMPTS.json] [--prompts 8] [--slots 4] [--rounds 3] [--threads 1] [--json]

PROMPTS.json: a list of objects with an `instruction` each, such as AlpacaEval's. Without it, paragraphs of our own
documents take their place. Half of the requests carry references.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from edge_agent.adapters.llama_server import LlamaServerEngine, find_server
from edge_agent.core.aggregation import build_chat
from edge_agent.core.effects import StartInference
from edge_agent.core.messages import ChatMessage, Role, Sampling
from edge_agent.engines.child_start import NICENESS
from edge_agent.models import DEFAULT_MODEL, resolve

DOCUMENTS = Path(__file__).parents[1] / "docs"
CONTEXT_TOKENS = 2048
PROMPT_CHARS_MAX = 1_500  # the few that are longer would take the context
REFERENCE_CHARS = 500
REFERENCES = 3
BARE = f"""
import os, sys, xllamacpp
os.nice({NICENESS})
model, slots, threads, context = sys.argv[1], *map(int, sys.argv[2:])
p = xllamacpp.CommonParams()
p.model.path, p.n_ctx, p.n_parallel, p.port, p.ui, p.verbosity = model, slots * context, slots, 0, False, 1
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""

Ask = Callable[[StartInference], Awaitable[int]]
"""Does one request; returns its output tokens."""


def requests_of(path: Path | None, count: int, output_tokens: int) -> list[StartInference]:
    """Returns plain requests and requests with references in turns, `count` in all."""
    if path is not None:
        texts = [row["instruction"] for row in json.loads(path.read_text())]
    else:
        paragraphs = [part for page in sorted(DOCUMENTS.glob("*.md")) for part in page.read_text().split("\n\n")]
        texts = [f"Say this in one sentence: {part}" for part in paragraphs if part[:1].isalpha() and len(part) > 100]
    sampling = Sampling(max_output_tokens=output_tokens, temperature=0.0)
    requests = []
    for number, text in enumerate(texts[:count]):
        others = [texts[(number + step) % len(texts)][:REFERENCE_CHARS] for step in range(1, REFERENCES + 1)]
        chat = (ChatMessage(Role.USER, text[:PROMPT_CHARS_MAX]),)
        requests.append(StartInference(f"{number}", chat, tuple(others) if number % 2 else (), sampling, True))
    return requests


async def tokens_per_s(requests: Sequence[StartInference], slots: int, ask: Ask) -> float:
    """Has all requests done, as many at once as there are slots; returns output tokens a second."""
    free = asyncio.Semaphore(slots)

    async def one(request: StartInference) -> int:
        async with free:
            return await ask(request)

    began = time.perf_counter()
    tokens = sum(await asyncio.gather(*map(one, requests)))
    return tokens / (time.perf_counter() - began)


async def ours(requests: Sequence[StartInference], slots: int, threads: int) -> float:
    """The engine's rate, from a fresh process."""
    engine = LlamaServerEngine(
        resolve(DEFAULT_MODEL), find_server("xllamacpp"), threads=threads, context_tokens=CONTEXT_TOKENS, slots=slots
    )

    async def ask(request: StartInference) -> int:
        return (await engine.infer(request, lambda text: None)).output_tokens

    await engine.start()
    try:
        return await tokens_per_s(requests, slots, ask)
    finally:
        await engine.stop()


async def bare(requests: Sequence[StartInference], slots: int, threads: int) -> float:
    """The bare server's rate, from a fresh process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BARE, str(resolve(DEFAULT_MODEL)), str(slots), str(threads), str(CONTEXT_TOKENS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # as our children are started: schedulers share by session
    )
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(base_url=address, timeout=None, trust_env=False) as client:

            async def ask(request: StartInference) -> int:
                chat = build_chat(request.messages, request.references)
                body = {
                    "messages": [{"role": message.role.value, "content": message.content} for message in chat],
                    "max_tokens": request.sampling.max_output_tokens,
                    "temperature": 0.0,
                }
                answer = (await client.post("/v1/chat/completions", json=body)).json()
                return int(answer["usage"]["completion_tokens"])

            return await tokens_per_s(requests, slots, ask)
    finally:
        process.kill()
        await process.communicate()


async def measure(
    requests: Sequence[StartInference], slots: int, rounds: int, threads: int
) -> tuple[list[float], list[float]]:
    """Returns the rates of ours and of the bare server, round by round."""
    mine, its = [], []
    for number in range(rounds):
        for rates, run in ((mine, ours), (its, bare)) if number % 2 == 0 else ((its, bare), (mine, ours)):
            rates.append(await run(requests, slots, threads))
    return mine, its


def figure_of(slots: int, mine: Sequence[float], its: Sequence[float]) -> dict[str, Any]:
    """Returns medians of the rounds, their ratio, and its spread over the rounds."""
    ratios = [one / other for one, other in zip(mine, its, strict=True)]
    return {
        "figure": f"output tokens/s of the engine llama-server, {slots} slots",
        "ours": statistics.median(mine),
        "peer": statistics.median(its),
        "ratio": statistics.median(ratios),
        "ratios": sorted(ratios),
    }


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("prompts_file", nargs="?", type=Path)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--slots", default="4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    requests = requests_of(options.prompts_file, options.prompts, options.tokens)
    figures = []
    for slots in map(int, options.slots.split(",")):
        figures.append(figure_of(slots, *asyncio.run(measure(requests, slots, options.rounds, options.threads))))
        if not options.json:
            last = figures[-1]
            spread = ", ".join(f"{ratio:.2f}" for ratio in last["ratios"])
            print(f"{last['figure']}: {last['ours']:.1f}, bare {last['peer']:.1f}: {last['ratio']:.2f} ({spread})")
    if options.json:
        print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
