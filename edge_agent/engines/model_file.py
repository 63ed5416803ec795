"""The model file of an engine that loads one: looked at before each load, without llama.cpp."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from edge_agent.core.errors import EngineError, MoameshError

GGUF_MAGIC = b"GGUF"


@final
@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file.

    verify: called on a thread; raises a `MoameshError` if the file is not what it must be. It is given a function that
        is true once nobody waits for it any more. `None`: nobody knows a checksum.
    """

    path: Path
    verify: Callable[[Callable[[], bool]], None] | None = None

    async def check(self) -> int:
        """Returns its size in bytes.

        Raises:
            EngineError: it is not there, no GGUF file, or not what it must be. Not retryable.
        """
        size = check_file(self.path)
        if self.verify is not None:
            gone = threading.Event()
            try:
                await asyncio.to_thread(self.verify, gone.is_set)  # it may have to be read from end to end
            except MoameshError as error:
                raise EngineError(str(error), retryable=False) from error
            finally:
                gone.set()
        return size


def check_file(path: Path) -> int:
    """Returns the size of a model file in bytes.

    Raises:
        EngineError: it cannot be read, or is no GGUF file.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
        size = path.stat().st_size
    except OSError as error:
        raise EngineError(f"cannot read the model {path}: {error.strerror}", retryable=False) from None
    if magic != GGUF_MAGIC:
        raise EngineError(f"{path} is not a GGUF model file", retryable=False)
    return size
