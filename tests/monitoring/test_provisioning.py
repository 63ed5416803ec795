"""The committed files beside the programs that make them, and the compose file, which cannot be run here."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from compose_spec import ComposeSpecification

from edge_agent.adapters.telemetry.downsampling import MEANS_DAYS, MEANS_POLICY, RAW_DAYS, flux_task
from monitoring.builders.page import models
from monitoring.files import DATABASE, generated
from tests.monitoring.files import MONITORING, PROVISIONING, dashboards, read_yaml

COMPOSE = MONITORING / "compose.yaml"


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_generated_files_are_as_their_program_makes_them(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generated()[path], "run: python -m monitoring"


def test_nothing_lies_beside_the_generated_dashboards() -> None:
    folder = MONITORING / "grafana" / "dashboards"
    assert set(folder.iterdir()) == {path for path in generated() if path.parent == folder}


@pytest.mark.parametrize("dashboard", dashboards().values(), ids=dashboards().keys())
def test_dashboards_are_of_grafanas_schema(dashboard: dict[str, Any]) -> None:
    read = models.Dashboard.from_json(dashboard)
    assert read.uid == dashboard["uid"]
    assert len(read.panels or []) == len(dashboard["panels"])


def services() -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(COMPOSE)["services"]
    return found


def test_the_compose_file_is_of_the_compose_specification() -> None:
    read = ComposeSpecification.model_validate(read_yaml(COMPOSE))
    assert set(read.services or {}) == {"influxdb", "grafana"}


def test_images_are_pinned_watched_started_again_and_on_loopback() -> None:
    for name, service in services().items():
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+", service["image"]), name
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert service["restart"] == "unless-stopped"
        assert all(port.startswith("${MOAMESH_BIND:-127.0.0.1}:") for port in service["ports"])


def test_every_secret_comes_from_the_env_file_and_is_named_in_the_example() -> None:
    example = (MONITORING / "example.env").read_text(encoding="utf-8")
    named = dict(re.findall(r"^(MOAMESH_\w+)=(.*)$", example, re.MULTILINE))
    text = COMPOSE.read_text(encoding="utf-8")
    used = dict(re.findall(r"\$\{(MOAMESH_\w+):([-?][^}]*)\}", text))
    assert set(used) == set(named)
    secrets = {name for name in used if re.search("PASSWORD|TOKEN", name)}
    assert len(secrets) == 3
    for name in secrets:
        assert used[name].startswith("?"), f"{name} must be refused when it is empty"
        assert named[name] == "", "an example secret would be everybody's secret"
    ignored = subprocess.run(["git", "check-ignore", "-q", ".env"], cwd=MONITORING, check=False)
    assert ignored.returncode == 0


def test_every_mounted_file_is_there_and_every_volume_declared() -> None:
    declared = set(read_yaml(COMPOSE)["volumes"])
    for name, service in services().items():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (MONITORING / source).exists(), f"{name}: {source}"
            else:
                assert source in declared
    script = MONITORING / "influxdb" / "provision.sh"
    assert os.access(script, os.X_OK), "InfluxDB's image runs executable files only"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


def test_provisioning_finds_its_dashboards_where_they_are_mounted() -> None:
    [provider] = read_yaml(PROVISIONING / "dashboards" / "moamesh.yaml")["providers"]
    grafana = services()["grafana"]
    mounted = dict(mount.split(":")[:2] for mount in grafana["volumes"])
    assert mounted["./grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./grafana/provisioning"] == "/etc/grafana/provisioning"
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).parent == Path(provider["options"]["path"])
    assert Path(home).stem in dashboards()


@pytest.mark.parametrize(
    "path", [PROVISIONING / "datasources" / "moamesh.yaml", MONITORING / "grafana" / "influxdb-1" / "moamesh.yaml"]
)
def test_data_sources_speak_influxql_to_the_same_database(path: Path) -> None:
    [source] = read_yaml(path)["datasources"]
    assert source["uid"] == "moamesh-influxdb"
    assert source["jsonData"]["dbName"] == DATABASE
    assert "version" not in source["jsonData"], "a version would be Flux or SQL"
    secrets = list(source["secureJsonData"].values())
    assert all(re.search(r"\$MOAMESH_INFLUX_(TOKEN|PASSWORD)$", secret) for secret in secrets)


def test_compose_sets_the_same_up_as_the_setup_command() -> None:
    environment = services()["influxdb"]["environment"]
    assert environment["DOCKER_INFLUXDB_INIT_BUCKET"] == DATABASE
    assert environment["DOCKER_INFLUXDB_INIT_RETENTION"] == f"{RAW_DAYS * 24}h"
    script = (MONITORING / "influxdb" / "provision.sh").read_text(encoding="utf-8")
    assert f'means_bucket="$DOCKER_INFLUXDB_INIT_BUCKET/{MEANS_POLICY}"' in script
    assert f"--retention {MEANS_DAYS * 24}h" in script
    assert re.findall(r"--rp (\w+)", script) == ["autogen", MEANS_POLICY]
    assert (MONITORING / "influxdb" / "means.flux").read_text(encoding="utf-8") == flux_task(DATABASE)
