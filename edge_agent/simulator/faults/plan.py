"""What a seed decides before anything happens: the mesh, its settings, its load and which faults there may be.

Each seed has some kinds of faults and not others, short queues or long ones, deadlines or none: so that no kind of
trouble is always drowned by another.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from edge_agent.core.errors import SettingsError
from edge_agent.core.service_time import Distribution, ServiceTime
from edge_agent.core.settings import AgentSettings
from edge_agent.simulator.network import NetworkSettings

FAULTS_S = 60.0  # how long faults go on: enough for each fault to meet sessions in every stage
_KIND_CHANCE = 0.5


class FaultKind(StrEnum):
    """What may go wrong."""

    LOSS = "loss"
    DOUBLING = "doubling"
    REORDERING = "reordering"
    PARTITION = "partition"
    OUTAGE = "outage"
    DISCONNECT = "disconnect"
    CRASH = "crash"
    DISK = "disk"
    SLOW = "slow"
    WEDGE = "wedge"
    ENGINE = "engine"
    CLOCK = "clock"
    CHURN = "churn"


EXPLANATIONS = {
    FaultKind.LOSS: "messages between devices are lost",
    FaultKind.DOUBLING: "messages arrive twice",
    FaultKind.REORDERING: "messages are late and let later ones pass",
    FaultKind.PARTITION: "groups of devices cannot reach each other, though each has its broker",
    FaultKind.OUTAGE: "the broker goes and comes back, with or without what it kept",
    FaultKind.DISCONNECT: "a device loses its connection for a while",
    FaultKind.CRASH: "a device dies between two effects and starts again with its journal",
    FaultKind.DISK: "a device dies and starts again without its journal",
    FaultKind.SLOW: "a device is several times slower for a while",
    FaultKind.WEDGE: "an engine hangs until its supervisor ends it",
    FaultKind.ENGINE: "inferences fail, once or for good",
    FaultKind.CLOCK: "a device's wall clock jumps, by seconds or by years",
    FaultKind.CHURN: "devices join late, leave for good, stop and come back",
}


def parse_faults(text: str) -> tuple[FaultKind, ...]:
    """Reads `all` or names separated by commas.

    Raises:
        SettingsError: a name is not known.
    """
    if text == "all":
        return tuple(FaultKind)
    try:
        return tuple(FaultKind(name.strip()) for name in text.split(","))
    except ValueError:
        names = ", ".join(FaultKind)
        raise SettingsError(f"faults: {text!r} is not `all` or some of: {names}") from None


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """A drawn run. Shares are chances; times are seconds."""

    seed: int
    devices: int
    joining: int
    """How many of the devices start only later."""
    settings: AgentSettings
    kinds: frozenset[FaultKind]
    network: NetworkSettings
    quiet_network: NetworkSettings
    """After the faults."""
    service: ServiceTime
    prompts: int
    presence: bool
    """Whether the broker carries presence and last wills at all."""
    retained: bool
    """Whether it hands the last presence of each device to those who connect."""
    engine_crash_share: float
    engine_failure_share: float

    def __str__(self) -> str:
        kinds = ", ".join(kind for kind in FaultKind if kind in self.kinds) or "none"
        return (
            f"{self.devices} devices, M={self.settings.layers} k={self.settings.fanout} join={self.settings.join}, "
            f"{self.prompts} prompts, capacity {self.settings.queue_capacity}, deadline {self.settings.deadline_s}, "
            f"service {self.service}; faults: {kinds}"
        )


def draw_plan(seed: int, allowed: tuple[FaultKind, ...], rng: random.Random) -> Plan:
    """Returns what the seed decides. `allowed` kinds are each present by chance."""
    # every kind is drawn for, allowed or not: leaving one out does not change the rest of the plan
    drawn = {kind: rng.random() < _KIND_CHANCE for kind in FaultKind}
    kinds = frozenset(kind for kind in allowed if drawn[kind])
    devices = rng.randint(2, 6)
    settings = _draw_settings(rng, devices)
    base = NetworkSettings(
        delay_s=rng.choice((0.001, 0.02, 0.2)),
        jitter=rng.choice((None, ServiceTime(Distribution.EXPONENTIAL, 0.05), ServiceTime(Distribution.GAMMA, 0.3, 4))),
        broker_keeps=rng.random() < 0.5,
        outbox_keeps=rng.random() < 0.7,
    )
    shares = [rng.choice((0.02, 0.1, 0.3)) for _ in range(3)]
    network = NetworkSettings(
        base.delay_s,
        base.jitter,
        lost=shares[0] if FaultKind.LOSS in kinds else 0.0,
        doubled=shares[1] if FaultKind.DOUBLING in kinds else 0.0,
        reordered=shares[2] if FaultKind.REORDERING in kinds else 0.0,
        reorder_s=rng.choice((0.5, 5.0)),
        broker_keeps=base.broker_keeps,
        outbox_keeps=base.outbox_keeps,
    )
    engine = (rng.choice((0.05, 0.3)), rng.choice((0.0, 0.1)))
    return Plan(
        seed=seed,
        devices=devices + 1,
        joining=1 if FaultKind.CHURN in kinds else 0,
        settings=settings,
        kinds=kinds,
        network=network,
        quiet_network=base,
        service=ServiceTime(rng.choice(tuple(Distribution)), rng.choice((0.2, 1.0, 3.0)), 2.0),
        prompts=rng.randint(5, 25),
        presence=rng.random() < 0.7,
        retained=rng.random() < 0.5,
        engine_crash_share=engine[0] if FaultKind.ENGINE in kinds else 0.0,
        engine_failure_share=engine[1] if FaultKind.ENGINE in kinds else 0.0,
    )


def _draw_settings(rng: random.Random, devices: int) -> AgentSettings:
    """Short queues and timeouts close to the delays, so that every limit is met."""
    return AgentSettings(
        layers=rng.randint(0, 3),
        fanout=rng.randint(1, min(3, devices)),
        deadline_s=rng.choice((None, None, 20.0, 60.0)),
        queue_capacity=rng.choice((1, 2, 4, 8, 32)),
        origin_share=rng.choice((0.25, 0.5, 1.0)),
        receipt_timeout_s=rng.choice((1.0, 2.0)),
        request_sends_max=rng.choice((1, 2)),
        probe_interval_s=rng.choice((3.0, 15.0)),
        substitutes_max=rng.choice((0, 1, 4)),
        gossip_interval_s=rng.choice((1.0, 2.0)),
        gossip_sample=rng.choice((3, 8)),
        inference_attempts_max=rng.choice((1, 2)),
        join=rng.choice(("wait-for-all", "wait-for-all", "quorum(1)", "quorum(2)")),
        resume_grace_s=rng.choice((0.0, 5.0)),
        status_interval_s=None,
    )
