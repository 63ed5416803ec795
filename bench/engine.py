"""The engine `llama` beside llama.cpp's own server: the same model file, prompts, threads and slots, in one run.

The prompts are those of a Mixture-of-Agents mesh: half of them plain, half with references to be combined. Each engine
does all of them, as many at once as it has slots; they take turns, round by round, so that both meet the same moods of
the machine. Work is counted twice: by the clock, and by the CPU time of the model's process, which other work on the
machine does not stretch.

    python -m bench.engine [PROMPTS.json] [--prompts 24] [--slots 1,2,4,8] [--rounds 1] [--threads 1] [--json]

PROMPTS.json: a list of objects with an `instruction` each, such as AlpacaEval's. Without it, paragraphs of our own
documents take their place.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from edge_agent.adapters.llama import LlamaEngine
from edge_agent.adapters.llama_server import LlamaServerEngine, find_server
from edge_agent.core.effects import StartInference
from edge_agent.core.messages import ChatMessage, Role, Sampling
from edge_agent.models import DEFAULT_MODEL, resolve

DOCUMENTS = Path(__file__).parents[1] / "docs"
CONTEXT_TOKENS = 2048
PROMPT_CHARS_MAX = 1_500  # the few that are longer would take the context
REFERENCES = 3
REFERENCE_TOKENS = 96
CANCELS = 20


@dataclass(frozen=True, slots=True)
class Turn:
    """What one engine did with all prompts: output tokens a second of the clock, and of its process's CPU."""

    clock_hz: float
    cpu_hz: float


Engine = LlamaEngine | LlamaServerEngine


def requests_of(path: Path | None, count: int, output_tokens: int) -> list[StartInference]:
    """Returns `count` plain prompts and as many with references, in turns. References are other prompts' words: what
    they say does not matter, their length does."""
    if path is not None:
        texts = [row["instruction"] for row in json.loads(path.read_text())]
    else:
        paragraphs = [part for page in sorted(DOCUMENTS.glob("*.md")) for part in page.read_text().split("\n\n")]
        texts = [f"Say this in one sentence: {part}" for part in paragraphs if part[:1].isalpha() and len(part) > 100]
    instructions = [text[:PROMPT_CHARS_MAX] for text in texts[: 4 * count]]
    words = " ".join(instructions).split()
    sampling = Sampling(max_output_tokens=output_tokens, temperature=0.0)
    requests = []
    for number, instruction in enumerate(instructions[:count]):
        chat = (ChatMessage(Role.USER, instruction),)
        first = number * REFERENCES * REFERENCE_TOKENS
        references = tuple(
            " ".join(words[(first + part * REFERENCE_TOKENS) % len(words) :][:REFERENCE_TOKENS])
            for part in range(REFERENCES)
        )
        requests.append(StartInference(f"plain {number}", chat, (), sampling, False))
        requests.append(StartInference(f"aggregation {number}", chat, references, sampling, False))
    return requests


async def do_all(engine: Engine, requests: list[StartInference]) -> Turn:
    """Has an engine do all requests, as many at once as it has slots."""
    assert engine.child_pid is not None
    process = psutil.Process(engine.child_pid)
    free = asyncio.Semaphore(engine.slots)

    async def one(request: StartInference) -> int:
        async with free:
            return (await engine.infer(request, None)).output_tokens

    cpu_s, began = sum(process.cpu_times()[:2]), time.perf_counter()
    tokens = sum(await asyncio.gather(*map(one, requests)))
    seconds = time.perf_counter() - began
    return Turn(tokens / seconds, tokens / (sum(process.cpu_times()[:2]) - cpu_s))


