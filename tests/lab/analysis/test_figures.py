"""Figures: formats, refusals, and what is drawn where a prediction is infinite."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from edge_agent.cli.durations import parse_duration
from edge_agent.core.errors import SettingsError
from edge_agent.lab.analysis.figures import Curve, Panel, check_target, svg, write_figure

PANEL = Panel(
    "queue", "load", "items", [Curve("measured", [0.1, 0.2], [1, 2], [0.1, math.inf]), Curve("p", [1], [math.inf])]
)


@pytest.mark.parametrize(("name", "begins"), [("a.png", b"\x89PNG"), ("a.svg", b"<svg"), ("a.html", b"<!doctype")])
def test_each_format_is_written(tmp_path: Path, name: str, begins: bytes):
    write_figure(tmp_path / name, [PANEL, PANEL], title="both")
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_the_same_figure_is_the_same_text():
    assert svg([PANEL]) == svg([PANEL])


@pytest.mark.parametrize(("name", "says"), [("a.pdf", "ending in"), ("nowhere/a.png", "no folder")])
def test_a_figure_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, name: str, says: str):
    with pytest.raises(SettingsError, match=says):
        check_target(tmp_path / name)


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SettingsError, match=r"moamesh\[lab\]"):
        check_target(tmp_path / "a.png")


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5m", 90), ("1h", 3600), ("2d", 172_800), ("5 s", 5)])
def test_durations_are_read(text: str, seconds: float):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "0s", "1w", "1h30m"])
def test_other_durations_are_refused(text: str):
    with pytest.raises(SettingsError, match="30m"):
        parse_duration(text)
