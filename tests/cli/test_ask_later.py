"""What `moamesh ask` says to look up later works as it stands there."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.cli import mesh_address
from edge_agent.cli.exits import NO_WORD
from edge_agent.client import ClientSettings, MeshClient
from edge_agent.core.messages import AnswersPage, AnswersQuery, AnswerSummary, Message, Prompt, PromptReceipt, Standing
from tests.cli.test_live_commands import home
from tests.client.conftest import broker_url, own_broker
from tests.client.samples import answer, presence
from tests.client.scripted_device import ScriptedDevice, scripted_device
from tests.support.commands import moamesh_beside
from tests.support.patience import PATIENCE_S

__all__ = ["broker_url", "home", "own_broker"]
SAID = "it may still end: "


async def late(device: ScriptedDevice, message: Message) -> None:
    """Takes every prompt, and tells its answer to who asks for it later."""
    if isinstance(message, Prompt):
        await device.say(PromptReceipt(message.prompt_id, device.device_id, 600.0))
    if isinstance(message, AnswersQuery):
        line = AnswerSummary(message.prompt_id, "0", Standing.ANSWERED, 1.0, "", 7)
        whole = answer(message.prompt_id, device.device_id)
        await device.say(AnswersPage(message.query_id, device.device_id, (line,), whole, whole_s=60.0))


async def run(env: dict[str, str], *command: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


@pytest.mark.broker
@pytest.mark.parametrize("by", ["options", "variables"])
async def test_what_is_said_after_a_timeout_finds_the_answer_when_it_is_pasted(
    by: str, home: dict[str, str], broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = functools.partial(MeshClient, settings=ClientSettings(answer_timeout_s=0.2))
    monkeypatch.setattr(mesh_address, "MeshClient", impatient)
    password = tmp_path / "my pass's $HOME"
    password.write_text("secret\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    moamesh = tools / "moamesh"
    moamesh.write_text(f'#!/bin/sh\nexec {sys.executable} -m edge_agent.cli.main "$@"\n')
    moamesh.chmod(0o755)
    named = ("--broker", broker_url, "--mesh", "test", "--username", "user.alice", "--password-file", str(password))
    variables = {
        "MOAMESH_BROKER__URLS": broker_url,
        "MOAMESH_DEVICE__MESH": "test",
        "MOAMESH_BROKER__USERNAME": "user.alice",
        "MOAMESH_BROKER__PASSWORD_FILE": str(password),
    }
    shell = home | {"PATH": f"{tools}:{home['PATH']}"}
    async with scripted_device(broker_url, late) as device:
        await device.announce(presence())
        asking = ("ask", "why?", "--device", "device-1")
        if by == "options":
            asked = await moamesh_beside(home, *asking, *named)
        else:
            asked = await moamesh_beside(home | variables, *asking)
        assert asked.returncode == NO_WORD, asked.stderr
        (line,) = [line.removeprefix(SAID) for line in asked.stderr.splitlines() if line.startswith(SAID)]
        end, out, errors = await run(shell, "bash", "-c", line)
        assert (end, out) == (0, "because\n"), errors