async def beside(requests: list[StartInference], slots: int, rounds: int, threads: int) -> list[tuple[Turn, Turn]]:
    """Returns what ours and the server did in each round."""
    path = resolve(DEFAULT_MODEL)
    ours = LlamaEngine(path, threads=threads, context_tokens=CONTEXT_TOKENS, slots=slots)
    peer = LlamaServerEngine(path, find_server(""), threads=threads, context_tokens=CONTEXT_TOKENS, slots=slots)
    turns = []
    for number in range(rounds):
        done: dict[int, Turn] = {}
        for engine in (ours, peer) if number % 2 == 0 else (peer, ours):
            await engine.start()  # anew in each round: what was read before must not be found in the cache
            try:
                done[id(engine)] = await do_all(engine, requests)
            finally:
                await engine.stop()
        turns.append((done[id(ours)], done[id(peer)]))
    return turns


async def cancel_times_s(threads: int) -> list[float]:
    """Returns how long it took from a cancel, in the midst of a long prompt, to the end of the next, short inference,
    less what that takes alone: the time to a free slot."""
    engine = LlamaEngine(resolve(DEFAULT_MODEL), threads=threads, context_tokens=CONTEXT_TOKENS)
    await engine.start()
    times = []
    try:
        for number in range(CANCELS):
            short = _one_token(f"Hi {number}")
            alone = time.perf_counter()
            await engine.infer(short, None)
            alone = time.perf_counter() - alone
            task = asyncio.create_task(engine.infer(_one_token(f"{number} " + "word " * 1_800), None))
            await asyncio.sleep(0.05 + 0.02 * number)
            began = time.perf_counter()
            task.cancel()
            await asyncio.wait([task])
            await engine.infer(short, None)
            times.append(max(time.perf_counter() - began - alone, 0.0))
    finally:
        await engine.stop()
    return times


def _one_token(text: str) -> StartInference:
    sampling = Sampling(max_output_tokens=1, temperature=0.0, seed=1)  # a seed: nothing is found in the cache
    return StartInference("one", (ChatMessage(Role.USER, text),), (), sampling, False)


def figures_of(turns: dict[int, list[tuple[Turn, Turn]]]) -> list[dict[str, Any]]:
    """Returns the figures: medians over the rounds, each beside its peer."""
    figures = []
    for slots, rounds in turns.items():
        for what in ("clock_hz", "cpu_hz"):
            ours = [getattr(mine, what) for mine, _ in rounds]
            peer = [getattr(its, what) for _, its in rounds]
            figures.append(_figure(f"output tokens/s, {slots} slots, by {what[:-3]}", ours, peer))
    if 1 in turns and 8 in turns:
        for what in ("clock_hz", "cpu_hz"):
            many = [getattr(mine, what) for mine, _ in turns[8]]
            one = [getattr(mine, what) for mine, _ in turns[1]]
            figures.append(_figure(f"8 slots beside 1 of its own, by {what[:-3]}", many, one))
    return figures


def _figure(name: str, ours: list[float], peer: list[float]) -> dict[str, Any]:
    ratios = [mine / its for mine, its in zip(ours, peer, strict=True)]
    return {
        "figure": name,
        "ours": round(statistics.median(ours), 2),
        "peer": round(statistics.median(peer), 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_spread": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="prompts")
    parser.add_argument("--prompts", type=int, default=24, help="plain ones, and as many with references")
    parser.add_argument("--output-tokens", type=int, default=48)
    parser.add_argument("--slots", default="1,2,4,8")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    said = parser.parse_args()
    requests = requests_of(said.file, said.prompts, said.output_tokens)

    async def measure() -> list[dict[str, Any]]:
        turns = {
            slots: await beside(requests, slots, said.rounds, said.threads) for slots in map(int, said.slots.split(","))
        }
        times = sorted(await cancel_times_s(said.threads))
        p95 = times[int(0.95 * (len(times) - 1))]
        cancel = {"figure": "cancel to a free slot, p95 of 20 in a long prompt (s)", "ours": round(p95, 3)}
        return [*figures_of(turns), {**cancel, "peer": 0.2, "ratio": round(p95 / 0.2, 3)}]

    figures = asyncio.run(measure())
    if said.json:
        print(json.dumps(figures, indent=1))
    else:
        for row in figures:
            print(f"{row['figure']:55} {row['ours']:>9} {row['peer']:>9}  ratio {row['ratio']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
