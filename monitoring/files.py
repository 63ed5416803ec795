"""The generated files: what is in them and where they stand. A test makes them again and compares."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from edge_agent.adapters.telemetry.downsampling import flux_task
from monitoring.builders.alerts import provisioning
from monitoring.builders.device import device
from monitoring.builders.experiment import experiment
from monitoring.builders.history import history
from monitoring.builders.mesh import mesh

FOLDER = Path(__file__).parent
DATABASE = "moamesh"
_HEAD = "# Made by `python -m monitoring`: change the program, not this file."


def generated() -> dict[Path, str]:
    """Returns the text of every generated file by its path."""
    dashboards = [mesh(), device(), experiment(), history()]
    texts = {
        FOLDER / "grafana" / "dashboards" / f"{board['uid']}.json": json.dumps(board, indent=2, ensure_ascii=False)
        + "\n"
        for board in dashboards
    }
    alerts = yaml.safe_dump(provisioning(dashboards), sort_keys=False, allow_unicode=True, width=120)
    texts[FOLDER / "grafana" / "provisioning" / "alerting" / "moamesh.yaml"] = f"{_HEAD}\n{alerts}"
    texts[FOLDER / "influxdb" / "means.flux"] = flux_task(DATABASE)
    return texts
