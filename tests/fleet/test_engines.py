"""Which llama.cpp a fleet gets whose user named none."""

from __future__ import annotations

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.fleet import engines
from edge_agent.fleet.engines import choose_engine
from edge_agent.fleet.plan import EngineKind


def only(*packages: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("edge_agent.fleet.engines", "edge_agent.adapters.llama_server.programs"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: name if name in packages else None)
    monkeypatch.setenv("PATH", "")


def test_the_compiled_one_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    only("llama_cpp", "xllamacpp", monkeypatch=monkeypatch)
    assert choose_engine() == engines.EngineChoice(EngineKind.LLAMA)


@pytest.mark.parametrize(("flags", "gain"), [({"avx2", "avx512f"}, "AVX-512"), ({"avx2"}, "nothing known")])
def test_else_the_prebuilt_one_and_what_compiling_would_gain_is_said(
    flags: set[str], gain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("xllamacpp", monkeypatch=monkeypatch)
    monkeypatch.setattr(engines.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(engines, "_cpu_flags", lambda: flags)
    choice = choose_engine()
    assert choice.kind is EngineKind.LLAMA_SERVER
    assert "xllamacpp" in choice.remark
    assert gain in choice.remark
    assert "make install" in choice.remark
    assert "\n" not in choice.remark


def test_without_either_both_ways_out_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch=monkeypatch)
    with pytest.raises(SettingsError, match=r"llama-server\].*llama\]"):
        choose_engine()
