"""The plots of docs/THEORY.md: all are made, and the page shows all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.lab.experiments.theory import LOADS, theory_figures

PAGE = Path(__file__).parents[3] / "docs" / "THEORY.md"


@pytest.mark.long
def test_every_plot_of_the_page_is_made_and_every_one_made_is_shown():
    steps: list[tuple[int, int]] = []
    figures = theory_figures(quick=True, jobs=1, progress=lambda done, total: steps.append((done, total)))
    text = PAGE.read_text(encoding="utf-8")
    for name, panels in figures.items():
        assert f"(img/{name}.svg)" in text
        assert (PAGE.parent / "img" / f"{name}.svg").is_file()
        assert all(panel.curves for panel in panels)
    assert steps[-1][0] == steps[-1][1] == len(steps)


def test_loads_go_from_a_tenth_to_beyond_one():
    assert (LOADS[0], LOADS[-1]) == (0.1, 1.2)
