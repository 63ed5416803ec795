"""What a seed decides before anything happens: the mesh, its settings, its load and which faults there may be.

Each seed has some kinds of faults and not others, short queues or long ones, deadlines or none: so that no kind of
trouble is always drowned by another.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import final

from edge_agent.core.settings import AgentSettings
from edge_agent.core.shares import ANYBODY
from edge_agent.core.sizes import MESSAGE_OVERHEAD_BYTES, RECORD_BYTES
from edge_agent.lab.simulator.faults.kinds import FaultKind
from edge_agent.lab.simulator.network import NetworkSettings
from edge_agent.lab.simulator.randomness import stream
from edge_agent.service_time import Distribution, ServiceTime

FAULTS_S = 60.0  # how long faults go on: enough for each fault to meet sessions in every stage
_KIND_CHANCE = 0.5
_LATER_KIND_CHANCE = 0.25  # of those that came later: twice as many at once would drown each other
_FEW = 4  # kinds asked for by name: so few are in every seed
_FIRST_KINDS = 13  # those of before, whose draws stay
_SHARED_KINDS = 25  # up to these the later ones share a stream; each that came after them has its own
_KEPT_ENDS = 8  # that there is room for where there are floods, or as many as places: so few that one fills it
_LONG_OWED = frozenset((FaultKind.SIZES, FaultKind.JOURNAL, FaultKind.CARD, FaultKind.REPEATS))
"""With these ends are large, many, or wait for a disk: they need more room, or some would go untold."""
_SHUT_OUT = ("user.u0", "user.flood", ANYBODY)
_REPEATED_PROMPTS = (280, 400)  # more than the 256 answers that were once kept


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
    engine_exception_share: float
    engine_endless_share: float
    will_share: float
    """Of the deaths of devices that their broker tells of."""
    outbox_max: int
    """Messages that a device keeps without a connection."""
    packet_bytes_max: int | None
    """The largest packet that the broker takes; `None`: it says none."""
    packet_bytes_later: int | None
    """The same after the broker was gone: another one may have come in its place."""

    liar: int | None
    """The device that lies."""
    signed: bool
    """Whether the mesh has certificates, with which devices sign what they say of themselves."""
    shut_out: str
    """The user for whom the broker takes no answers; "" if it takes all."""
    slots: int = 1
    """Items that each device infers at once."""

    @property
    def clones(self) -> int:
        """Devices with the id of another."""
        return 1 if FaultKind.CLONE in self.kinds else 0

    def __str__(self) -> str:
        kinds = ", ".join(kind for kind in FaultKind if kind in self.kinds) or "none"
        return (
            f"{self.devices} devices, M={self.settings.layers} k={self.settings.fanout} join={self.settings.join}, "
            f"{self.prompts} prompts, capacity {self.settings.queue_capacity}, deadline {self.settings.deadline_s}, "
            f"service {self.service}; faults: {kinds}"
        )


def draw_plan(seed: int, allowed: tuple[FaultKind, ...], rng: random.Random) -> Plan:
    """Returns what the seed decides. `allowed` kinds are each present by chance; a few of them always are."""
    # every kind is drawn for, allowed or not: leaving one out does not change the rest of the plan
    later = stream(seed, "plan, later kinds")
    every = tuple(FaultKind)
    drawn = {kind: rng.random() < _KIND_CHANCE for kind in every[:_FIRST_KINDS]}
    drawn |= {kind: later.random() < _LATER_KIND_CHANCE for kind in every[_FIRST_KINDS:_SHARED_KINDS]}
    drawn |= {kind: stream(seed, f"plan, {kind}").random() < _LATER_KIND_CHANCE for kind in every[_SHARED_KINDS:]}
    kinds = frozenset(allowed if len(allowed) <= _FEW else (kind for kind in allowed if drawn[kind]))
    plan = _with_liar(_with_later_kinds(_draw(seed, kinds, rng), later), stream(seed, "plan, liar"))
    shut_out = stream(seed, "plan, shut out").choice(_SHUT_OUT)
    return replace(plan, shut_out=shut_out) if FaultKind.SHUT_OUT in kinds else plan


def _draw(seed: int, kinds: frozenset[FaultKind], rng: random.Random) -> Plan:
    devices = rng.randint(2, 6)
    settings = _draw_settings(rng, devices)
    base = NetworkSettings(
        delay_s=rng.choice((0.001, 0.02, 0.2)),
        jitter=rng.choice((None, ServiceTime(Distribution.EXPONENTIAL, 0.05), ServiceTime(Distribution.GAMMA, 0.3, 4))),
        broker_keeps=rng.random() < 0.5,
        outbox_keeps=rng.random() < 0.7,
    )
    shares = [rng.choice((0.02, 0.1, 0.3)) for _ in range(3)]
    network = replace(
        base,
        lost=shares[0] if FaultKind.LOSS in kinds else 0.0,
        doubled=shares[1] if FaultKind.DOUBLING in kinds else 0.0,
        reordered=shares[2] if FaultKind.REORDERING in kinds else 0.0,
        reorder_s=rng.choice((0.5, 5.0)),
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
        engine_exception_share=0.0,
        engine_endless_share=0.0,
        will_share=1.0,
        outbox_max=1_024,
        packet_bytes_max=None,
        packet_bytes_later=None,
        liar=None,
        signed=False,
        shut_out="",
    )


def _with_later_kinds(plan: Plan, rng: random.Random) -> Plan:
    """What the kinds that came later ask for. Their draws are all made, whichever of them there are."""
    kinds, settings = plan.kinds, plan.settings
    exceptions, endless = rng.choice((0.02, 0.1, 0.3)), rng.choice((0.02, 0.1))
    wills, retained = rng.choice((0.0, 0.5)), rng.random() < 0.5
    packet = rng.choice((None, 65_536, 131_072, 262_144, 300_000))
    wide, fanout, layers = rng.random() < 0.4, rng.randint(5, 8), rng.randint(1, 3)
    prompts, repeated = rng.randint(4, 10), rng.randint(*_REPEATED_PROMPTS)
    outbox_max = rng.choice((64, 256, 1_024))  # a device has 32 places: their ends fit into any of these
    packet_later = packet if rng.random() < 0.5 else rng.choice((None, 32_768, 65_536, 131_072))
    if FaultKind.SIZES in kinds:
        plan = replace(plan, prompts=prompts, packet_bytes_max=packet, packet_bytes_later=packet_later)
        settings = replace(settings, layers=layers, fanout=fanout if wide else settings.fanout)
        if wide:  # short of devices, since each needs many, but not of time
            plan = replace(plan, devices=fanout + 2)
            settings = replace(settings, queue_capacity=max(settings.queue_capacity, 8), principal_share=1.0)
    if FaultKind.REPEATS in kinds:
        plan = replace(plan, prompts=repeated, service=replace(plan.service, mean_s=0.02))
        settings = replace(settings, layers=0, queue_capacity=max(settings.queue_capacity, 8))
    if FaultKind.FLOOD in kinds:
        settings = replace(settings, prompt_layers_max=settings.layers, prompt_fanout_max=max(settings.fanout, 3))
        if not kinds & _LONG_OWED:
            settings = replace(settings, answers_bytes_max=_bytes_of_few_ends(settings))
    if FaultKind.ENDLESS in kinds:  # without a deadline nothing would ever end them, and rightly so
        settings = replace(settings, deadline_s=settings.deadline_s or 60.0)
    if FaultKind.RETAIN in kinds:
        plan = replace(plan, presence=True, retained=retained, will_share=wills)
    return replace(
        plan,
        settings=settings,
        engine_exception_share=exceptions if FaultKind.EXCEPTION in kinds else 0.0,
        engine_endless_share=endless if FaultKind.ENDLESS in kinds else 0.0,
        outbox_max=outbox_max if FaultKind.TRANSPORT in kinds else plan.outbox_max,
    )


def _bytes_of_few_ends(settings: AgentSettings) -> int:
    """Twice as many ends as there are places: with less room they may go untold (`Ends.has_room`)."""
    records = settings.layers * (settings.prompt_fanout_max + 1) + 1
    return max(_KEPT_ENDS, 2 * settings.queue_capacity) * (MESSAGE_OVERHEAD_BYTES + records * RECORD_BYTES)


def _with_liar(plan: Plan, rng: random.Random) -> Plan:
    """The others choose whom to ask by what is said, and ask often enough to find out."""
    liar, signed, prompts = rng.randrange(plan.devices), rng.random() < 0.7, rng.randint(20, 40)
    if FaultKind.LYING not in plan.kinds:
        return plan
    layers = max(plan.settings.layers, 1)
    most = max(plan.settings.prompt_layers_max, layers)
    settings = replace(plan.settings, peer_selection="two-choices", layers=layers, prompt_layers_max=most)
    return replace(plan, settings=settings, liar=liar, signed=signed, prompts=max(plan.prompts, prompts))


def _draw_settings(rng: random.Random, devices: int) -> AgentSettings:
    """Short queues and timeouts close to the delays, so that every limit is met."""
    return AgentSettings(
        layers=rng.randint(0, 3),
        fanout=rng.randint(1, min(3, devices)),
        deadline_s=rng.choice((None, None, 20.0, 60.0)),
        queue_capacity=rng.choice((1, 2, 4, 8, 32)),
        principal_share=rng.choice((0.25, 0.5, 1.0)),
        receipt_timeout_s=rng.choice((1.0, 2.0)),
        receipt_timeout_min_s=rng.choice((0.1, 0.25, 2.0)),
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
