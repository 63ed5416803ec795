"""One seed: a phase with faults, in which nothing may go wrong that must not (safety), then one without, in which all
that must happen has to (liveness)."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import final

from edge_agent.core.errors import InvariantError
from edge_agent.core.settings import AgentSettings
from edge_agent.lab.simulator.checkers import EndsOnce, Violation, all_checkers
from edge_agent.lab.simulator.checkers.base import Checker
from edge_agent.lab.simulator.checkers.invariants import Invariants
from edge_agent.lab.simulator.checkers.views_converge import ViewsConverge
from edge_agent.lab.simulator.faults.actions import heal, schedule_faults
from edge_agent.lab.simulator.faults.kinds import ALL_KINDS, FaultKind
from edge_agent.lab.simulator.faults.mesh import FaultMesh
from edge_agent.lab.simulator.faults.plan import FAULTS_S, Plan, draw_plan
from edge_agent.lab.simulator.randomness import stream
from edge_agent.lab.simulator.trace import Trace

SETTLE_STEP_S = 30.0
SETTLE_MAX_S = 1_800.0  # the longest queue of the slowest items, several times over
_ROUND_S = 2.0
_AT_REST_S = 60.0  # after the last prompt: 30 s until the dead are forgotten, and some rounds of gossip


class SeedOutcome(StrEnum):
    """How a seed ended."""

    HELD = "held"
    CRASH = "crash"
    SAFETY = "safety"
    LIVENESS = "liveness"


@final
@dataclass(frozen=True, slots=True)
class FaultResult:
    """What a seed came to. `trace` is there only if it was asked for."""

    seed: int
    outcome: SeedOutcome
    checker: str
    detail: str
    plan: Plan
    trace_hash: str
    events: int
    accepted: int
    ended: int
    told: int
    excused: int
    """Of the accepted ones: nobody could help it that they were lost."""
    simulated_s: float
    trace: tuple[str, ...] = ()


def every_checker(settings: AgentSettings) -> list[Checker]:
    """Returns one of each, the core's own invariants last."""
    return [*all_checkers(settings), Invariants()]


def run_seed(
    seed: int,
    allowed: tuple[FaultKind, ...] = ALL_KINDS,
    *,
    keep_trace: bool = False,
    make_checkers: Callable[[AgentSettings], list[Checker]] = every_checker,
    slots: int = 1,
) -> FaultResult:
    """Runs a seed to its end or to its first violation. The same seed goes the same way every time.

    slots: items that each device infers at once; the seed decides all the rest.

    `make_checkers` returns what watches; the first must be an `EndsOnce`.
    """
    trace = Trace(keep_texts=keep_trace)
    plan = replace(draw_plan(seed, allowed, stream(seed, "plan")), slots=slots)
    checkers = make_checkers(plan.settings)
    mesh = FaultMesh(plan, trace, checkers)
    outcome, checker, detail = SeedOutcome.HELD, "", ""
    try:
        _run(mesh, checkers)
    except Violation as violation:
        outcome = SeedOutcome.LIVENESS if violation.liveness else SeedOutcome.SAFETY
        checker, detail = violation.checker, violation.detail
    except InvariantError as error:
        outcome, checker, detail = SeedOutcome.SAFETY, "the core's own invariants", str(error)
    except Exception:  # whatever it is, the seed that brings it about is worth more than a stop
        outcome, checker, detail = SeedOutcome.CRASH, "crash", traceback.format_exc()
    ends = checkers[0] if isinstance(checkers[0], EndsOnce) else EndsOnce()
    return FaultResult(
        seed=seed,
        outcome=outcome,
        checker=checker,
        detail=detail,
        plan=plan,
        trace_hash=trace.digest(),
        events=mesh.cluster.events,
        accepted=ends.accepted + ends.excused_count,
        ended=ends.ended,
        told=ends.told_count,
        excused=ends.excused_count,
        simulated_s=mesh.cluster.now,
        trace=tuple(trace.texts or ()),
    )


def _run(mesh: FaultMesh, checkers: list[Checker]) -> None:
    plan, cluster = mesh.plan, mesh.cluster
    for device in range(plan.devices - plan.joining):
        mesh.start(device)
    for device in range(plan.devices - plan.joining, plan.devices):
        mesh.cluster.at(mesh.rng.uniform(0.0, FAULTS_S), lambda device=device: mesh.start(device))  # type: ignore[misc]  # bound now
    schedule_faults(mesh)
    asking = stream(plan.seed, "asking")
    for number in range(plan.prompts):
        # some are asked when the faults are over
        at, device = asking.uniform(0.0, 1.2 * FAULTS_S), asking.randrange(plan.devices)
        if FaultKind.REPEATS in plan.kinds and number % 20:
            device = 0  # one device has to forget an answer, or not to
        mesh.users.ask(number, at, device, plan.settings.layers, plan.settings.fanout)
    cluster.run(FAULTS_S)
    heal(mesh)
    _settle(mesh, checkers)


def _settle(mesh: FaultMesh, checkers: list[Checker]) -> None:
    cluster = mesh.cluster
    cluster.run(cluster.now + 0.2 * FAULTS_S + _AT_REST_S)
    end = cluster.now + SETTLE_MAX_S
    while cluster.now < end and any(agent and any(agent.outstanding().values()) for agent in cluster.agents):
        cluster.run(cluster.now + SETTLE_STEP_S)
    for checker in checkers:
        if isinstance(checker, ViewsConverge):
            # for a moment a device may wait for news of another: that they agree at some moment is what counts
            rounds_end = cluster.now + _AT_REST_S
            while checker.difference(cluster.agents) and cluster.now < rounds_end:
                cluster.run(cluster.now + _ROUND_S)
        checker.at_rest(cluster.now, cluster.agents)
