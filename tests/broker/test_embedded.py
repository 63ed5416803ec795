from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from broker import kinds
from broker.embedded import EmbeddedBroker
from broker.loopback import answers_connect
from edge_agent.children import ChildStartError
from edge_agent.mqtt import open_client
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker


async def test_a_client_can_publish_and_subscribe(any_broker: EmbeddedBroker) -> None:
    async with open_client(any_broker.url, client_id="c") as client:
        await client.subscribe("t", qos=1)
        await client.publish("t", b"hello", qos=1)
        async with asyncio.timeout(PATIENCE_S):
            assert (await anext(aiter(client.messages))).payload == b"hello"


async def test_a_large_message_passes_so_that_a_device_can_refuse_it_in_words(any_broker: EmbeddedBroker) -> None:
    async with open_client(any_broker.url, client_id="c") as client:
        await client.subscribe("t", qos=1)
        await client.publish("t", b"x" * 1_000_000, qos=1)
        async with asyncio.timeout(PATIENCE_S):
            assert len((await anext(aiter(client.messages))).payload) == 1_000_000


async def test_it_listens_on_loopback_only(any_broker: EmbeddedBroker) -> None:
    assert any_broker.pid is not None
    listening = [c for c in psutil.Process(any_broker.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert [(c.laddr.ip, c.laddr.port) for c in listening] == [("127.0.0.1", any_broker.port)]


def test_it_refuses_to_listen_elsewhere() -> None:
    with pytest.raises(ValueError, match="listens on the loopback interface only"):
        EmbeddedBroker(host="0.0.0.0")


async def test_a_restart_comes_back_on_the_same_port_and_forgets(any_broker: EmbeddedBroker) -> None:
    url, pid = any_broker.url, any_broker.pid
    await any_broker.restart()
    assert any_broker.url == url
    assert any_broker.pid != pid
    await any_broker.kill()
    assert not any_broker.running
    assert not await answers_connect("127.0.0.1", any_broker.port, PATIENCE_S)
    await any_broker.start()
    assert any_broker.url == url
    assert await answers_connect("127.0.0.1", any_broker.port, PATIENCE_S)


async def test_after_the_end_nothing_is_left(any_broker: EmbeddedBroker) -> None:
    pid, folder = any_broker.pid, any_broker._temporary
    assert pid is not None
    assert folder is not None
    assert await asyncio.to_thread(Path(folder).is_dir)
    await any_broker.stop()
    await any_broker.stop()
    assert not psutil.pid_exists(pid)
    assert not await asyncio.to_thread(Path(folder).exists)


@pytest.mark.parametrize("kind", ["mosquitto", "iotcore"])
async def test_a_taken_port_is_said_in_one_line(kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ChildStartError, match=f"{kind} did not start: port {port} is taken") as caught:
            await EmbeddedBroker(kind=kind, port=port).start()
        assert "\n" not in str(caught.value)


async def test_a_port_taken_by_another_broker_is_not_mistaken_for_ones_own(mosquitto: EmbeddedBroker) -> None:
    second = EmbeddedBroker(kind="mosquitto", port=mosquitto.port)
    with pytest.raises(ChildStartError):
        await second.start()
    assert not second.running
    assert mosquitto.running


async def test_it_dies_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from broker.embedded import EmbeddedBroker\n"
        "async def main():\n"
        "    async with EmbeddedBroker(kind=sys.argv[1]) as broker:\n"
        "        print(broker.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    for kind in kinds.KINDS:
        parent = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            kind,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        assert parent.stdout is not None
        pid = int(await parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.send_signal(signal.SIGKILL)
        await parent.wait()
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=PATIENCE_S)
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_better_broker_is_taken_first_and_a_missing_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kinds.choose() is kinds.MOSQUITTO
    assert kinds.MOSQUITTO.limitations == ""
    assert "MQTT 5 only" in EmbeddedBroker(kind="iotcore").limitations
    with pytest.raises(RuntimeError, match="choose one of mosquitto, iotcore"):
        kinds.choose("emqx")
    monkeypatch.setattr(kinds.shutil, "which", lambda *args, **kwargs: None)
    assert kinds.choose() is kinds.IOTCORE
    with pytest.raises(RuntimeError, match="apt install mosquitto"):
        kinds.choose("mosquitto")
