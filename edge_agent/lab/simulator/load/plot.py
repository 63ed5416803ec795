"""A run as a picture, with matplotlib, which is only needed for this."""

from __future__ import annotations

from pathlib import Path

from edge_agent.core.errors import SettingsError
from edge_agent.lab.simulator.load.report import Report, predicted_latencies

NEEDS_MATPLOTLIB = "plots as png or svg need matplotlib: pip install 'moamesh[lab]' (html needs nothing more)"


def plot(report: Report, path: Path) -> None:
    """Writes waiting items over time and the distribution of latencies; the suffix of `path` is the format.

    Raises:
        SettingsError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise SettingsError(NEEDS_MATPLOTLIB) from None
    measurement, predicted = report.result.measurement, report.predicted
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    waiting, latency = figure.subplots(1, 2)
    waiting.plot([at for at, _ in measurement.series], [value for _, value in measurement.series], label="measured")
    waiting.axhline(report.requests_waiting.value, linestyle=":", label="its time average")
    if predicted.requests_waiting_mean < float("inf"):
        waiting.axhline(predicted.requests_waiting_mean, linestyle="--", color="tab:orange", label="predicted mean")
    waiting.set(xlabel="simulated seconds", ylabel="items waiting at a device", ylim=(0, None))
    waiting.legend()
    latencies = sorted(measurement.latencies)
    shares = [(number + 1) / len(latencies) for number in range(len(latencies))]
    latency.plot(latencies, shares, label="measured")
    quantiles = {name: value for name, value in predicted_latencies(predicted).items() if name != "mean"}
    if all(value < float("inf") for value in quantiles.values()):
        latency.plot(list(quantiles.values()), [0.5, 0.95, 0.99], "o", color="tab:orange", label="predicted")
    latency.set(xlabel="end-to-end latency, seconds", ylabel="share of prompts", ylim=(0, 1))
    latency.legend()
    figure.savefig(path)
