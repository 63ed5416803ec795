"""The numbers that docs/SECURITY.md names are those of the code."""

from __future__ import annotations

import re

from edge_agent import stillness
from edge_agent.adapters.llama.engine import STALL_TIMEOUT_S
from tests.docs.commands import ROOT


def security() -> str:
    return " ".join((ROOT / "docs/SECURITY.md").read_text(encoding="utf-8").split())


def test_how_long_a_model_process_may_be_silent() -> None:
    found = re.search(
        r"up to (\d+) s of computing without an answer .* once it does nothing, after (\d+) s", security()
    )
    assert found is not None
    assert tuple(map(float, found.groups())) == (stillness.COMPUTED_MAX_S, STALL_TIMEOUT_S)
