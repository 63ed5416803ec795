"""Part (c): eight device processes, a real broker, ρ swept through 1: bounded below, growing linearly above."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from edge_agent.core.stability import Mesh, MeshLaw, items_per_prompt
from edge_agent.lab.analysis.figures import Curve, Panel
from edge_agent.lab.analysis.overload import excess_hz, queue_growth_hz
from edge_agent.lab.experiments.live_run import LiveLoad, LiveResult, run_live, time_mean
from edge_agent.lab.experiments.machine import machine
from edge_agent.lab.experiments.sections import Progress, Section
from edge_agent.lab.experiments.simulated import slope

DEVICES, LAYERS, FANOUT = 8, 1, 2
SERVICE_S = 0.1
LOADS = (0.5, 0.7, 0.85, 1.1, 1.2, 1.3)
_WARM_UP_S, _MEASURED_S = 4.0, 24.0
_QUICK = (3, 1, 1, (0.4, 1.5), 1.0, 4.0)
_GROWING_SHARE = 0.5  # of the predicted growth: a queue that grows slower than this is not called growing


@final
@dataclass(frozen=True, slots=True)
class LivePoint:
    """The mesh at one load; every figure a device's mean, out of telemetry. Seconds, hertz.

    service_s: measured α: what it took from the start of an item to its end, a little over the declared time.
    load: ρ = α((k+1)M+1)λ of the measured α and λ. growth_hz: slope of the waiting items over the measured time.
    """

    declared_load: float
    arrival_rate_hz: float
    service_s: float
    service_scv: float
    load: float
    utilisation: float
    waiting: float
    growth_hz: float
    completed_hz: float
    latency_s: float
    series: tuple[tuple[float, float], ...]

    def predicted_growth_hz(self, layers: int, fanout: int) -> float:
        """By the fluid limit, at the measured α and λ."""
        return queue_growth_hz(self.service_s, layers, fanout, self.arrival_rate_hz)


async def live_section(*, quick: bool, progress: Progress) -> Section:
    """Runs part (c)."""
    devices, layers, fanout, loads, warm_up_s, measured_s = (
        _QUICK if quick else (DEVICES, LAYERS, FANOUT, LOADS, _WARM_UP_S, _MEASURED_S)
    )
    points = []
    for at, load in enumerate(loads, start=1):
        rate_hz = load / (SERVICE_S * items_per_prompt(layers, fanout))
        spec = f"exponential:{SERVICE_S}"
        result = await run_live(LiveLoad(devices, layers, fanout, spec, rate_hz, warm_up_s, measured_s, seed=at))
        points.append(live_point(load, result))
        progress(at, len(loads))
    return _section(points, devices, layers, fanout, measured_s)


def live_point(declared_load: float, result: LiveResult) -> LivePoint:
    """Sums up a run."""
    devices = result.devices
    services = [seconds for device in devices for seconds in device.items.service_s]
    observed_s = math.fsum(length for device in devices for length in device.intervals.length_s)
    service_s = math.fsum(services) / max(1, len(services))
    rate_hz = math.fsum(sum(device.intervals.prompts) for device in devices) / observed_s
    series = _series(result)
    return LivePoint(
        declared_load,
        rate_hz,
        service_s,
        math.fsum((one - service_s) ** 2 for one in services) / max(1, len(services)) / service_s**2,
        service_s * items_per_prompt(result.load.layers, result.load.fanout) * rate_hz,
        time_mean(devices, "busy_share"),
        time_mean(devices, "waiting_mean"),
        slope([at for at, _ in series], [waiting for _, waiting in series]),
        len(services) / observed_s,
        _latency(result),
        tuple(series),
    )


def _latency(result: LiveResult) -> float:
    latencies = [one.latency_s for device in result.devices for one in device.sessions if one.outcome == "answered"]
    return math.fsum(latencies) / len(latencies) if latencies else math.nan


def _series(result: LiveResult) -> list[tuple[float, float]]:
    """Waiting items a device over time: the devices' n-th intervals together, which are half a second wide."""
    counts = [len(device.intervals.ends_s) for device in result.devices]
    begun_s = min(device.intervals.ends_s[0] for device in result.devices)
    return [
        (
            sum(device.intervals.ends_s[at] for device in result.devices) / len(counts) - begun_s,
            sum(device.intervals.waiting_mean[at] for device in result.devices) / len(counts),
        )
        for at in range(min(counts))
    ]


