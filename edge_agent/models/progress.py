"""How long steps tell how far they are. Whoever shows it decides how."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Stage(StrEnum):
    """A step of a pull. Counts are bytes, in `OPTIMISE` tensors."""

    WAIT = "wait"
    """Another process pulls the same model."""
    DOWNLOAD = "download"
    UNPACK = "unpack"
    VERIFY = "verify"
    OPTIMISE = "optimise"


ProgressCallback = Callable[[Stage, int, int], None]
"""Called with (stage, done, total); total is 0 while it is not known."""


def ignore_progress(stage: Stage, done: int, total: int) -> None:
    """Shows nothing."""
