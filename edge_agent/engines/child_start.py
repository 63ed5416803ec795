"""What a process that holds a model does first of all, before it is shut in. Standard library alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

OOM_SCORE_ADJUSTMENT = "500"  # of 1000: when memory runs out, this process goes and the agent stays
NICENESS = 5  # the agent's answers to peers, due within two seconds, come before a token
MODEL_PARTS_MAX = 1_000  # models have some dozens


def model_files(path: Path) -> list[Path]:
    """The files that llama.cpp opens for a model: its own, or all parts of one that is cut into several."""
    stem, separator, count = path.stem.rpartition("-of-")
    if not separator or not count.isdecimal() or not stem[-5:].isdecimal():
        return [path]
    parts = min(int(count), MODEL_PARTS_MAX)
    return [
        path,
        *(path.with_name(f"{stem[:-5]}{number:05}-of-{count}{path.suffix}") for number in range(1, parts + 1)),
    ]


def yield_to_agent() -> None:
    """Lets the agent go first, where it wants the processor and when memory runs out."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJUSTMENT)
