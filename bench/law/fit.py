"""Fits the corrections of `edge_agent.core.stability.law` on exact runs, and tests them on others.

    python -m bench.law.fit            writes edge_agent/core/stability/fitted.py and the table of docs/THEORY.md
    python -m bench.law.fit --table    only the table, of the corrections as they are committed; prints it too

The runs lie in bench/law/data; its README says which commands made them.
"""

from __future__ import annotations

import argparse
import itertools
import math
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench.law.errors import write_table
from bench.law.runs import Run, read
from edge_agent.core.stability import Mesh, fitted, law

FITTED = Path(fitted.__file__)
FIGURES = ("wait", "mean", "p50", "p95", "p99")
FITTED_ON = ("fit-1", "more-1", "alone-1", "fit-4", "more-4", "alone-4")
ERROR_MAX = 0.2  # relative, of the waiting time: with many servers at a low load hardly an item of a run waits
FLOOR = 0.004
"""Relative error that a run counts as having at least: keeps those at low load from outweighing all others."""


def products(names: str, degree: int) -> list[str]:
    """Returns the products of up to `degree` variables, as strings of their names; "" is the constant."""
    return ["".join(c) for size in range(degree + 1) for c in itertools.combinations_with_replacement(names, size)]


SERVERS_OF = list(dict.fromkeys(products("rsfmkxuec", 2) + products("rsue", 3)))  # each once


def mesh_of(run: Run) -> Mesh:
    """Returns the mesh that was simulated."""
    case = run.case
    scv = 1.0 / case.shape if case.shape else 0.0
    return Mesh(case.layers, case.fanout, case.devices, case.load, scv, case.factor, case.speeds)


def variables_of(run: Run) -> dict[str, float]:
    """Returns what the polynomials are of."""
    mesh = mesh_of(run)
    return law.variables(mesh, mesh.alone())


def short_by(run: Run, figure: str) -> float:
    """Returns the logarithm by which the uncorrected figure, made of those measured before it, falls short."""
    mesh, measured = mesh_of(run), run.figures
    if figure == "wait":
        return math.log(measured["wait"] / law.waiting_base(mesh, mesh.alone()))
    mean, variance = law.latency_base(mesh, mesh.alone(), measured["wait"])
    if figure != "mean":
        mean = law.quantile_base(measured["mean"], variance, law.SHARES[figure])
    return math.log(measured[figure] / mean)


def least_squares(
    runs: Sequence[Run], figure: str, names: Sequence[str], aims: Sequence[float], ridge: float
) -> dict[str, float]:
    """Returns the polynomial in the products `names` that fits best, each run weighted by its own error.

    ridge: keeps a coefficient small that the runs say nothing of.
    """
    at = [variables_of(run) for run in runs]
    matrix = np.array([[math.prod(one[name] for name in product) for product in names] for one in at])
    matrix *= np.array([law.inexact(mesh_of(run), figure) for run in runs])[:, None]
    weights = 1.0 / np.array([FLOOR**2 + (run.errors[figure] / run.figures[figure]) ** 2 for run in runs])
    weights /= weights.mean()
    penalty = ridge * len(runs) * np.diag(np.mean(matrix**2, axis=0) + 1e-12)
    normal = matrix.T @ (matrix * weights[:, None]) + penalty
    found = np.linalg.solve(normal, matrix.T @ (weights * np.array(aims)))
    return dict(zip(names, found.tolist(), strict=True))


def fit() -> dict[str, dict[str, dict[str, float]]]:
    """Returns the polynomials of each table and figure."""
    one, several = read("fit-1") + read("more-1"), read("fit-4") + read("more-4")
    alone = [*read("alone-1"), *(run for run in one if not run.case.layers)]
    several_alone = [*read("alone-4"), *(run for run in several if not run.case.layers)]
    one, several = ([run for run in runs if run.case.layers] for runs in (one, several))
    tables: dict[str, dict[str, dict[str, float]]] = {"ALONE": {"wait": {}, "mean": {}}}  # exact: Pollaczek-Khinchine
    for name, runs, names, ridge, base in (
        ("ALONE", alone, products("rs", 3), 3e-3, None),
        ("ONE_SERVER", one, products("rsfmkx", 3), 3e-3, None),
        ("SERVERS_ALONE", several_alone, products("rsuec", 2), 3e-2, "ALONE"),
        ("SERVERS", several, SERVERS_OF, 2e-2, "ONE_SERVER"),
    ):
        made = tables.setdefault(name, {})
        for figure in FIGURES:
            if figure in made:
                continue
            known = [run for run in runs if run.errors["wait"] < ERROR_MAX * run.figures["wait"]]
            aims = [short_by(run, figure) for run in known]
            if base:
                there = [law.value(tables[base][figure], variables_of(run)) for run in known]
                aims = [aim - value for aim, value in zip(aims, there, strict=True)]
            made[figure] = least_squares(known, figure, names, aims, ridge)
    return tables


def written(tables: dict[str, dict[str, dict[str, float]]]) -> str:
    """Returns the module that holds the polynomials."""
    counts = {name: len(read(name)) for name in FITTED_ON}
    runs = ", ".join(f"{count} of {name}" for name, count in counts.items())
    lines = [
        '"""The polynomials of `law.corrected`. Made by `python -m bench.law.fit`; do not edit.',
        "",
        *textwrap.wrap(f"{datetime.now(UTC).date()}, on exact runs of bench/law/data: {runs}.", 118),
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "",
        "def _read(text: str) -> dict[str, float]:",
        '    """`1:0.5 rrs:-2` stands for 0.5 - 2 r²s."""',
        '    pairs = (pair.split(":") for pair in text.split())',
        '    return {names.replace("1", ""): float(value) for names, value in pairs}',
        "",
        "",
    ]
    for table, figures in tables.items():
        lines.append(f"{table} = {{")
        for figure in FIGURES:
            text = " ".join(f"{names or '1'}:{value:.5g}" for names, value in figures[figure].items())
            parts = [f'        "{part} "' for part in textwrap.wrap(text, 105)]
            lines += [f'    "{figure}": _read(', *parts, "    ),"] if parts else [f'    "{figure}": _read(""),']
        lines.append("}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fits, writes and tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="test the committed corrections only")
    if not parser.parse_args().table:
        tables = fit()
        FITTED.write_text(written(tables), "utf-8")
        for name, figures in tables.items():  # what was imported is what is tested below
            setattr(fitted, name, figures)
    print(write_table())


if __name__ == "__main__":
    main()
