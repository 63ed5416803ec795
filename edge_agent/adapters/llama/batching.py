"""Continuous batching in the child: one step computes the next token of every answer and some of every prompt.

A request joins between two steps and leaves when it ends, whatever the others do. Answers come first in a step, a token
each; what room is left reads prompts in, in the order they came. A step that reads is broken off when one of its
requests is cancelled; the others' part of it is computed anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

from edge_agent.adapters.llama.job import PROGRESS_INTERVAL_S, Job
from edge_agent.adapters.llama.model import DecodeError, Model

READ_BESIDE_MAX = 128  # tokens of prompts in a step with answers under way, whose next token waits for them
ABORTABLE_FROM = 32  # tokens of prompts in a step: a smaller one is over at once, and asking costs some per cent


@final
class Batcher:
    """Steps through the jobs that it was given.

    is_cancelled: whether the parent no longer wants a request; may change at any time, by another thread.
    flush: has what the jobs have sent go out, in the midst of a long step.
    """

    def __init__(self, model: Model, is_cancelled: Callable[[int], bool], flush: Callable[[], None]) -> None:
        self._model = model
        self._is_cancelled = is_cancelled
        self._flush = flush
        self._jobs: list[Job] = []

    @property
    def jobs(self) -> list[Job]:
        """Those that have not ended, in the order they came."""
        return self._jobs

    def add(self, job: Job) -> None:
        """Takes a job up."""
        self._jobs.append(job)

    def step(self) -> list[Job]:
        """Computes one batch; returns the jobs that have ended."""
        for job in self._jobs:
            if self._is_cancelled(job.request.id):
                job.cancelled()
        alive = [job for job in self._jobs if not job.ended]
        if alive:
            try:
                self._compute(alive)
            except DecodeError:
                self._compute_apart(alive)
        ended = [job for job in self._jobs if job.ended]
        self._jobs = [job for job in self._jobs if not job.ended]
        return ended

    def _compute(self, jobs: list[Job]) -> None:
        shares = self._fill(jobs)
        read = sum(count for job, count in shares if job.reads)
        try:
            whole = self._model.compute(self._abort(jobs) if read >= ABORTABLE_FROM else None)
        except DecodeError:
            self._undo(shares)
            raise
        if not whole:
            self._undo(shares)
            return
        for job, count in shares:
            job.computed(count)
        for job, _ in shares:
            self._go_on(job)

    def _fill(self, jobs: list[Job]) -> list[tuple[Job, int]]:
        """Makes the batch; returns whose tokens it has, and how many."""
        model = self._model
        model.begin_batch()
        shares: list[tuple[Job, int]] = []
        answering = [job for job in jobs if not job.reads]
        room = model.batch_room - len(answering)
        if answering:
            room = min(room, READ_BESIDE_MAX)
        for job in (*answering, *(job for job in jobs if job.reads)):
            count = len(job.owed) if not job.reads else min(len(job.owed), room)
            job.place = -1
            if not count:
                continue
            room -= count if job.reads else 0
            begin, last = len(job.sequence.tokens), len(job.owed) - 1
            for offset in range(count):
                wanted = offset == last
                place = model.add(job.owed[offset], begin + offset, job.sequence.number, wanted=wanted)
                if wanted:
                    job.place = place
            shares.append((job, count))
        return shares

    def _go_on(self, job: Job) -> None:
        """Draws the next token of a job, if it is so far. A defect in one costs that one."""
        try:
            if job.place >= 0:
                job.take(job.sampler.draw(job.place))
            else:
                job.live()
        except Exception as error:
            job.failed(f"llama.cpp failed: {type(error).__name__}: {error}")

    def _compute_apart(self, jobs: list[Job]) -> None:
        """After a batch that could not be computed: each on its own, so that only whose fault it is fails."""
        for job in jobs:
            try:
                self._compute([job])
            except DecodeError as error:
                job.failed(f"llama.cpp failed: {error}")

    def _undo(self, shares: list[tuple[Job, int]]) -> None:
        """Takes out of the cache what an unfinished batch left there."""
        for job, _ in shares:
            keep_only(self._model, job, len(job.sequence.tokens))

    def _abort(self, jobs: list[Job]) -> Callable[[], bool]:
        ids = [job.request.id for job in jobs]
        told_at = time.monotonic()

        def asked() -> bool:
            nonlocal told_at
            now = time.monotonic()
            if now - told_at >= PROGRESS_INTERVAL_S:
                told_at = now
                for job in jobs:
                    job.live()
                self._flush()
            return any(map(self._is_cancelled, ids))

        return asked


def keep_only(model: Model, job: Job, kept: int) -> None:
    """Has a job's sequence hold its first `kept` tokens and nothing else; where the model's cache cannot forget a part,
    nothing at all, and the job starts over."""
    sequence = job.sequence
    del sequence.tokens[kept:]
    if not model.forget(sequence.number, kept):
        model.forget(sequence.number, -1)
        job.start_over()
