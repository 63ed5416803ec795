"""What is checked of a device among strangers: where a safeguard is taken away, somebody notices."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.core import ends, membership, peer_service, reception
from edge_agent.core.effects import SendToDevice
from tests.hostile import fuzz_core

TRIES = 60  # devices; most show it within a few


def found_within(tries: int) -> str:
    return next((played.found for number in range(tries) if (played := fuzz_core.play(f"{number}")).found), "")


def _answers_again(*_: Any) -> bool:
    return False


def _keeps_no_key(prompt_id: str, reply: Any) -> str:
    return f"anybody {prompt_id}"


def _tells_another(self: Any, _device: str, home: str, message: Any) -> None:
    self._context.out.append(SendToDevice("d9", home, message))


@pytest.mark.parametrize(
    ("where", "name", "instead", "noticed"),
    [
        (ends.Ends, "repeat", _answers_again, "worked on again"),
        (reception, "_session_key", _keeps_no_key, ""),
        (peer_service.PeerService, "_send", _tells_another, "nobody asked"),
    ],
)
def test_a_safeguard_that_is_gone_is_noticed(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, instead: Any, noticed: str
) -> None:
    monkeypatch.setattr(where, name, instead)
    found = found_within(TRIES)
    assert found, "nobody noticed"
    assert noticed in found


def test_a_table_without_a_bound_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "_DISCOVERED_MAX", 10**9)
    assert "_discovered has" in fuzz_core.play("0", 3_000, crowded=True).found
