"""Many prompts at once: who asks what, how fast, and how each ended."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.cli.results import AskResult, DeviceDiedError, End
from edge_agent.client import AskTimeoutError, MeshClient, NoReceiptError
from edge_agent.core.messages import Answer, DeviceToUser, PromptOptions, PromptRefusal, RefusalReason
from edge_agent.tasks import OvertakenError, gathered, unless

OVERLOAD_RETRIES_MAX = 20  # a batch is patient, but a device that is overloaded for minutes is a result, too
RETRY_AFTER_S = 2.0  # where a refusal names no time
RETRY_AFTER_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """A prompt for one device. `number` is its place in the batch."""

    number: int
    prompt: str
    device_id: str
    options: PromptOptions


@dataclass(frozen=True, slots=True)
class Pace:
    """How prompts are let go: at most `concurrency` under way; or, with a rate, as a Poisson stream of that many a
    second over all devices, whatever is under way (open loop, as in the theory)."""

    concurrency: int = 1
    rate_hz: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Observer:
    """What to call while a batch runs; both must be quick and not raise."""

    on_message: Callable[[Job, DeviceToUser], None]
    on_end: Callable[[Job, AskResult], None]


DiesWith = Callable[[str], Awaitable[None]]
"""Returns once the device with this id has died for good; a device of another host is never known to have."""


async def run_batch(
    client: MeshClient, jobs: Sequence[Job], pace: Pace, observer: Observer, dies_with: DiesWith | None = None
) -> list[AskResult]:
    """Asks everything; returns the results in the order of `jobs`. A prompt that fails does not stop the others.

    With `dies_with` the prompts of a device that died end at once instead of at their deadline.
    """
    results: dict[int, AskResult] = {}
    free = asyncio.Semaphore(len(jobs) if pace.rate_hz is not None else pace.concurrency)
    gaps = random.Random(pace.seed)  # noqa: S311 - a workload, no secret

    async def one(job: Job) -> None:
        try:
            result = await ask_patiently(client, job, observer.on_message, dies_with)
        finally:
            free.release()
        results[job.number] = result
        observer.on_end(job, result)

    async with gathered() as tasks:
        for job in jobs:
            await free.acquire()
            tasks.create_task(one(job), name=f"prompt-{job.number}")
            if pace.rate_hz is not None:
                await asyncio.sleep(gaps.expovariate(pace.rate_hz))
    return [results[job.number] for job in jobs]


async def ask_patiently(
    client: MeshClient,
    job: Job,
    on_message: Callable[[Job, DeviceToUser], None],
    dies_with: DiesWith | None = None,
) -> AskResult:
    """Asks once, and again while the device says that it is overloaded, within bounds."""
    begun_at = time.monotonic()
    for attempt in range(OVERLOAD_RETRIES_MAX + 1):
        asking = client.ask_to_end(
            job.device_id, job.prompt, job.options, on_message=lambda message: on_message(job, message)
        )
        end: End
        try:
            end = await (asking if dies_with is None else _unless_died(asking, job.device_id, dies_with))
        except (NoReceiptError, AskTimeoutError, DeviceDiedError) as error:
            end = error
        overloaded = isinstance(end, PromptRefusal) and end.reason is RefusalReason.OVERLOADED
        if not overloaded or attempt == OVERLOAD_RETRIES_MAX:
            break
        await asyncio.sleep(_retry_after_s(end))
    return AskResult(job.prompt, job.device_id, end, time.monotonic() - begun_at)


async def _unless_died(
    asking: Coroutine[Any, Any, Answer | PromptRefusal], device_id: str, dies_with: DiesWith
) -> Answer | PromptRefusal:
    try:
        return await unless(asking, dies_with(device_id))
    except OvertakenError:
        raise DeviceDiedError(f"{device_id} died before it answered") from None


def _retry_after_s(end: End) -> float:
    wanted_s = end.retry_after_s if isinstance(end, PromptRefusal) else None
    return min(RETRY_AFTER_MAX_S, RETRY_AFTER_S if wanted_s is None else wanted_s)
