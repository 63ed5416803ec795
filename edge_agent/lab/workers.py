"""Processes that share long studies. They end with the one that began them, even if that is killed."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from edge_agent.children.parent import end_with


def worker_pool(jobs: int) -> ProcessPoolExecutor:
    """Returns a pool of processes: use it in the main thread. Each must be able to import this package.

    They are spawned, not forked: a progress bar has a thread of its own, and a fork with threads may hang.
    """
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=partial(end_with, os.getpid()))
