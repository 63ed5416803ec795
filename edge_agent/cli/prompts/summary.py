"""What a run of prompts came to, measured beside predicted. Pure: results and load in, figures out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_agent.cli.prompts.load_record import DeviceRecord
from edge_agent.cli.results import AskResult
from edge_agent.core import stability
from edge_agent.core.messages import Contribution, Provenance


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """One device over the run. `utilisation_predicted` is None where its service time was never seen."""

    device_id: str
    prompts: int
    utilisation: float
    utilisation_predicted: float | None
    requests_waiting_mean: float


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run. Times are seconds, rates per second; None where nothing was measured.

    arrival_rate_hz: λ, prompts per second and device. service_time_s: α, mean over every inference in the answers.
    service_time_scv: C². utilisation_predicted: α((k+1)M+1)λ. requests_waiting_predicted: `core.stability.MeshLaw` at
    that utilisation, an approximation of the steady state; a short run of prompts that come at once is none.
    messages_predicted: 2kM and kM receipts.
    """

    prompts: int
    answered: int
    outcomes: dict[str, int]
    duration_s: float
    layers: int
    fanout: int
    arrival_rate_hz: float
    service_time_s: float | None
    service_time_scv: float | None
    latency_mean_s: float | None
    latency_p95_s: float | None
    tokens_per_s: float
    messages_per_prompt: float | None
    messages_predicted: int
    utilisation: float | None
    utilisation_predicted: float | None
    stability_margin_predicted: float | None
    requests_waiting_mean: float | None
    requests_waiting_predicted: float | None
    models: tuple[str, ...]
    devices: tuple[DeviceSummary, ...]

    def as_object(self) -> dict[str, Any]:
        """For JSON, which knows no infinity: there it is null."""
        fields = asdict(self)
        return {name: None if value == math.inf else value for name, value in fields.items()}


def summarise(results: Sequence[AskResult], loads: Sequence[DeviceRecord], duration_s: float) -> RunSummary:
    """Sums up a run that took `duration_s` from the first prompt sent to the last end."""
    provenances = [result.answer.provenance for result in results if result.answer is not None]
    layers, fanout = _plan(provenances)
    items = [item for provenance in provenances for item in contributions(provenance)]
    service = [item.service_time_s for item in items]
    alpha = _mean(service)
    count = max(1, len(loads))
    rate_hz = len(results) / count / duration_s
    predicted = stability.utilisation(alpha, layers, fanout, rate_hz) if alpha else None
    scv = _squared_variation(service)
    latencies = sorted(result.answer.end_to_end_latency_s for result in results if result.answered and result.answer)
    return RunSummary(
        prompts=len(results),
        answered=sum(result.answered for result in results),
        outcomes=dict(Counter(result.outcome for result in results)),
        duration_s=duration_s,
        layers=layers,
        fanout=fanout,
        arrival_rate_hz=rate_hz,
        service_time_s=alpha,
        service_time_scv=scv,
        latency_mean_s=_mean(latencies),
        latency_p95_s=_percentile(latencies, 0.95),
        tokens_per_s=sum(item.output_tokens for item in items) / duration_s,
        messages_per_prompt=_mean([one.messages_sent + one.messages_received for one in provenances]),
        messages_predicted=stability.messages_per_prompt(layers, fanout, receipts=True),
        utilisation=_mean([load.utilisation(duration_s) for load in loads]),
        utilisation_predicted=predicted,
        stability_margin_predicted=None if predicted is None else stability.stability_margin(predicted),
        requests_waiting_mean=_mean([load.requests_waiting_mean(duration_s) for load in loads]),
        requests_waiting_predicted=_waiting(predicted, scv or 0.0, layers, fanout, count),
        models=tuple(sorted({item.model for item in items})),
        devices=_devices(results, loads, items, duration_s, layers, fanout),
    )


def _waiting(load: float | None, scv: float, layers: int, fanout: int, devices: int) -> float | None:
    if load is None:
        return None
    mesh = stability.Mesh(layers, fanout, max(devices, fanout + 1), load)
    return stability.MeshLaw(mesh.measured(scv)).requests_waiting


def contributions(provenance: Provenance) -> tuple[Contribution, ...]:
    """Every inference that went into an answer."""
    proposals = tuple(item for layer in provenance.layers for item in layer)
    return proposals if provenance.aggregation is None else (*proposals, provenance.aggregation)


def _devices(
    results: Sequence[AskResult],
    loads: Sequence[DeviceRecord],
    items: Sequence[Contribution],
    duration_s: float,
    layers: int,
    fanout: int,
) -> tuple[DeviceSummary, ...]:
    asked = Counter(result.device_id for result in results)
    means = [_mean([item.service_time_s for item in items if item.device_id == load.device_id]) for load in loads]
    predicted: Sequence[float | None] = [None] * len(loads)
    known = [mean for mean in means if mean]
    if loads and len(known) == len(loads) and fanout < len(loads):
        rates = [asked[load.device_id] / duration_s for load in loads]
        predicted = stability.device_utilisations(known, rates, layers, fanout)
    return tuple(
        DeviceSummary(
            load.device_id,
            asked[load.device_id],
            load.utilisation(duration_s),
            expected,
            load.requests_waiting_mean(duration_s),
        )
        for load, expected in zip(loads, predicted, strict=True)
    )


def _plan(provenances: Iterable[Provenance]) -> tuple[int, int]:
    """The M and k that most prompts had; a plan may adapt to load."""
    plans = Counter((provenance.layer_count, provenance.fanout) for provenance in provenances)
    return plans.most_common(1)[0][0] if plans else (0, 0)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _squared_variation(values: Sequence[float]) -> float | None:
    mean = _mean(values)
    if not mean or len(values) < 2:
        return None
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / mean**2


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile: a value that occurred."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
