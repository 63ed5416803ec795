"""Makes a model fast for this CPU by storing its weights in a form that is quicker to compute with.

What was measured (one thread, AVX-512; SmolLM2-135M, perplexity over 8,164 tokens of answers):

    form   prompt tokens/s   output tokens/s   perplexity
    Q4_1   130 to 158        62 to 71          8.39
    Q8_0   280 to 380        67 to 77          8.41
    Q4_0   350 to 470        90 to 113         10.38    made from Q4_1: faster yet, but it loses quality

and for Gemma 3 270M: Q4_K_M 547 and 87, Q8_0 551 and 84. So forms without fast kernels become Q8_0, K-quants stay.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from edge_agent.children import helper, lines
from edge_agent.confinement import confined_environment
from edge_agent.files import put_in_place
from edge_agent.models.errors import ModelError
from edge_agent.models.gguf import GgufHeader
from edge_agent.models.progress import ProgressCallback, Stage

PARAMETERS_MAX = 600_000_000
"""Up to here Q8_0 costs at most some 640 MB, and reading that for every token still allows over 10 tokens a second on
a Raspberry Pi 5. Larger models are bound by memory: there fewer bits a weight are faster."""

SLOW_FORMS = frozenset({"Q4_1", "Q5_0", "Q5_1", "F32", "F16", "BF16"})  # computed without repacking in llama.cpp
WORKER_MODULE = "edge_agent.models.quantise_worker"
LOG_LINES_KEPT = 5


class Optimisation(StrEnum):
    """What to do with a model on arrival."""

    AUTO = "auto"
    KEEP = "keep"
    Q8_0 = "q8_0"
    Q4_0 = "q4_0"


@dataclass(frozen=True, slots=True)
class Choice:
    """The form to use (`Q8_0`, `Q4_0`), or the file's own, and why."""

    file_type: str
    reason: str


def choose(header: GgufHeader, wish: Optimisation) -> Choice:
    """Decides in which form a model is used here."""
    own = header.file_type
    if wish is Optimisation.KEEP:
        return Choice(own, f"{own} as published, as asked")
    if wish is not Optimisation.AUTO:
        wanted = wish.value.upper()
        loss = ", which may cost quality" if wanted == "Q4_0" else ""
        return Choice(wanted, f"{own} to {wanted}, as asked{loss}" if wanted != own else f"{own} as published")
    if own not in SLOW_FORMS:
        return Choice(own, f"{own} as published: no form is known to be faster without losing quality")
    if header.parameter_count > PARAMETERS_MAX:
        millions = header.parameter_count // 1_000_000
        return Choice(own, f"{own} as published: with {millions} million parameters memory decides, not arithmetic")
    return Choice("Q8_0", f"{own} to Q8_0: reads prompts about twice as fast on CPUs, with the same quality")


def can_requantise() -> bool:
    """Whether models can be made into another form here."""
    return find_spec("llama_cpp") is not None


def requantise(source: Path, target: Path, file_type: str, progress: ProgressCallback) -> None:
    """Writes the model in another form, in a child process (llama.cpp may crash on a broken file).

    Raises:
        ModelError: it did not work; `target` is then not there.
    """
    part = target.with_name(f"{target.name}.part")
    command = [sys.executable, "-P", "-m", WORKER_MODULE, str(source), str(part), file_type, str(_cores())]
    _make_empty(part)
    last_lines: deque[str] = deque(maxlen=LOG_LINES_KEPT)
    try:
        with helper(command, environment=confined_environment()) as child:
            for line in lines(child):
                done, _, total = line.partition("/")
                if done.isdigit() and total.isdigit():
                    progress(Stage.OPTIMISE, int(done), int(total))
                elif line:
                    last_lines.append(line)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if child.returncode != 0:
        part.unlink(missing_ok=True)
        why = last_lines[-1] if last_lines else f"status {child.returncode}"
        raise ModelError(f"{source.name} could not be made {file_type}: {why}")
    put_in_place(part, target)


def _make_empty(part: Path) -> None:
    """The child is confined: it may write into this file, and make none."""
    try:
        part.write_bytes(b"")
    except OSError as error:
        raise ModelError(f"cannot write {part}: {error.strerror}") from error


def _cores() -> int:
    return max(1, len(os.sched_getaffinity(0)))
