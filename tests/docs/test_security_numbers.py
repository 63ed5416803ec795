"""The numbers that docs/SECURITY.md names are those of the code."""

from __future__ import annotations

import re

from bench.flood import MEMORY_MAX
from edge_agent import hangs
from edge_agent.adapters.llama.engine import STALL_TIMEOUT_S
from edge_agent.adapters.mqtt import MqttSettings
from edge_agent.adapters.mqtt.sender import UNDER_WAY_PART
from edge_agent.core.settings import AgentSettings
from edge_agent.runtime.host import INBOX_MAX
from tests.docs.commands import ROOT

MIB = 1024**2


def security() -> str:
    return " ".join((ROOT / "docs/SECURITY.md").read_text(encoding="utf-8").split())


def test_how_long_a_model_process_may_be_silent() -> None:
    found = re.search(
        r"up to (\d+) s of computing without an answer .* once it does nothing, after (\d+) s", security()
    )
    assert found is not None
    assert tuple(map(float, found.groups())) == (hangs.COMPUTED_MAX_S, STALL_TIMEOUT_S)


def test_the_ceiling_of_an_agents_memory_is_the_sum_of_its_bounds() -> None:
    whole, python, rest = re.findall(
        r"has a ceiling\*\*: (\d+) MiB .*? some (\d+) MiB of Python (.*?12 MiB)", security()
    )[0]
    mqtt, core = MqttSettings("a", "test", "mqtt://127.0.0.1:1"), AgentSettings()
    copies = mqtt.in_flight_max * mqtt.body_bytes_max
    # a message that is begun may go beyond the part that may be under way
    copies += mqtt.away_max * (mqtt.away_bytes_max // UNDER_WAY_PART + mqtt.body_bytes_max)
    parts = {
        "read": (INBOX_MAX + mqtt.incoming_max) * mqtt.body_bytes_max,
        "management": 3 * mqtt.raw_bytes_max,
        "queue": core.queue_bytes_max,
        "answers": core.answers_bytes_max,
        "home": mqtt.outgoing_bytes_max,
        "each elsewhere": mqtt.away_bytes_max,
        "unproven": mqtt.unproven_bytes_max,
        "copies": copies,
    }
    assert [int(number) * MIB for number in re.findall(r"(\d+) MiB", rest)] == list(parts.values())
    assert f"for {mqtt.away_max} brokers elsewhere" in rest
    others = (mqtt.away_max - 1) * mqtt.away_bytes_max
    assert int(python) * MIB + sum(parts.values()) + others <= int(whole) * MIB == MEMORY_MAX
