"""One request in the child: its prompt, what was computed of it, and the text that comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import final

from edge_agent.adapters.llama.model import Model, Sampler
from edge_agent.adapters.llama.protocol import Cancelled, Done, Failed, FromChild, Infer, Progress, Text
from edge_agent.adapters.llama.sequences import CachedSequence
from edge_agent.adapters.llama.text_stream import TextStream
from edge_agent.core.messages import FinishReason
from edge_agent.engines.fitting import FittedPrompt

PROGRESS_INTERVAL_S = 0.5  # of life signs while no text is sent; well below any watchdog
STREAM_INTERVAL_S = 0.03  # between pieces of a streamed text: quicker than anybody reads, and fewer messages
TEXT_CHARS_MAX = 32 * 1024  # of one message: a text that nobody follows comes as a whole, in such pieces


@final
class Job:
    """Made when a request is taken up; `end` sends its one end.

    prompt: its tokens, as they fit.
    sequence: where it is computed; the first `kept` tokens of the prompt are there.
    """

    def __init__(
        self,
        request: Infer,
        prompt: FittedPrompt[list[int]],
        sequence: CachedSequence,
        kept: int,
        model: Model,
        stops: Sequence[str],
        send: Callable[[FromChild], None],
    ) -> None:
        self.request = request
        self.sequence = sequence
        self.sampler = Sampler(model, request.temperature, request.seed)
        self.place = -1
        """Of the token in the batch after which the next one is to be drawn; -1: of none."""
        self._model = model
        self._prompt = prompt
        self._kept = kept
        self._send = send
        self._stream = TextStream([*request.stop, *stops])
        self._output_max = min(request.max_output_tokens, model.context_tokens - len(prompt.prompt))
        self._output_tokens = 0
        self._unsent: list[str] = []
        self._sent_at = 0.0
        self._heard_at = time.monotonic()
        self._to_compute = prompt.prompt[kept:]
        self.ended = False

    @property
    def reads(self) -> bool:
        """Whether more of its prompt has to be read before the next token of its answer."""
        return self._output_tokens == 0 or len(self._to_compute) > 1

    @property
    def owed(self) -> list[int]:
        """The tokens to be computed next: of the prompt what is not read yet, then the last one drawn."""
        return self._to_compute

    def start_over(self) -> None:
        """What was computed of it is lost: all of it is owed again, and no token drawn again."""
        self._to_compute = self.sequence.tokens + self._to_compute
        self.sequence.tokens = []
        self._kept = 0

    def computed(self, count: int) -> None:
        """The first `count` of them are in the cache now."""
        self.sequence.tokens += self._to_compute[:count]
        self._to_compute = self._to_compute[count:]

    def take(self, token: int) -> None:
        """The next token of its answer was drawn."""
        if self._model.is_end(token):
            self.end(FinishReason.STOP)
            return
        self._output_tokens += 1
        self._to_compute = [token]
        text = self._stream.push(self._model.piece(token))
        if text:
            self._unsent.append(text)
        if self._stream.stopped:
            self.end(FinishReason.STOP)
        elif self._output_tokens >= self._output_max:
            self.end(FinishReason.LENGTH)
        else:
            self._tell()

    def live(self) -> None:
        """It is being computed: says so now and then."""
        self._tell_life(time.monotonic())

    def end(self, reason: FinishReason) -> None:
        """Its answer is complete."""
        self._unsent.append(self._stream.finish())
        self._send_text()
        prompt = self._prompt
        self._finish(
            Done(self.request.id, len(prompt.prompt), self._output_tokens, prompt.tokens_cut, reason, self._kept)
        )

    def cancelled(self) -> None:
        """The parent no longer wants it."""
        self._finish(Cancelled(self.request.id))

    def failed(self, detail: str) -> None:
        """It could not be computed; it may be tried again."""
        self._finish(Failed(self.request.id, detail, retryable=True))

    def _finish(self, message: FromChild) -> None:
        self.ended = True
        self.sampler.close()
        self._send(message)

    def _tell(self) -> None:
        """Sends what there is of a streamed text, not too often; of any other that it began, and is alive."""
        now = time.monotonic()
        if self.request.stream and self._unsent and now - self._sent_at >= STREAM_INTERVAL_S:
            self._sent_at = self._heard_at = now
            self._send_text()
        elif self._output_tokens == 1:
            self._heard_at = now
            self._send(Progress(self.request.id, 1))
        else:
            self._tell_life(now)

    def _tell_life(self, now: float) -> None:
        if now - self._heard_at >= PROGRESS_INTERVAL_S:
            self._heard_at = now
            self._send(Progress(self.request.id, self._output_tokens))

    def _send_text(self) -> None:
        text, self._unsent = "".join(self._unsent), []
        for start in range(0, len(text), TEXT_CHARS_MAX):
            self._send(Text(self.request.id, text[start : start + TEXT_CHARS_MAX]))
