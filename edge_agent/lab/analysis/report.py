"""The stability report: figures of each device and of the mesh, measured and predicted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

from edge_agent.lab.analysis.prediction import LatencyPrediction, Plan, Prediction, QueueParameters, predict
from edge_agent.lab.analysis.series import DeviceRecords, Intervals, MeshRecords
from edge_agent.lab.simulator.load.statistics import BATCHES, Estimate, estimate, half_width, mean, quantile

QUANTILES = (0.5, 0.95, 0.99)
_FACTOR_MAX = 8.0  # of a long item over a short one: what seems more is noise of few items


@final
@dataclass(frozen=True, slots=True)
class Quantiles:
    """Mean and quantiles of times in seconds, each with the half width of its 95 % interval; NaN of nothing."""

    count: int
    mean: Estimate
    p50: Estimate
    p95: Estimate
    p99: Estimate

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles:
        """Values in the order of time: the intervals are by batch means."""
        p50, p95, p99 = (
            estimate(values, lambda some, share=share: quantile(some, share))  # type: ignore[misc]  # default binds
            for share in QUANTILES
        )
        return cls(len(values), estimate(values, mean), p50, p95, p99)


@final
@dataclass(frozen=True, slots=True)
class DeviceReport:
    """One device over the reported time. Seconds, hertz; None where nothing was measured or can be said.

    arrival_rate_hz: λ, prompts of this device's own users. offered_load: items asking for a place, accepted or not,
        per second, times their mean service time: goes on rising when the queue is full.
    requests_waiting_mean, utilisation: exact time averages. service_time_s: α over all completed items; apart, the
        means of proposals (plain in layer 1, with references later) and of aggregations (always with references).
    The predicted figures are for uniform selection without loss.
    """

    device_id: str
    model: str
    observed_s: float
    arrival_rate_hz: float
    offered_load: float | None
    service_time_s: float | None
    service_time_scv: float | None
    proposal_service_time_s: float | None
    aggregation_service_time_s: float | None
    utilisation: float
    utilisation_predicted: float | None
    requests_waiting_mean: float
    requests_waiting_predicted: float | None
    waiting_time_s: Quantiles
    sojourn_time_s: Quantiles
    totals: dict[str, int]


@final
@dataclass(frozen=True, slots=True)
class MeshReport:
    """A mesh over the reported time; per-device figures are means over the devices."""

    mesh: str
    synthetic: bool
    """A device had declared service times: no language model was asked there."""
    duration_s: float
    devices: tuple[DeviceReport, ...]
    plans: dict[tuple[int, int], int]
    """How many ended prompts had each (M, k); adaptive plans and users' options make several."""
    arrival_rate_hz: float
    service_time_s: float | None
    service_time_scv: float | None
    proposal_service_time_s: float | None
    aggregation_service_time_s: float | None
    utilisation: float
    offered_load: float | None
    requests_waiting: Estimate
    waiting_time_s: Quantiles
    sojourn_time_s: Quantiles
    latency_s: Quantiles
    """Of answered prompts, end to end."""
    outcomes: dict[str, int]
    responses_missing: int
    substitutes: int
    totals: dict[str, int]
    predicted: Prediction | None
    """None where no inference has completed or no prompt has ended."""

    def as_object(self) -> dict[str, Any]:
        """For JSON, which knows neither infinity nor NaN: there they are null. Plans become `M,k`."""
        fields = asdict(self)
        fields["plans"] = {f"{layers},{fanout}": count for (layers, fanout), count in self.plans.items()}
        cleaned: dict[str, Any] = _finite(fields)
        return cleaned


def report(records: MeshRecords) -> MeshReport:
    """Makes the report of what was recorded."""
    sessions = sorted((one for device in records.devices for one in device.sessions), key=lambda one: one.ended_s)
    answered = [one.latency_s for one in sessions if one.outcome == "answered"]
    observed = [device for device in records.devices if sum(device.intervals.length_s) > 0.0]
    predicted = _predict(observed)
    devices = [_device(device, predicted, at) for at, device in enumerate(observed)]
    services = [seconds for device in records.devices for seconds in device.items.service_s]
    offered = [device.offered_load for device in devices if device.offered_load is not None]
    totals: Counter[str] = sum((device.totals for device in records.devices), Counter())
    return MeshReport(
        mesh=records.mesh,
        synthetic=any(device.synthetic for device in records.devices),
        duration_s=records.until_s - records.from_s,
        devices=tuple(devices),
        plans=dict(Counter(one.plan for one in sessions)),
        arrival_rate_hz=mean([device.arrival_rate_hz for device in devices]),
        service_time_s=_mean_or_none([services]),
        service_time_scv=squared_variation(services),
        proposal_service_time_s=_mean_or_none([one.items.proposals_s for one in records.devices]),
        aggregation_service_time_s=_mean_or_none([one.items.aggregations_s for one in records.devices]),
        utilisation=mean([device.utilisation for device in devices]),
        offered_load=mean(offered) if offered else None,
        requests_waiting=_waiting([device.intervals for device in observed], records),
        waiting_time_s=Quantiles.of(_in_order([(one.items.ended_s, one.items.waiting_s) for one in records.devices])),
        sojourn_time_s=Quantiles.of(_in_order([(one.items.ended_s, one.items.sojourn_s) for one in records.devices])),
        latency_s=Quantiles.of(answered),
        outcomes=dict(Counter(one.outcome for one in sessions)),
        responses_missing=sum(one.missing for one in sessions),
        substitutes=sum(one.substitutes for one in sessions),
        totals=dict(totals),
        predicted=predicted,
    )


