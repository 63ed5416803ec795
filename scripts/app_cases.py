"""Writes app/test/cases.json: values of the theory and bodies of messages as the device's own code has them, for the
app's tests to compare with.

python scripts/app_cases.py            writes
python scripts/app_cases.py --check    exits with 1 if the file is not what the code says
"""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path
from typing import Any

from edge_agent.core import messages as m
from edge_agent.core import stability
from edge_agent.wire import codec

PATH = Path(__file__).resolve().parent.parent / "app" / "test" / "cases.json"
THEORY_CASES = 40  # of each function: enough for every branch, few enough to read


def theory() -> list[dict[str, Any]]:
    """Returns calls of the formulas with their values; infinity is null."""
    draw = random.Random(2412)  # noqa: S311 - the same cases every time
    cases = []
    for _ in range(THEORY_CASES):
        layers, fanout, count = draw.randint(0, 4), draw.randint(0, 5), draw.randint(6, 12)
        time_s, rate_hz, load = draw.uniform(0.05, 20), draw.uniform(0, 0.2), draw.uniform(0, 1.1)
        times = [draw.uniform(0.05, 20) for _ in range(count)]
        rates = [draw.uniform(0, 0.2) for _ in range(count)]
        scv = draw.uniform(0, 3)
        cases += [
            _case("itemsPerPrompt", [layers, fanout], stability.items_per_prompt(layers, fanout)),
            _case("harmonicNumber", [count], stability.harmonic_number(count)),
            _case(
                "utilisation", [time_s, layers, fanout, rate_hz], stability.utilisation(time_s, layers, fanout, rate_hz)
            ),
            _case(
                "deviceUtilisations",
                [times, rates, layers, fanout],
                stability.device_utilisations(times, rates, layers, fanout),
            ),
            _case("meanRequestsWaiting", [load, scv], stability.mean_requests_waiting(load, scv)),
            _case(
                "endToEndLatencyS",
                [time_s, load, layers, fanout],
                stability.end_to_end_latency_s(time_s, load, layers, fanout),
            ),
        ]
    return cases


def _case(name: str, arguments: list[Any], value: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments, "value": None if value == math.inf else value}


def wire() -> list[dict[str, Any]]:
    """Returns a body of each message that a user receives, as a device writes it."""
    work = m.Contribution("device-2", "smol", 0.5, 1.25, 40, 12, 3, True)
    provenance = m.Provenance(
        device_id="device-1",
        layer_count=1,
        fanout=1,
        layers=((work, work),),
        aggregation=work,
        substitutes=(m.Substitute(1, "device-3", "device-4", "busy"),),
        missing=(m.Missing(1, "", "no peer left"),),
        policies=(("join", "wait-for-all"),),
        messages_sent=3,
        messages_received=2,
        decisions=(m.Decision(1, "judge", ("device-2",), True, "", work),),
    )
    entry = m.PeerEntry("device-1", "", "smol", "llama", 7, 9, 0, None)
    status = m.DeviceStatus(
        "device-1", "smol", False, 5.0, 1, 1, 0.5, 0.4, 32, 0.1, 2.5, 0.3, 0.6, 0.7, -0.1, 1, 2, 3, 4, 5, 6, 1, 3
    )
    messages: tuple[m.Message, ...] = (
        m.PromptReceipt("p1", "device-1", None),
        m.PromptRefusal("p1", "device-1", m.RefusalReason.OVERLOADED, "the queue is full", 4.5),
        m.LayerProgress("p1", 1, 2, ("device-1", "device-2"), ("device-2",)),
        m.TokenChunk("p1", 0, 'Grüße, "世界" 🌍\n'),
        m.Answer("p1", "device-1", m.Outcome.ANSWERED, "Hello", "", 12.5, provenance),
        m.Presence(entry, m.PresenceState.ONLINE, 32, "0.6.0"),
        status,
    )
    return [{"type": codec.TYPE_NAMES[type(message)], "body": codec.encode(message).decode()} for message in messages]


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    lines = [json.dumps(case, ensure_ascii=False) for case in theory()]
    bodies = [json.dumps(case, ensure_ascii=False) for case in wire()]
    text = '{"theory": [\n' + ",\n".join(lines) + '\n],\n"wire": [\n' + ",\n".join(bodies) + "\n]}\n"
    if arguments != ["--check"]:
        PATH.write_text(text, "utf-8")
    elif not PATH.exists() or PATH.read_text("utf-8") != text:
        print(f"{PATH} is not what the code says; run: python scripts/app_cases.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
