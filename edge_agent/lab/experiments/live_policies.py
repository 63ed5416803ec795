"""Every policy on a live mesh of two speeds, beside the simulator's figure for the same mesh where it has one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from edge_agent.core.stability import items_per_prompt
from edge_agent.lab.experiments.live_run import LiveLoad, LiveResult, run_live, time_mean
from edge_agent.lab.experiments.machine import machine
from edge_agent.lab.experiments.sections import Progress, Section
from edge_agent.lab.experiments.simulated import simulate
from edge_agent.lab.simulator.load.scenario import Scenario
from edge_agent.service_time import parse_service

DEVICES, SLOW_DEVICES, SLOW_FACTOR, LAYERS, FANOUT = 8, 2, 3.0, 2, 2
SERVICE_S = 0.1
SLOW_LOAD = 0.8  # of the slow devices under uniform selection: a choice of peers matters, and a short run is steady
_WARM_UP_S, _MEASURED_S = 5.0, 18.0
_QUICK = (1.0, 4.0)
_SIMULATED_PROMPTS = 20_000


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """One policy that is not the default, by the setting that names it."""

    setting: str
    name: str
    simulated: bool = True
    """Whether the simulator's load runs can name it."""


CHOICES = (
    Choice("peer_selection", "uniform"),
    Choice("peer_selection", "two-choices"),
    Choice("peer_selection", "choices(3)"),
    Choice("peer_selection", "latency-threshold(0.5)"),
    Choice("peer_selection", "budget(1)"),
    Choice("peer_selection", "diverse", simulated=False),
    Choice("peer_selection", "same-model", simulated=False),
    Choice("layer_plan", "adaptive"),
    Choice("response_selection", "consensus(2)", simulated=False),
    Choice("response_selection", "judge(2)", simulated=False),
    Choice("early_stop", "agreement(0.5)", simulated=False),
    Choice("early_stop", "judge", simulated=False),
    Choice("response_selection", "scored(2)", simulated=False),
)
_QUICK_CHOICES = (CHOICES[1], CHOICES[9])


async def live_policies_section(*, quick: bool, progress: Progress) -> Section:
    """Runs the mesh once for each policy."""
    warm_up_s, measured_s = _QUICK if quick else (_WARM_UP_S, _MEASURED_S)
    choices = _QUICK_CHOICES if quick else CHOICES
    rate_hz = SLOW_LOAD / (SERVICE_S * SLOW_FACTOR * items_per_prompt(LAYERS, FANOUT))
    rows = []
    for at, choice in enumerate(choices, start=1):
        result = await run_live(
            LiveLoad(
                *(DEVICES, LAYERS, FANOUT, f"exponential:{SERVICE_S}", rate_hz, warm_up_s, measured_s),
                slow_devices=SLOW_DEVICES,
                slow_factor=SLOW_FACTOR,
                agent={choice.setting: choice.name},
            )
        )
        rows.append(_row(choice, result, rate_hz))
        progress(at, len(choices))
    return Section(
        key="policies",
        title="Policies on a live mesh of two speeds",
        text=[
            f"{DEVICES} device processes over a real broker, {SLOW_DEVICES} of them {SLOW_FACTOR:g} times slower; "
            f"M = {LAYERS}, k = {FANOUT}, synthetic engine with exponential service of {SERVICE_S} s (α) declared, "
            f"λ = {rate_hz:.3f} a second and device: a load of {SLOW_LOAD:g} on the slow ones under uniform selection. "
            f"{measured_s:.0f} s measured after {warm_up_s:.0f} s, one run each, {machine()}.",
            "Devices of one speed count as one model here, which is what `same-model` keeps to; all are of one "
            "family, so that `diverse` has no choice. "
            "The synthetic engine says the same in every response: `agreement` stops after the first layer, a judge "
            "finds no line to read and only costs its inference. The simulated latency is of the same mesh in the "
            "steady state, without network delay.",
        ],
        header=(
            *("policy", "prompts", "latency, α", "p95, α", "simulated, α"),
            *("load of the slow", "of the others", "waiting"),
        ),
        rows=rows,
        panels=(),
    )


def _row(choice: Choice, result: LiveResult, rate_hz: float) -> tuple[str, ...]:
    latencies = sorted(
        one.latency_s / SERVICE_S for device in result.devices for one in device.sessions if one.outcome == "answered"
    )
    slow = [device for device in result.devices if device.device_id in _slow_ids()]
    others = [device for device in result.devices if device.device_id not in _slow_ids()]
    mean = math.fsum(latencies) / len(latencies) if latencies else math.nan
    p95 = latencies[int(0.95 * len(latencies))] if latencies else math.nan
    return (
        f"`{choice.name}` ({choice.setting})",
        str(len(latencies)),
        f"{mean:.1f}",
        f"{p95:.1f}",
        _simulated(choice, rate_hz),
        f"{time_mean(slow, 'busy_share'):.2f}",
        f"{time_mean(others, 'busy_share'):.2f}",
        f"{time_mean(result.devices, 'waiting_mean'):.2f}",
    )


def _simulated(choice: Choice, rate_hz: float) -> str:
    if not choice.simulated:
        return ""
    named = {choice.setting: choice.name}
    scenario = Scenario(
        DEVICES,
        LAYERS,
        FANOUT,
        arrival_rate_hz=rate_hz,
        service=parse_service(f"exponential:{SERVICE_S}"),
        slow_devices=SLOW_DEVICES,
        slow_factor=SLOW_FACTOR,
        prompts=_SIMULATED_PROMPTS,
        peer_selection=named.get("peer_selection", "uniform"),
        layer_plan=named.get("layer_plan", "fixed"),
    )
    return f"{simulate(scenario).latency_s.value / SERVICE_S:.1f}"


def _slow_ids() -> frozenset[str]:
    return frozenset(f"device-{number}" for number in range(1, SLOW_DEVICES + 1))
