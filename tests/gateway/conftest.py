"""Two meshes for the tests of this folder: a quick one of three devices, and one slow device with a single place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.programs import Gateway, Mesh, eventually, gateway_of, mesh_of

SLOW_SERVICE_S = 1.5  # long enough to be cancelled in, short enough to be waited for


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Three devices that answer at once."""
    folder = tmp_path_factory.mktemp("mesh")
    with mesh_of(folder, devices=3, service="deterministic:0.03", status_interval_s=0.3) as running:
        yield running


@pytest.fixture(scope="package")
def gateway(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway of that mesh, without keys."""
    with gateway_of(mesh.broker, mesh.mesh, tmp_path_factory.mktemp("gateway")) as running:
        eventually(lambda: running.get("/readyz").json()["devices_online"] == 3, "all devices are online")
        yield running


@pytest.fixture(scope="package")
def slow_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One device that takes its time and has one place."""
    plan = {"service": f"deterministic:{SLOW_SERVICE_S}", "status_interval_s": 0.3, "agent": {"queue_capacity": 1}}
    with mesh_of(tmp_path_factory.mktemp("slow"), **plan) as running:
        yield running


@pytest.fixture(scope="package")
def slow_gateway(slow_mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway of that mesh; a test that uses it leaves no prompt behind."""
    folder = tmp_path_factory.mktemp("slow-gateway")
    with gateway_of(slow_mesh.broker, slow_mesh.mesh, folder) as running:
        eventually(lambda: running.get("/readyz").status_code == 200, "the device is online")
        yield running
