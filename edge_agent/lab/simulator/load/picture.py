"""Writes a run as a file for looking at; its suffix says which kind."""

from __future__ import annotations

from pathlib import Path

from edge_agent.core.errors import SettingsError
from edge_agent.lab.simulator.load.page import page
from edge_agent.lab.simulator.load.plot import NEEDS_MATPLOTLIB, plot
from edge_agent.lab.simulator.load.report import Report
from edge_agent.lab.simulator.load.rows import report_rows, subtitle

_SUFFIXES = (".png", ".svg", ".html")


def check_picture(path: Path) -> None:
    """Raises `SettingsError` if a picture could not be written there: better before a long run than after."""
    if path.suffix not in _SUFFIXES:
        raise SettingsError(f"{path}: a plot's name must end in {', '.join(_SUFFIXES)}")
    if not path.resolve().parent.is_dir():
        raise SettingsError(f"{path}: there is no such folder")
    if path.suffix != ".html":
        try:
            import matplotlib  # noqa: F401 - only to see that it is there
        except ImportError:
            raise SettingsError(NEEDS_MATPLOTLIB) from None


def write_picture(report: Report, path: Path) -> None:
    """Writes the picture.

    Raises:
        SettingsError: the file cannot be written.
    """
    try:
        if path.suffix == ".html":
            level = report.predicted.requests_waiting_mean
            series = report.result.measurement.series
            about = f"{subtitle(report)}. Predicted: {report.predicted.kind}."
            text = page("Simulated mesh", about, report_rows(report), series, level)
            path.write_text(text, encoding="utf-8")
        else:
            plot(report, path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
