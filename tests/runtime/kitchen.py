"""A device with a broker that knows its users, and these users' clients, for tests on a real mosquitto."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from broker.mosquitto import MosquittoBroker
from edge_agent.client import Access, ClientSettings, MeshClient
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.core.messages import PromptOptions
from edge_agent.fleet.device_process import DeviceProcess
from edge_agent.mqtt import TlsFiles
from tests.support.patience import PATIENCE_S
from tests.support.secured import HOST, SecuredMesh

SERVICE_S = 3.0  # long enough that a cancel comes while it runs, however it ends
PATIENT = ClientSettings(connect_timeout_s=PATIENCE_S, sends_max=1)
ALONE = PromptOptions(layers=0)


@contextlib.asynccontextmanager
async def kitchen_of(folder: Path) -> AsyncIterator[tuple[SecuredMesh, str, DeviceProcess]]:
    """A device with a broker that knows its users; yields the mesh, where users come in, and the device."""
    mesh = SecuredMesh(folder)
    credentials = mesh.device("kitchen")
    mesh.user("alice")
    mesh.user("bob")
    files = mesh.broker_files(folder / "broker")
    listeners = files.config.listeners
    broker = BrokerSection(
        urls=(f"mqtts://{HOST}:{listeners.devices}",),
        ca_file=mesh.ca,
        crl_file=mesh.crl,
        cert_file=credentials.certificate,
        key_file=credentials.key,
    )
    device = DeviceSection(id="kitchen", mesh="home", data_dir=folder / "data")
    engine = EngineSection(kind="synthetic", service=f"deterministic:{SERVICE_S}")
    write_config(AgentConfig(device=device, broker=broker, engine=engine), folder / "agent.toml")
    kitchen = DeviceProcess("kitchen", folder / "agent.toml", folder / "agent.log")
    async with MosquittoBroker(files, lambda: mesh.people):
        await kitchen.start()
        try:
            yield mesh, f"mqtts://{HOST}:{listeners.passwords}", kitchen
        finally:
            await kitchen.stop()


def user(
    mesh: SecuredMesh,
    url: str,
    name: str,
    *,
    principal: str | None = None,
    client: str | None = None,
    settings: ClientSettings = PATIENT,
) -> MeshClient:
    """Somebody with a login of their own, whoever they say to be."""
    access = Access(f"user.{name}", f"secret of {name}", TlsFiles(str(mesh.ca)))
    return MeshClient(url, "home", client, access=access, principal=principal, settings=settings)
