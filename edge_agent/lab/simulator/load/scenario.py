"""What a load run is: everything that decides its course, checked when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import FANOUT_MAX, LAYERS_MAX
from edge_agent.core.policies import make_policies
from edge_agent.core.settings import SLOTS_MAX, UNBOUNDED, AgentSettings
from edge_agent.core.stability import items_per_prompt, mean_service_time_s
from edge_agent.lab.simulator.service import DeclaredService, Service
from edge_agent.lab.simulator.workload import Burst, Recorded, Workload
from edge_agent.service_time import Distribution, ServiceTime
from edge_agent.speed_up import NO_GAIN, SpeedUp

PROMPTS_MIN = 10_000  # by default: gives 95 % intervals of a few per cent at a moderate load
PROMPTS_PER_DEVICE = 20
PROMPTS_TO_SETTLE_MAX = 100_000  # by default, a minute or two; who wants more says so
_WARM_UP_SHARE_MAX = 0.5  # of the expected run, so that there is always something left to measure
_RELAXATIONS = 10.0  # a queue forgets how it began within a few times α/(1-ρ)²
_OVERLOADED = 0.98  # from here on that time is longer than any run; a share of the run is cut instead
EXPONENTIAL_1S = ServiceTime(Distribution.EXPONENTIAL, 1.0)
_DEVICE = AgentSettings()


@final
@dataclass(frozen=True, slots=True)
class Scenario:
    """A mesh under load.

    arrival_rate_hz: λ, prompts per second and device. utilisation: instead of it, the load ρ of a device of normal
        speed under uniform selection, from which λ follows.
    service: service times of items without references; those with references take `aggregation_factor` times longer,
        and `slow_devices` devices (the first ones) take `slow_factor` times longer for everything.
    slots, speed_up: inferences at once at each device, which share its engine evenly, and how much more work they do
        than one. ρ is of what the engine does with all slots busy.
    prompts: arrivals in all; after the last one the mesh is left to finish. warm_up_s: prompts that arrive earlier, and
        all that happens until then, are not measured. Both have defaults that grow with mesh and load.
    queue_capacity: places of each device; `UNBOUNDED` for comparison with theory.
    network_delay_s: what every message takes.
    load_news_s: how old the news of others' load may be in the shared complete view (0: always fresh).
    gossip: devices keep views of their own and gossip, instead of sharing a complete one.
    status: devices measure and tell their own load, as live ones do; plans that follow the load need it.
    workload: takes the place of Poisson arrivals; measured_service: of declared service times. The arrival rate must
        still be said, for the prediction.

    Raises:
        SettingsError: something does not fit, in one line.
    """

    devices: int = 20
    layers: int = 2
    fanout: int = 2
    arrival_rate_hz: float | None = None
    utilisation: float | None = None
    service: ServiceTime = EXPONENTIAL_1S
    aggregation_factor: float = 1.0
    slots: int = 1
    speed_up: SpeedUp = NO_GAIN
    slow_devices: int = 0
    slow_factor: float = 1.0
    prompts: int | None = None
    warm_up_s: float | None = None
    queue_capacity: int = UNBOUNDED
    network_delay_s: float = 0.0
    peer_selection: str = "uniform"
    layer_plan: str = "fixed"
    load_news_s: float = 0.0
    gossip: bool = False
    status: bool = False
    deadline_s: float | None = None
    bursts: tuple[Burst, ...] = ()
    workload: Workload | None = None
    measured_service: Service | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        _check_whole("devices", self.devices, 1)
        if not 1 <= self.slots <= SLOTS_MAX:
            raise SettingsError(f"slots must be 1 to {SLOTS_MAX}, not {self.slots}")
        if not 0 <= self.layers <= LAYERS_MAX:
            raise SettingsError(f"layers must be 0 to {LAYERS_MAX}, not {self.layers}")
        if not 0 <= self.fanout <= FANOUT_MAX:
            raise SettingsError(f"fanout must be 0 to {FANOUT_MAX}, not {self.fanout}")
        if self.layers and self.fanout >= self.devices:
            raise SettingsError(
                f"fanout must be below the number of devices: {self.fanout} peers cannot be asked in a mesh of "
                f"{self.devices}"
            )
        if (self.arrival_rate_hz is None) == (self.utilisation is None):
            raise SettingsError("give either an arrival rate or a utilisation")
        _check_positive("arrival rate", self.arrival_rate_hz)
        _check_positive("utilisation", self.utilisation)
        _check_positive("slow factor", self.slow_factor)
        _check_positive("deadline", self.deadline_s)
        if not 0 <= self.slow_devices <= self.devices:
            raise SettingsError(f"slow devices must be 0 to {self.devices}, not {self.slow_devices}")
        if self.prompts is not None:
            _check_whole("prompts", self.prompts, 1)
        _check_whole("capacity", self.queue_capacity, 1)
        for name, value in (("warm-up", self.warm_up_s), ("network delay", self.network_delay_s)):
            if value is not None and not 0.0 <= value < math.inf:
                raise SettingsError(f"the {name} must be 0 or more seconds, not {value:g}")
        if self.warm_up_s is not None and self.warm_up_s > 0.0 and self.warm_up_s >= self.duration_s:
            raise SettingsError(
                f"a warm-up of {self.warm_up_s:g} s leaves nothing to measure of a run of about {self.duration_s:.4g} s"
            )
        if self.load_news_s < 0.0:
            raise SettingsError(f"the age of load news must be 0 or more seconds, not {self.load_news_s:g}")
        make_policies(self.settings())
        self.service_model()

    @property
    def mean_service_s(self) -> float:
        """α of a device of normal speed, over the plain items and those with references."""
        plain = self.service.mean_s
        return mean_service_time_s(plain, plain * self.aggregation_factor, self.layers, self.fanout)

    @property
    def rate_hz(self) -> float:
        """λ, prompts per second and device."""
        if self.arrival_rate_hz is not None:
            return self.arrival_rate_hz
        return (self.utilisation or 0.0) / (self._full_item_s * items_per_prompt(self.layers, self.fanout))

    @property
    def load(self) -> float:
        """ρ of a device of normal speed under uniform selection."""
        return self.rate_hz * self._full_item_s * items_per_prompt(self.layers, self.fanout)

    @property
    def work_shares(self) -> tuple[float, ...]:
        """What a second with 0, 1, ... c items running is of what an engine can do: μ(n) / μ(c)."""
        full = self.speed_up.factor(self.slots)
        return (0.0, *(self.speed_up.factor(running) / full for running in range(1, self.slots + 1)))

    @property
    def gains(self) -> tuple[float, ...]:
        """μ(1..c) of a device over its μ(1)."""
        return tuple(self.speed_up.factor(running) for running in range(1, self.slots + 1))

    @property
    def _full_item_s(self) -> float:
        """1 / μ(c): between two ends of items, with all slots busy."""
        return self.mean_service_s / self.speed_up.factor(self.slots)

    @property
    def prompt_count(self) -> int:
        """Arrivals in all."""
        if isinstance(self.workload, Recorded):
            return min(len(self.workload.times), self.prompts or len(self.workload.times))
        if self.prompts is not None:
            return self.prompts
        few = max(PROMPTS_MIN, PROMPTS_PER_DEVICE * self.devices)
        return max(few, min(PROMPTS_TO_SETTLE_MAX, self.prompts_to_settle))

    @property
    def prompts_to_settle(self) -> int:
        """Arrivals in all, as many to measure as in the wanted warm-up; 0 if that has no end or they are recorded."""
        if isinstance(self.workload, Recorded) or math.isinf(self.warm_up_wanted):
            return 0
        return math.ceil(self.warm_up_wanted * self.rate_hz * self.devices / _WARM_UP_SHARE_MAX)

    @property
    def duration_s(self) -> float:
        """Expected time until the last arrival."""
        if isinstance(self.workload, Recorded):
            return self.workload.duration_s
        return self.prompt_count / (self.rate_hz * self.devices)

    @property
    def warm_up_wanted(self) -> float:
        """Seconds until the mesh has forgotten that it began empty; infinite where it hardly does or never."""
        if self.warm_up_s is not None:
            return self.warm_up_s
        if self.load >= _OVERLOADED:
            return math.inf
        return _RELAXATIONS * self.mean_service_s / (1.0 - self.load) ** 2

    @property
    def warm_up(self) -> float:
        """Seconds that are not measured."""
        if self.warm_up_s is not None:
            return self.warm_up_s
        return min(_WARM_UP_SHARE_MAX * self.duration_s, self.warm_up_wanted)

    def slowness(self) -> tuple[float, ...]:
        """How many times longer each device takes; empty if all are equal."""
        if not self.slow_devices or self.slow_factor == 1.0:
            return ()
        return (self.slow_factor,) * self.slow_devices + (1.0,) * (self.devices - self.slow_devices)

    def service_model(self) -> Service:
        """Returns what draws service times."""
        if self.measured_service is not None:
            return self.measured_service
        return DeclaredService(self.service, self.aggregation_factor, self.slowness())

    def settings(self) -> AgentSettings:
        """Returns the settings of every device: the defaults, but for what the scenario decides."""
        unbounded = self.queue_capacity >= UNBOUNDED
        return AgentSettings(
            layers=self.layers,
            fanout=self.fanout,
            deadline_s=self.deadline_s,
            queue_capacity=self.queue_capacity,
            queue_bytes_max=2**60,  # places are the bound that is studied: theory knows no bytes
            queue_work_max=2**60,  # nor tokens
            principal_share=1.0 if unbounded else _DEVICE.principal_share,
            # answers are never asked for again here, and responses only while a probe is under way
            answers_bytes_max=1,
            journal=False,
            responses_kept_max=16,
            gossip_interval_s=_DEVICE.gossip_interval_s if self.gossip else None,
            status_interval_s=_DEVICE.status_interval_s if self.needs_status else None,
            receipt_timeout_s=max(_DEVICE.receipt_timeout_s, 4.0 * self.network_delay_s),
            peer_selection=self.peer_selection,
            layer_plan=self.layer_plan,
        )

    @property
    def needs_status(self) -> bool:
        """Whether devices measure their own load."""
        return self.status or self.layer_plan != "fixed"


def _check_whole(name: str, value: int, least: int) -> None:
    if value < least:
        raise SettingsError(f"{name} must be {least} or more, not {value}")


def _check_positive(name: str, value: float | None) -> None:
    if value is not None and not 0.0 < value < math.inf:
        raise SettingsError(f"the {name} must be a number above 0, not {value:g}")
