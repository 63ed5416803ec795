"""An engine that takes declared service times and infers nothing, for load experiments.

Everything it makes says so: its card is marked synthetic and its text begins with `[synthetic]`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import pairwise

from edge_agent.adapters.synthetic.clock import SharedClock
from edge_agent.core.effects import StartInference
from edge_agent.core.provenance import FinishReason
from edge_agent.ports import InferenceResult, ModelCard
from edge_agent.service_time import ServiceTime
from edge_agent.speed_up import NO_GAIN, SpeedUp

STREAM_CHUNKS_MAX = 1_000  # more would measure the event loop instead of the declared service time


class SyntheticEngine:
    """Waits for a drawn service time, then yields a declared text.

    service: the distribution of the service time of a prompt without references, in seconds.
    aggregation_factor: how many times longer an inference with references takes; longer prompts do, with real models.
    seed: of this engine's own random stream; the same seed draws the same service times.
    stream_chunks: in how many pieces, evenly spread over the service time, a streamed text comes.
    slots: inferences at once. They share the engine evenly: alone one takes its service time, n take n / speed-up(n)
        times as long.
    speed_up: how much more work several at once do.
    """

    def __init__(
        self,
        service: ServiceTime,
        *,
        aggregation_factor: float = 1.0,
        seed: int = 0,
        stream_chunks: int = 4,
        name: str = "",
        family: str = "synthetic",
        slots: int = 1,
        speed_up: SpeedUp = NO_GAIN,
    ) -> None:
        if not aggregation_factor > 0.0:
            raise ValueError(f"aggregation_factor must be above 0, not {aggregation_factor}")
        if not 1 <= stream_chunks <= STREAM_CHUNKS_MAX:
            raise ValueError(f"stream_chunks must be 1 to {STREAM_CHUNKS_MAX}, not {stream_chunks}")
        self._service = service
        self._aggregation_factor = aggregation_factor
        self._rng = random.Random(seed)  # noqa: S311 -- service times of an experiment, nothing secret
        self._stream_chunks = stream_chunks
        self._clock = SharedClock(speed_up)
        self.slots = slots
        self._card = ModelCard(name=name or f"synthetic-{service}", family=family, synthetic=True)

    @property
    def card(self) -> ModelCard:
        """Always marked synthetic."""
        return self._card

    def watch(self, on_health: Callable[[str], None]) -> None:
        """Nothing here can fail on its own."""

    async def start(self) -> None:
        """Nothing has to be loaded."""

    async def infer(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        """Waits until the service time is done. Tokens are counted as words, for want of a tokenizer."""
        service_time_s = self._service.draw(self._rng)
        if request.references:
            service_time_s *= self._aggregation_factor
        text = f"[synthetic] no language model: {service_time_s:.3f} s of declared service time ({self._service})"
        chunks = self._split(text) if request.stream and on_text else [text]
        loop = asyncio.get_running_loop()
        started = loop.time()
        first_s = 0.0
        with self._clock.joined() as begun:
            for number, chunk in enumerate(chunks, start=1):
                # Absolute times: lateness of one wake-up must not add to the next.
                await self._clock.reach(begun + service_time_s * number / len(chunks))
                first_s = first_s or loop.time() - started
                if request.stream and on_text:
                    on_text(chunk)
        output_tokens, output_max = len(text.split()), request.sampling.max_output_tokens
        words_in = [message.content for message in request.messages] + list(request.references)
        return InferenceResult(
            text=text,
            input_tokens=sum(len(part.split()) for part in words_in),
            output_tokens=output_tokens,
            input_tokens_cut=0,
            time_to_first_token_s=first_s,
            finish_reason=FinishReason.LENGTH if output_tokens >= output_max else FinishReason.STOP,
        )

    async def stop(self) -> None:
        """Nothing is held."""

    def _split(self, text: str) -> list[str]:
        """Cuts the text into as many nearly equal pieces as asked for, none of them empty."""
        count = min(self._stream_chunks, len(text))
        edges = [len(text) * index // count for index in range(count + 1)]
        return [text[start:end] for start, end in pairwise(edges)]
