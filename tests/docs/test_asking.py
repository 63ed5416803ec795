"""What docs/ASKING.md shows is run as it stands there, against live devices. (FROM-A-SHELL.md: tests/cli.)"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from tests.docs.commands import ROOT
from tests.support.patience import PATIENCE_S

pytestmark = [pytest.mark.broker, pytest.mark.asyncio(loop_scope="module")]

_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


def block(document: str, holds: str) -> str:
    """The one code block of a document that holds this text."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = [match["code"] for match in _BLOCK.finditer(text) if holds in match["code"]]
    assert len(found) == 1, f"{document} shows {holds!r} {len(found)} times"
    return found[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalFleet]:
    """Four devices as `moamesh up` starts them, with declared service times."""
    plan = FleetPlan(4, EngineKind.SYNTHETIC, service="deterministic:0.05", web=False)
    async with LocalFleet(plan, folder=tmp_path_factory.mktemp("fleet")) as running:
        yield running


async def run(*command: str) -> str:
    """Returns what a program says on stdout."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


def on_port(shell: str, port: int) -> str:
    """A shell block against another port than MQTT's own."""
    return re.sub(r"\b(mosquitto_(?:pub|sub|rr))\b", rf"\1 -p {port}", shell)


async def test_the_program_in_python_gets_its_answer(fleet: LocalFleet) -> None:
    program = block("docs/ASKING.md", "Mesh(").replace("mqtt://127.0.0.1:1883", fleet.url)
    out = await run(sys.executable, "-c", program)
    assert re.search(r"\[synthetic\].*\nanswered by device-\d in \d+\.\d s\n$", out, re.DOTALL)


async def test_a_shell_with_mqtt_5_gets_the_receipt_by_its_response_topic(fleet: LocalFleet) -> None:
    out = await run("bash", "-c", on_port(block("docs/ASKING.md", "mosquitto_rr"), fleet.broker.port))
    receipt = json.loads(out)
    assert receipt["type"] == "prompt-receipt"
    assert receipt["prompt_id"] == "p2"