def squared_variation(values: Sequence[float]) -> float | None:
    """C², the variance over the squared mean; None of less than two values."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1) / centre**2 if centre else None


def _device(device: DeviceRecords, predicted: Prediction | None, at: int) -> DeviceReport:
    intervals, items = device.intervals, device.items
    observed_s = math.fsum(intervals.length_s)
    service_s = _mean_or_none([items.service_s])
    offered_hz = (device.totals["accepted"] + device.totals["rejected"]) / device.totals_s if device.totals_s else None
    return DeviceReport(
        device_id=device.device_id,
        model=device.model,
        observed_s=observed_s,
        arrival_rate_hz=math.fsum(intervals.prompts) / observed_s,
        offered_load=None if offered_hz is None or service_s is None else offered_hz * service_s,
        service_time_s=service_s,
        service_time_scv=squared_variation(items.service_s),
        proposal_service_time_s=_mean_or_none([items.proposals_s]),
        aggregation_service_time_s=_mean_or_none([items.aggregations_s]),
        utilisation=_weighted(intervals.busy_share, intervals),
        utilisation_predicted=predicted.utilisations[at] if predicted else None,
        requests_waiting_mean=_weighted(intervals.waiting_mean, intervals),
        requests_waiting_predicted=predicted.requests_waiting[at] if predicted else None,
        waiting_time_s=Quantiles.of(items.waiting_s),
        sojourn_time_s=Quantiles.of(items.sojourn_s),
        totals=dict(device.totals),
    )


def _predict(devices: Sequence[DeviceRecords]) -> Prediction | None:
    everything = [seconds for device in devices for seconds in device.items.service_s]
    mesh_plans = Counter(one.plan for device in devices for one in device.sessions)
    if not any(everything) or not mesh_plans:
        return None
    factor = _aggregation_factor(devices, mesh_plans.most_common(1)[0][0])
    loads = []
    for device in devices:
        # a device that never inferred, or never for a measurable time, is taken as the others are
        services = device.items.service_s if any(device.items.service_s) else everything
        scv = squared_variation(services)
        loads.append(
            QueueParameters(
                mean(services),
                scv if scv is not None else 0.0,
                math.fsum(device.intervals.prompts) / math.fsum(device.intervals.length_s),
                Counter(one.plan for one in device.sessions) or mesh_plans,
                device.queue_capacity,
                factor,
            )
        )
    return predict(loads)


def _aggregation_factor(devices: Sequence[DeviceRecords], plan: Plan) -> float:
    """How many times longer items with references take, out of what proposals and aggregations take; 1 if unknown.

    Of the M proposals that a device makes for a prompt M-1 carry references, as every aggregation does.
    """
    proposal_s = _mean_or_none([device.items.proposals_s for device in devices])
    aggregation_s = _mean_or_none([device.items.aggregations_s for device in devices])
    layers = plan[0]
    if not layers or not proposal_s or not aggregation_s:
        return 1.0
    plain_s = layers * proposal_s - (layers - 1) * aggregation_s
    return min(max(aggregation_s / plain_s, 1.0), _FACTOR_MAX) if plain_s > 0.0 else _FACTOR_MAX


def _mean_or_none(columns: Sequence[Sequence[float]]) -> float | None:
    count = sum(map(len, columns))
    return math.fsum(math.fsum(column) for column in columns) / count if count else None


def _in_order(columns: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[float]:
    """The values of all devices in the order of time, from (times, values) of each."""
    timed = [pair for times, values in columns for pair in zip(times, values, strict=True)]
    return [value for _, value in sorted(timed)]


def _weighted(values: Sequence[float], intervals: Intervals) -> float:
    """The time average of what was averaged over each interval."""
    areas = (value * length for value, length in zip(values, intervals.length_s, strict=True))
    return math.fsum(areas) / math.fsum(intervals.length_s)


def _waiting(devices: Sequence[Intervals], records: MeshRecords) -> Estimate:
    """Waiting items a device; the interval from batches of equal time, an interval counting to the batch it ends in."""
    areas, lengths = [0.0] * BATCHES, [0.0] * BATCHES
    scale = BATCHES / max(records.until_s - records.from_s, 1e-9)
    for one in devices:
        for ends_s, length_s, waiting in zip(one.ends_s, one.length_s, one.waiting_mean, strict=True):
            # an interval may be said to begin before the record, where a device's clock was set back
            batch = min(BATCHES - 1, max(0, int((ends_s - length_s / 2 - records.from_s) * scale)))
            areas[batch] += waiting * length_s
            lengths[batch] += length_s
    value = mean([_weighted(one.waiting_mean, one) for one in devices])
    if min(lengths) <= 0.0:
        return Estimate(value)
    return Estimate(value, half_width([area / length for area, length in zip(areas, lengths, strict=True)]))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


__all__ = ["DeviceReport", "LatencyPrediction", "MeshReport", "Prediction", "Quantiles", "report", "squared_variation"]
