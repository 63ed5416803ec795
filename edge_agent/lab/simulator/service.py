"""How long inferences take: declared distributions, speeds of devices, or token counts and rates that were measured."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_agent.core.effects import StartInference
from edge_agent.core.errors import SettingsError
from edge_agent.service_time import Distribution, ServiceTime


class Service(Protocol):
    """Draws service times."""

    def draw(self, device: int, request: StartInference, rng: random.Random) -> float:
        """Returns the seconds that `device` takes for `request`."""
        ...


@dataclass(frozen=True, slots=True)
class DeclaredService:
    """A distribution of service times.

    aggregation_factor: mean service time of an item with references over one without.
    slowness: how many times longer each device takes; empty if all are equal.
    """

    time: ServiceTime
    aggregation_factor: float = 1.0
    slowness: Sequence[float] = ()

    def __post_init__(self) -> None:
        if not 0.0 < self.aggregation_factor < float("inf"):
            raise SettingsError(f"the aggregation factor must be a number above 0, not {self.aggregation_factor}")
        if any(not 0.0 < factor < float("inf") for factor in self.slowness):
            raise SettingsError("how many times slower a device is must be a number above 0")

    def draw(self, device: int, request: StartInference, rng: random.Random) -> float:
        """Returns seconds."""
        time = self.time
        if time.distribution is Distribution.EXPONENTIAL:  # most runs: saves a call
            seconds = rng.expovariate(1.0 / time.mean_s)
        else:
            seconds = time.draw(rng)
        if request.references:
            seconds *= self.aggregation_factor
        return seconds * self.slowness[device] if self.slowness else seconds


@dataclass(frozen=True, slots=True)
class TokenService:
    """Service times out of measured token counts and rates: prompt tokens are read, answer tokens are written.

    input_tokens, output_tokens: measured samples, drawn from with equal chance. Each reference of an item adds an
    output's worth of tokens to what is read.
    prefill_tokens_per_s, decode_tokens_per_s: the rates of each device, measured; one entry serves all devices.
    """

    input_tokens: Sequence[int]
    output_tokens: Sequence[int]
    prefill_tokens_per_s: Sequence[float]
    decode_tokens_per_s: Sequence[float]

    def __post_init__(self) -> None:
        if not self.input_tokens or not self.output_tokens:
            raise SettingsError("token counts: at least one sample of input and output tokens is needed")
        rates = (*self.prefill_tokens_per_s, *self.decode_tokens_per_s)
        if not self.prefill_tokens_per_s or not self.decode_tokens_per_s or min(rates) <= 0.0:
            raise SettingsError("token rates: at least one prefill and one decode rate above 0 is needed")

    def draw(self, device: int, request: StartInference, rng: random.Random) -> float:
        """Returns seconds."""
        read = rng.choice(self.input_tokens) + sum(rng.choice(self.output_tokens) for _ in request.references)
        prefill = self.prefill_tokens_per_s[device % len(self.prefill_tokens_per_s)]
        decode = self.decode_tokens_per_s[device % len(self.decode_tokens_per_s)]
        return read / prefill + rng.choice(self.output_tokens) / decode
