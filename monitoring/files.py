"""The generated files: what is in them and where they stand. A test makes them again and compares."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from edge_agent.adapters.telemetry.downsampling import flux_task
from monitoring.builders.alerts import RULES, provisioning
from monitoring.builders.device import device
from monitoring.builders.experiment import experiment
from monitoring.builders.history import history
from monitoring.builders.mesh import mesh

PAGE = Path(__file__).parents[1] / "docs" / "MONITORING.md"
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
    texts[PAGE] = _page(PAGE.read_text(encoding="utf-8"), dashboards)
    return texts


def _page(page: str, dashboards: Sequence[dict[str, Any]]) -> str:
    """The page for people, with the words of all panels and alerts between its two marks."""
    before, begin, rest = page.partition("<!-- made by")
    _, end, after = rest.partition("<!-- end")
    mark = rest.partition("\n")[0]
    return "".join((before, begin, mark, "\n", *map(_panels_words, dashboards), _alerts_words(), "\n", end, after))


def _panels_words(dashboard: dict[str, Any]) -> str:
    panels = (panel for panel in dashboard["panels"] if panel["type"] != "row")
    table = "\n".join(f"| {panel['title']} | {panel['description']} |" for panel in panels)
    title = dashboard["title"].removeprefix("moamesh: ")
    return f"\n### {title}\n\n{dashboard['description']}\n\n| panel | what it means |\n|---|---|\n{table}\n"


def _alerts_words() -> str:
    table = "\n".join(f"| {rule.title} | {rule.when} | {rule.what_to_do} |" for rule in RULES)
    return f"\n### Alerts\n\n| alert | when | what to do |\n|---|---|---|\n{table}\n"
