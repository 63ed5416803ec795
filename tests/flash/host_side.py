"""What runs on the operator's machine: the mesh's broker and service, a user, and a device of its own, all real
commands."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.flash.guest import HOST_AS_SEEN_BY_GUEST, POLL_S

COMMAND = (sys.executable, "-m", "edge_agent.cli.main")
MESH = "home"
START_S = 120.0  # on a machine that also emulates another


class HostSide:
    """A mesh in a folder of its own."""

    def __init__(self, folder: Path, device_port: int, password_port: int) -> None:
        self.folder = folder
        self._ports = device_port, password_port
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("MOAMESH_")} | {
            "MOAMESH_HOME": str(folder / "data")
        }

    @property
    def broker_here(self) -> str:
        """The broker's URL for who runs on this machine."""
        return f"mqtts://127.0.0.1:{self._ports[0]}"

    @property
    def broker_for_guest(self) -> str:
        """The same broker's URL inside the emulated machine."""
        return f"mqtts://{HOST_AS_SEEN_BY_GUEST}:{self._ports[0]}"

    def run(self, *arguments: str, timeout_s: float = START_S) -> Any:
        """Runs a command to its end and returns its JSON."""
        done = subprocess.run(
            [*COMMAND, *arguments, "--json"], env=self._environment, capture_output=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr.decode()}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    @contextlib.contextmanager
    def service(self, name: str, *arguments: str) -> Iterator[Path]:
        """Runs a command that goes on, its log in a file."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen([*COMMAND, *arguments], env=self._environment, stdout=file, stderr=file)
        try:
            yield log
            assert process.poll() is None, log.read_text()
        finally:
            process.terminate()
            try:
                process.wait(60.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextlib.contextmanager
    def mesh(self) -> Iterator[None]:
        """The mesh with its broker and its service."""
        device_port, password_port = self._ports
        claim_broker = f"mqtts://{HOST_AS_SEEN_BY_GUEST}:{password_port}"
        self.run("mesh", "create", MESH, "--broker", self.broker_for_guest, "--claim-broker", claim_broker)
        self.run("user", "add", "ada", "--mesh", MESH, "--output", str(self.folder / "ada.password"))
        broker = ("broker", "run", "--mode", "mosquitto", "--mesh", MESH, "--host", "127.0.0.1", "--no-web")
        with (
            self.service("broker", *broker, "--port", str(device_port), "--name", "127.0.0.1") as log,
            self.service("serve", "mesh", "serve", MESH, "--broker", self.broker_here),
        ):
            until(lambda: "take effect" in log.read_text(), START_S, lambda: log.read_text())
            yield

    @contextlib.contextmanager
    def member(self, name: str) -> Iterator[None]:
        """A device on this machine: invited, claimed, running."""
        identity = self.folder / name / "identity"
        config = self.folder / name / "agent.toml"
        config.parent.mkdir()
        config.write_text(
            f'[device]\nid = "{name}"\nmesh = "{MESH}"\ndata_dir = "{self.folder / name}"\n'
            f'[broker]\nurls = ["{self.broker_here}"]\naliases = ["{self.broker_for_guest}"]\n'
            f'ca_file = "{identity}/ca.pem"\ncrl_file = "{identity}/crl.pem"\n'
            f'cert_file = "{identity}/identity.pem"\nkey_file = "{identity}/identity.pem"\n'
            '[engine]\nkind = "synthetic"\nservice = "deterministic:0.2"\n'
        )
        claim = self.folder / f"{name}.claim"
        self.run("device", "invite", name, "--mesh", MESH, "--output", str(claim))
        # the invitation names the broker as the guest sees it
        invitation = json.loads(claim.read_text())
        invitation["claim_broker"] = f"mqtts://127.0.0.1:{self._ports[1]}"
        claim.write_text(json.dumps(invitation))
        self.run("device", "claim", str(claim), "--config", str(config), "--timeout", str(START_S))
        assert not claim.exists()
        with self.service(name, "agent", "--config", str(config)):
            yield

    def ask(self, device: str, prompt: str, timeout_s: float, *, layers: int, fanout: int) -> dict[str, Any]:
        """A user's prompt and its answer."""
        login = ("--username", "user.ada", "--password-file", str(self.folder / "ada.password"))
        broker = ("--broker", f"mqtts://127.0.0.1:{self._ports[1]}", "--mesh", MESH)
        ca = ("--ca-file", str(self.folder / "data" / "meshes" / MESH / "ca.pem"))
        shape = ("--layers", str(layers), "--fanout", str(fanout), "--deadline", f"{timeout_s:g}", "--max-tokens", "24")
        answer: dict[str, Any] = self.run(
            *("ask", prompt, "--device", device, *broker, *ca, *login, *shape), timeout_s=timeout_s + START_S
        )
        return answer

    def device(self, name: str) -> dict[str, Any]:
        """A device as the inventory has it."""
        shown: dict[str, Any] = self.run("device", "show", name, "--mesh", MESH)
        return shown


def until(condition: Any, timeout_s: float, said: Any) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, said()
        time.sleep(POLL_S)