def _section(points: Sequence[LivePoint], devices: int, layers: int, fanout: int, measured_s: float) -> Section:
    below = [point for point in points if point.load < 1.0]
    above = [point for point in points if point.load >= 1.0]
    threshold_hz = _GROWING_SHARE * min((point.predicted_growth_hz(layers, fanout) for point in above), default=0.0)
    growing = all(point.growth_hz > threshold_hz for point in above) and bool(above)
    bounded = all(point.growth_hz < threshold_hz for point in below) and bool(below)
    ratios = [point.growth_hz / point.predicted_growth_hz(layers, fanout) for point in above]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f} times the predicted" if ratios else "not reached"
    return Section(
        key="c",
        title="(c) Live: real processes, a real broker, ρ swept through 1",
        text=[
            f"{devices} device processes, M = {layers}, k = {fanout}, synthetic engine with exponential service of "
            f"{SERVICE_S} s declared, unbounded queues, Poisson prompts by MQTT; {measured_s:.0f} s measured at each "
            f"load out of the devices' telemetry, {machine()}. ρ is that of the measured α and λ.",
            "Growth: slope of the waiting items a device; predicted by the fluid limit (docs/THEORY.md) at the "
            "measured α and λ, beside the plain excess ((k+1)M+1)λ - 1/α. Below ρ = 1 the Lq of the law for equal "
            "devices at the measured C² (an approximation).",
        ],
        header=(
            *("ρ declared", "λ /s", "α s", "ρ", "utilisation", "Lq", "predicted"),
            *("growth /s", "fluid limit", "excess", "served /s", "latency s"),
        ),
        rows=[_row(point, devices, layers, fanout) for point in points],
        panels=_panels(points, layers, fanout),
        conclusion=f"Below ρ = 1 {'bounded' if bounded else 'not bounded'}, above it "
        f"{'growing' if growing else 'not growing'} at {spread} rate.",
    )


def _row(point: LivePoint, devices: int, layers: int, fanout: int) -> tuple[str, ...]:
    mesh = Mesh(layers, fanout, devices, point.load).measured(point.service_scv)
    waiting = MeshLaw(mesh).requests_waiting
    return (
        f"{point.declared_load:.2f}",
        f"{point.arrival_rate_hz:.3f}",
        f"{point.service_s:.4f}",
        f"{point.load:.2f}",
        f"{point.utilisation:.2f}",
        f"{point.waiting:.2f}",
        "∞" if math.isinf(waiting) else f"{waiting:.2f}",
        f"{point.growth_hz:.2f}",
        f"{point.predicted_growth_hz(layers, fanout):.2f}",
        f"{excess_hz(point.service_s, layers, fanout, point.arrival_rate_hz):.2f}",
        f"{point.completed_hz:.2f}",
        f"{point.latency_s:.2f}",
    )


def _panels(points: Sequence[LivePoint], layers: int, fanout: int) -> list[Panel]:
    series = [
        Curve(
            f"ρ = {point.load:.2f}", [at for at, _ in point.series], [value for _, value in point.series], colour=number
        )
        for number, point in enumerate(points)
    ]
    loads = [point.load for point in points]
    alpha = sum(point.service_s for point in points) / len(points)
    items = items_per_prompt(layers, fanout)
    places = [at / 100 for at in range(round(100 * min(loads)), round(100 * max(loads)) + 1)]
    predicted = [queue_growth_hz(alpha, layers, fanout, load / (alpha * items)) for load in places]
    growth = [
        Curve("measured", loads, [point.growth_hz for point in points], [0.0] * len(points)),
        Curve("fluid limit", places, predicted, predicted=True, colour=1),
    ]
    return [
        Panel("waiting items a device", "seconds", "items", series),
        Panel("growth", "ρ, measured", "items a second and device", growth, verticals=(1.0,)),
    ]
