"""Every formula of docs/THEORY.md beside a simulation of it, for ρ from 0.1 to 1.2. Makes the plots of that page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import mean, stdev

from edge_agent.core import stability
from edge_agent.lab.analysis.figures import Curve, Panel
from edge_agent.lab.analysis.overload import excess_hz, queue_growth_hz
from edge_agent.lab.experiments.sections import Progress
from edge_agent.lab.experiments.simulated import Simulated, simulate_all
from edge_agent.lab.experiments.stable import prompts_at
from edge_agent.lab.simulator.load.scenario import EXPONENTIAL_1S, Scenario
from edge_agent.service_time import Distribution, ServiceTime

LOADS = tuple(at / 10 for at in range(1, 13))
_CONSTANT_1S = ServiceTime(Distribution.DETERMINISTIC, 1.0)
_DEVICES, _LAYERS, _FANOUT = 20, 2, 2
_SLOW, _SLOW_FACTOR = 4, 3.0
_PLACES = 8
_OVERLOAD_PLANS = ((1, 2), (2, 2))
_OVERLOAD_SEEDS = 5
_T_95 = 2.776  # Student's t, 97.5 % quantile, 4 degrees of freedom
_OVERLOADS = (1.0, 1.05, 1.1, 1.2, 1.3, 1.5)
_PROMPTS_OVERLOAD = 5_000
_PROMPTS_QUICK = 300
_SHARES = tuple(at / 100 for at in range(1, 131))
"""Where predicted curves are computed."""


def theory_figures(*, quick: bool, jobs: int, progress: Progress) -> dict[str, list[Panel]]:
    """Runs the simulations; returns the panels of each plot by its file's name (without suffix)."""
    families = {
        "exponential": [_mesh(load, EXPONENTIAL_1S, quick) for load in LOADS],
        "constant": [_mesh(load, _CONSTANT_1S, quick) for load in LOADS],
        "unequal": [_unequal(load, quick) for load in LOADS],
        "bounded": [_bounded(load, quick) for load in LOADS],
        "overload": [
            _overload(load, *plan, seed, quick)
            for plan in _OVERLOAD_PLANS
            for load in _OVERLOADS
            for seed in range(1 if quick else _OVERLOAD_SEEDS)
        ],
    }
    done = simulate_all([one for family in families.values() for one in family], jobs, progress)
    runs, at = {}, 0
    for name, family in families.items():
        runs[name] = done[at : at + len(family)]
        at += len(family)
    return {
        "theory-queue": [_queue(runs["exponential"], runs["constant"]), _busy(runs["exponential"])],
        "theory-latency": [_latency(runs["exponential"], runs["constant"])],
        "theory-unequal": [_unequal_panel(runs["unequal"])],
        "theory-loss": [_loss(runs["bounded"])],
        "theory-overload": [_growth(runs["overload"], *plan) for plan in _OVERLOAD_PLANS],
    }


# --- scenarios ------------------------------------------------------------------------------------------------------


def _mesh(load: float, service: ServiceTime, quick: bool) -> Scenario:
    prompts = _PROMPTS_QUICK if quick else prompts_at(load) // (2 if load > 0.7 else 1)
    return Scenario(
        devices=_DEVICES, layers=_LAYERS, fanout=_FANOUT, utilisation=load, service=service, prompts=prompts, seed=7
    )


def _unequal(load: float, quick: bool) -> Scenario:
    return Scenario(
        devices=_DEVICES,
        layers=_LAYERS,
        fanout=_FANOUT,
        utilisation=load / _SLOW_FACTOR,  # `load` is that of a slow device
        slow_devices=_SLOW,
        slow_factor=_SLOW_FACTOR,
        prompts=_PROMPTS_QUICK if quick else _PROMPTS_OVERLOAD,
        seed=11,
    )


def _bounded(load: float, quick: bool) -> Scenario:
    return Scenario(
        devices=4,
        layers=0,
        fanout=0,
        utilisation=load,
        queue_capacity=_PLACES,
        prompts=_PROMPTS_QUICK if quick else 30_000,
        seed=13,
    )


def _overload(load: float, layers: int, fanout: int, seed: int, quick: bool) -> Scenario:
    prompts = _PROMPTS_QUICK if quick else _PROMPTS_OVERLOAD
    seed += 100 + round(1000 * load)  # none of the loads shares its luck with another
    return Scenario(devices=8, layers=layers, fanout=fanout, utilisation=load, prompts=prompts, seed=seed)


# --- panels ---------------------------------------------------------------------------------------------------------


def _loads(runs: Sequence[Simulated]) -> list[float]:
    return [one.scenario.utilisation or 0.0 for one in runs]


def _predicted(label: str, colour: int, formula: Callable[[float], float], until: float = 0.98) -> Curve:
    places = [share for share in _SHARES if share <= until]
    return Curve(label, places, [formula(share) for share in places], predicted=True, colour=colour)


def _measured(label: str, colour: int, runs: Sequence[Simulated], figure: str) -> Curve:
    estimates = [getattr(one, figure) for one in runs]
    halves = [estimate.half_width for estimate in estimates]
    return Curve(label, _loads(runs), [estimate.value for estimate in estimates], halves, colour=colour)


