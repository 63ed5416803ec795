"""How far predictions are from exact runs that no correction was fitted on: the table of docs/THEORY.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.law.runs import Run, read
from edge_agent.core.stability import Mesh, MeshLaw, law

PAGE = Path(__file__).parent.parent.parent / "docs" / "THEORY.md"
BEGIN, END = "<!-- law errors: python -m bench.law.fit -->", "<!-- end of law errors -->"
FIGURES = {"wait": "waiting", "mean": "latency, mean", "p50": "p50", "p95": "p95", "p99": "p99"}
WAIT_MIN = 0.05
"""Mean service times: where items wait less, an exact run cannot tell their waiting to a few per cent."""
SERVICES = {1: "exponential", 4: "gamma, shape 4", 0: "constant"}


def predicted(run: Run) -> dict[str, float]:
    """Returns the figures of the mesh that was simulated, as the product predicts them."""
    case = run.case
    scv = 1.0 / case.shape if case.shape else 0.0
    made = MeshLaw(Mesh(case.layers, case.fanout, case.devices, case.load, scv, case.factor, case.speeds))
    quantiles = {name: made.latency_quantile(share) for name, share in law.SHARES.items()}
    return {"wait": made.waiting_time, "mean": made.latency_mean, **quantiles}


def errors(runs: Sequence[Run], figure: str) -> list[float]:
    """Returns predicted over measured, less 1, of each run."""
    return [predicted(run)[figure] / run.figures[figure] - 1.0 for run in runs]


def table() -> str:
    """Returns the table in Markdown: of each figure the mean and the largest error, and the runs' own error."""
    lines = [
        "| slots, service, runs | " + " | ".join(FIGURES.values()) + " |",
        "|---|" + "---:|" * len(FIGURES),
    ]
    for name, slots in (("held-1", "1"), ("held-4", "4")):
        runs = read(name)
        for shape, service in SERVICES.items():
            mine = [run for run in runs if run.case.shape == shape]
            lines.append(f"| {slots}, {service}, {len(mine)} | " + " | ".join(_cells(mine)) + " |")
    return "\n".join(lines)


def _cells(runs: Sequence[Run]) -> list[str]:
    cells = []
    for figure in FIGURES:
        told = [run for run in runs if figure != "wait" or run.figures["wait"] >= WAIT_MIN]
        sizes = [abs(error) for error in errors(told, figure)]
        own = [run.errors[figure] / run.figures[figure] for run in told]
        cells.append(f"{_percent(sizes)}, {100 * max(sizes):.1f} ({_percent(own)})")
    return cells


def _percent(values: Sequence[float]) -> str:
    return f"{100 * sum(values) / len(values):.1f}"


def write_table() -> str:
    """Puts the table into docs/THEORY.md, and returns it."""
    made, text = table(), PAGE.read_text("utf-8")
    head, rest = text.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{made}\n\n{END}{rest.split(END)[1]}", "utf-8")
    return made
