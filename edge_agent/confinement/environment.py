"""The environment of a confined process: a list of what it may have, so that a new secret is left out by itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import edge_agent

ALLOWED = frozenset(
    {
        "PATH",  # libraries look for tools in it; none can be started
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",  # templates write the date
        "PYTHONHOME",
        "PYTHONUTF8",
        "PYTHONDONTWRITEBYTECODE",
        "LD_LIBRARY_PATH",  # where llama.cpp's libraries lie if not in the system's places
        "DYLD_LIBRARY_PATH",
        "LLAMA_CPP_LIB_PATH",
        "OMP_NUM_THREADS",
        "OMP_WAIT_POLICY",
        "OMP_PROC_BIND",
        "OMP_PLACES",
        "GOMP_CPU_AFFINITY",
        "GOMP_SPINCOUNT",
    }
)
"""What is passed on. Neither HOME nor anything of MOAMESH_, HF_, AWS_ or a proxy, whose address may hold a password."""

FIXED = {"OPENBLAS_NUM_THREADS": "1"}  # numpy's; it only holds logits, and its threads would reserve memory


def confined_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns the environment for a confined Python process that finds this very package, installed or not.

    given: what to choose from, by default this process's own environment.
    """
    source = os.environ if given is None else given
    here = str(Path(edge_agent.__file__).resolve().parent.parent)
    python_path = source.get("PYTHONPATH")
    chosen = {name: value for name, value in source.items() if name in ALLOWED}
    return chosen | FIXED | {"PYTHONPATH": f"{here}{os.pathsep}{python_path}" if python_path else here}