def _queue(exponential: Sequence[Simulated], constant: Sequence[Simulated]) -> Panel:
    return Panel(
        f"waiting items a device (n={_DEVICES}, M=k=2)",
        "ρ",
        "Lq",
        [
            _measured("exponential service", 0, exponential, "requests_waiting"),
            _predicted("predicted", 0, lambda load: _law(load, 1.0).requests_waiting),
            _measured("constant service", 1, constant, "requests_waiting"),
            _predicted("predicted", 1, lambda load: _law(load, 0.0).requests_waiting),
            _predicted("M/G/1, C²=0", 2, lambda load: stability.mean_requests_waiting(load, 0.0)),
        ],
        y_max=15.0,
        verticals=(1.0,),
    )


def _law(load: float, squared_variation: float) -> stability.MeshLaw:
    return stability.MeshLaw(stability.Mesh(_LAYERS, _FANOUT, _DEVICES, load, squared_variation))


def _busy(runs: Sequence[Simulated]) -> Panel:
    measured = Curve("measured", _loads(runs), [one.utilisation for one in runs], [0.0] * len(runs))
    predicted = _predicted("min(ρ, 1)", 0, lambda load: min(load, 1.0), 1.2)
    return Panel("share of time inferring", "ρ = α((k+1)M+1)λ", "", [measured, predicted], 1.1, verticals=(1.0,))


def _latency(exponential: Sequence[Simulated], constant: Sequence[Simulated]) -> Panel:
    return Panel(
        f"latency, mean (n={_DEVICES}, M=k=2)",
        "ρ",
        "T/α",
        [
            _measured("exponential service", 0, exponential, "latency_s"),
            _predicted("predicted", 0, lambda load: _law(load, 1.0).latency_mean),
            _measured("constant service", 1, constant, "latency_s"),
            _predicted("predicted", 1, lambda load: _law(load, 0.0).latency_mean),
            _predicted(
                "α/(1-ρ)·(M·H(k+1)+1)",
                2,
                lambda load: stability.end_to_end_latency_s(1.0, load, _LAYERS, _FANOUT),
            ),
        ],
        y_max=60.0,
        verticals=(1.0,),
    )


def _unequal_panel(runs: Sequence[Simulated]) -> Panel:
    loads = [(one.scenario.utilisation or 0.0) * _SLOW_FACTOR for one in runs]
    fast, slow = [], []
    for one in runs:
        slow.append(sum(one.utilisations[:_SLOW]) / _SLOW)
        fast.append(sum(one.utilisations[_SLOW:]) / (_DEVICES - _SLOW))
    return Panel(
        f"unequal devices: {_SLOW} of {_DEVICES} are {_SLOW_FACTOR:g}x slower",
        "ρ of a slow device, general condition",
        "share of time inferring",
        [
            Curve("slow", loads, slow, [0.0] * len(loads)),
            _predicted("slow, predicted", 0, lambda load: min(load, 1.0), 1.2),
            Curve("fast", loads, fast, [0.0] * len(loads), colour=1),
            _predicted("fast, predicted (if slow ones keep up)", 1, lambda load: load / _SLOW_FACTOR, 1.2),
        ],
        y_max=1.6,  # room for the legend
        verticals=(1.0,),
    )


def _loss(runs: Sequence[Simulated]) -> Panel:
    return Panel(
        f"refused prompts, {_PLACES} places, M=0",
        "ρ",
        "share",
        [
            Curve("measured", _loads(runs), [one.refused for one in runs], [0.0] * len(runs)),
            _predicted("M/M/1/K", 0, lambda load: stability.loss_probability(load, _PLACES), 1.2),
        ],
        verticals=(1.0,),
    )


def _growth(runs: Sequence[Simulated], layers: int, fanout: int) -> Panel:
    mine = [one for one in runs if (one.scenario.layers, one.scenario.fanout) == (layers, fanout)]
    loads = list(dict.fromkeys(_loads(mine)))
    grown = [[one.growth_hz for one in mine if one.scenario.utilisation == load] for load in loads]
    items = stability.items_per_prompt(layers, fanout)
    return Panel(
        f"queue growth above ρ = 1 (n=8, M={layers}, k={fanout})",
        "ρ",
        "items a device in a time α",
        [
            Curve("measured", loads, list(map(mean, grown)), list(map(_half_width, grown))),
            Curve(
                "fluid limit",
                loads,
                [queue_growth_hz(1.0, layers, fanout, load / items) for load in loads],
                predicted=True,
            ),
            Curve(
                "plain excess ρ - 1",
                loads,
                [excess_hz(1.0, layers, fanout, load / items) for load in loads],
                predicted=True,
                colour=1,
            ),
        ],
    )


def _half_width(values: Sequence[float]) -> float:
    """Half a 95 % interval of the mean over seeds."""
    return _T_95 * stdev(values) / math.sqrt(len(values)) if len(values) == _OVERLOAD_SEEDS else math.inf
