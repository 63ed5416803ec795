"""Which llama.cpp runs a local fleet: the one compiled for this CPU, else the prebuilt one."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import final

from edge_agent.adapters.llama_server import find_server
from edge_agent.core.errors import SettingsError
from edge_agent.fleet.plan import EngineKind

COMPILED = "llama_cpp"
_CPU_INFO = Path("/proc/cpuinfo")
_CPU_INFO_BYTES_MAX = 64 * 1024  # the first core's lines tell
# What the prebuilt one, made for every machine of its kind, leaves out: the kernel's names, and those people know.
_LEFT_OUT = {
    "x86_64": {"avx512f": "AVX-512", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI"},
    "aarch64": {"asimddp": "dot products", "i8mm": "int8 matrices", "sve": "SVE"},
}


@final
@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine, and in one line which llama.cpp that is and what another would gain; "" where there is no other."""

    kind: EngineKind
    remark: str = ""


def choose_engine() -> EngineChoice:
    """Returns the engine for a fleet whose user named none.

    Raises:
        SettingsError: there is no llama.cpp here; says the ways out.
    """
    if find_spec(COMPILED) is not None:
        return EngineChoice(EngineKind.LLAMA)
    try:
        server = find_server("")
    except SettingsError:
        raise SettingsError(
            "no llama.cpp here: pip install 'moamesh[llama-server]' (prebuilt, seconds) or 'moamesh[llama]' (compiled "
            "for this CPU, minutes)"
        ) from None
    return EngineChoice(EngineKind.LLAMA_SERVER, f"llama.cpp: {server.name}; {_gain()}")


def _gain() -> str:
    unused = [name for flag, name in _LEFT_OUT.get(platform.machine(), {}).items() if flag in _cpu_flags()]
    if not unused:
        return "compiling it for this CPU would gain nothing known (`make install` does)"
    return f"compiled for this CPU it would use {', '.join(unused)} and read prompts faster: `make install`, minutes"


def _cpu_flags() -> set[str]:
    """What this CPU can, as the kernel says; nothing where it does not say."""
    try:
        with _CPU_INFO.open("rb") as file:
            text = file.read(_CPU_INFO_BYTES_MAX).decode("ascii", "replace")
    except OSError:
        return set()
    lines = (line.partition(":") for line in text.splitlines())
    return {flag for name, _, flags in lines if name.strip() in ("flags", "Features") for flag in flags.split()}
