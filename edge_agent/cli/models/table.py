"""The models that are here, and those known by name."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edge_agent.cli.terminal import JsonObject
from edge_agent.models import DEFAULT_MODEL, REGISTRY, ModelFile, list_models

_MB = 1_000_000


def models_table() -> Table:
    """What is here first, then what can be pulled; a star marks the default."""
    here = {model.name: model for model in list_models()}
    table = Table(box=SIMPLE_HEAD, header_style="label", pad_edge=False)
    for name in ("model", "family", "form"):
        table.add_column(name, no_wrap=True)
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    for model in here.values():
        size = f"{model.chosen.size_bytes / _MB:.0f}"
        table.add_row(_name(model.name), model.family, model.chosen.file_type, size, model.licence)
    for spec in REGISTRY.values():
        if spec.name not in here:
            not_here = Text("to pull", style="quiet")
            table.add_row(_name(spec.name), spec.family, not_here, "", spec.licence)
    return table


def models_object() -> JsonObject:
    """The same for JSON."""
    here = list_models()
    known = {model.name for model in here}
    return {
        "models": [model_object(model) for model in here],
        "available": [
            {"name": spec.name, "family": spec.family, "licence": spec.licence, "note": spec.note}
            for spec in REGISTRY.values()
            if spec.name not in known
        ],
        "default": DEFAULT_MODEL,
    }


def model_object(model: ModelFile) -> JsonObject:
    """One model for JSON."""
    return {
        "name": model.name,
        "family": model.family,
        "licence": model.licence,
        "source": model.source,
        "path": str(model.path),
        "original_path": str(model.original_path),
        "file_type": model.chosen.file_type,
        "size_bytes": model.chosen.size_bytes,
        "reason": model.reason,
    }


def _name(name: str) -> Text:
    text = Text(name, style="name")
    if name == DEFAULT_MODEL:
        text.append(" *", style="quiet")
    return text
