"""`moamesh broker`, as its users run it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Ended, moamesh, moamesh_beside
from tests.support.ejabberd import HOSTS
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_ports
from tests.support.secured import HOST

pytestmark = pytest.mark.broker

COMMAND = (sys.executable, "-m", "edge_agent.cli.main")


class Operator:
    """A user with a mesh folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MOAMESH_")},
            "MOAMESH_HOME": str(folder),
        }
        self.mesh = folder / "meshes" / "home"
        self.device_port, self.password_port, self.node_port = free_ports(3)
        self.url = f"mqtts://{HOST}:{self.device_port}"
        claims = f"mqtts://{HOST}:{self.password_port}"
        self.do("mesh", "create", "home", "--broker", self.url, "--claim-broker", claims)

    def do(self, *arguments: str) -> Ended:
        return moamesh(self.environment, *arguments)

    @contextlib.asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[dict[str, Any]]:
        """`moamesh broker run --json`, and what it says once it is up; stopped as by Ctrl-C."""
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, "broker", "run", "--json", *arguments), env=self.environment, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                yield json.loads(await process.stdout.readline())
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            async with asyncio.timeout(PATIENCE_S):
                assert await process.wait() == 130

    async def check(self, *more: str) -> Ended:
        return await moamesh_beside(self.environment, "broker", "check", self.url, *more)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """One for all tests: what each of them leaves in the mesh's folder is what an operator's would hold."""
    return Operator(tmp_path_factory.mktemp("operator"))


async def test_a_mesh_s_mosquitto_runs_and_passes_its_check_with_guests_that_leave_no_trace(operator: Operator) -> None:
    async with operator.running("--mode", "mosquitto", "--host", HOST, "--no-web") as shown:
        assert (shown["devices"], shown["passwords"], shown["mesh"]) == (
            operator.device_port,
            operator.password_port,
            "home",
        )
        checked = await operator.check("--json")
        report = json.loads(checked.stdout)
        assert (checked.returncode, report["ok"], report["untried"]) == (0, True, [])
        assert report["counts"]["allowed"] > 75
        assert report["counts"]["leak"] == report["counts"]["missing"] == 0
        who = {result["who"] for result in report["results"]}
        assert {"device", "operator", "user", "user of one device", "unclaimed device"} < who
    assert not (operator.mesh / "broker" / "guests.json").exists()
    assert json.loads(operator.do("user", "list", "--json").stdout)["users"] == []
    assert json.loads(operator.do("device", "list", "--json").stdout)["devices"] == []


async def test_a_cluster_node_runs_and_passes_the_same_check(operator: Operator) -> None:
    node = ("--node", f"one@{HOSTS[0]}", "--cluster-node", f"two@{HOSTS[1]}", "--node-port", str(operator.node_port))
    async with operator.running("--mode", "cluster", "--host", HOST, "--no-web", *node) as shown:
        assert shown["running"] == f"one@{HOSTS[0]}"
        checked = await operator.check()
        assert (checked.returncode, "not tried" in checked.stdout) == (0, False), checked.stdout
        assert re.search(r"DEVICE/presence +wr +-r", checked.stdout)
        found = re.search(r"^\d+ things tried: (\d+) allowed, \d+ refused, \d+ unseen$", checked.stdout, re.MULTILINE)
        assert found is not None, checked.stdout
        assert int(found[1]) > 75
    cookie = operator.mesh / "cluster.cookie"
    assert stat.S_IMODE(cookie.stat().st_mode) == 0o600


async def test_the_embedded_broker_says_what_iotcore_cannot_do(operator: Operator) -> None:
    async with operator.running("--kind", "iotcore") as shown:
        assert shown["limitations"].startswith("iotcore: MQTT 5 only")
        assert shown["url"].startswith("mqtt://127.0.0.1:")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--host", "0.0.0.0"), "listens on loopback only: use --mode mosquitto"),
        (("run", "--mode", "cluster"), "--node NAME@HOST"),
        (("run", "--mode", "cluster", "--node", "no name"), "must be NAME@HOST"),
        (("run", "--mode", "per-device"), "--config agent.toml"),
        (("run", "--mode", "mosquitto", "--mesh", "nowhere"), "no mesh 'nowhere'"),
        (("run", "--mode", "mosquitto", "--name", "b@d"), "b@d"),
        (("check", "mqtts://127.0.0.1:1"), "Connection refused"),
        (("check", "https://example.org"), "must be mqtts://host:port"),
        (("check", "mqtts://127.0.0.1:0"), "must be mqtts://host:port"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(operator: Operator, arguments: tuple[str, ...], said: str) -> None:
    done = operator.do("broker", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_rendered_folder_is_all_that_mosquitto_needs_and_names_where_it_will_lie(
    operator: Operator, tmp_path: Path
) -> None:
    folder = tmp_path / "for the broker"
    done = operator.do("broker", "render", str(folder), "--at", "/etc/moamesh/broker", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert {"mosquitto.conf", "devices.acl", "people.acl", "moamesh-broker.service"} < set(shown["files"])
    config = (folder / "mosquitto.conf").read_text()
    named = set(re.findall(r"/etc/moamesh/broker/(\S+)", config))
    assert named <= set(shown["files"])
    assert str(folder) not in config
    assert "user root" not in config
    unit = (folder / "moamesh-broker.service").read_text()
    for line in ("Restart=always", "NoNewPrivileges=yes", "ProtectSystem=strict", "User=mosquitto", "ExecReload="):
        assert line in unit
