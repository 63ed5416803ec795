"""The llama.cpp engine as the runtime sees it: a supervised model process that comes back when it dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from edge_agent.adapters.llama.child import Child, LoadBounds
from edge_agent.adapters.llama.protocol import Cancelled, Done, Failed, Infer, Load, Progress, Text
from edge_agent.core.aggregation import AGGREGATION_INSTRUCTION
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.provenance import FinishReason
from edge_agent.engines.kept_alive import RELOAD_QUIET_S, KeptAlive
from edge_agent.engines.model_file import ModelFile
from edge_agent.engines.thoughts import Thoughts
from edge_agent.hangs import COMPUTED_MAX_S, WAITED_MAX_S
from edge_agent.ports import InferenceResult, ModelCard

log = logging.getLogger(__name__)

STALL_TIMEOUT_S = 30.0  # without a sign of life, which comes every half second or token, and without doing anything
LOAD_STILL_S = 60.0  # a load computes or reads: it has nothing to wait for
LOAD_BYTES_PER_S_MIN = 5_000_000  # a poor SD card
TEXT_BYTES_MAX = 256 * 1024  # of an answer: eight times what the mesh passes on


class LlamaEngine:
    """Runs a GGUF model through llama.cpp in a child process.

    model_path: the GGUF file.
    threads: CPU threads of the model; the cores of the host divided by its agents, at least 1.
    context_tokens: prompt, references and answer together; more is more memory and longer waits. Lowered to what
        the model was trained for.
    instruction: the wording given with references.
    slots: inferences at once, each with `context_tokens` of its own.
    stall_timeout_s: without a sign of life for this long, and doing nothing, the child is killed. One that computes
        has longer (`edge_agent.hangs`).
    reload_quiet_s: how long a new child may load before it is said that this device cannot infer.
    verify: called on a thread before each load; raises a `MoameshError` if the file is not what it must be. It is given
        a function that is true once nobody waits for it any more.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        threads: int,
        context_tokens: int = 4096,
        name: str = "",
        family: str = "unknown",
        instruction: str = AGGREGATION_INSTRUCTION,
        stall_timeout_s: float = STALL_TIMEOUT_S,
        reload_quiet_s: float = RELOAD_QUIET_S,
        verify: Callable[[Callable[[], bool]], None] | None = None,
        slots: int = 1,
    ) -> None:
        if min(threads, context_tokens, slots) < 1:
            raise ValueError("threads, context_tokens and slots must be at least 1")
        self._file = ModelFile(model_path, verify)
        self._threads = threads
        self._context_tokens = context_tokens
        self._instruction = instruction
        self._card = ModelCard(name=name or model_path.stem, family=family)
        self._stall_timeout_s = stall_timeout_s
        self._kept: KeptAlive[Child] = KeptAlive(self._load, reload_quiet_s)
        self.slots = slots
        self._doors_told = False
        self._last_id = 0

    @property
    def card(self) -> ModelCard:
        """Name and family as given, or after the file."""
        return self._card

    @property
    def child_pid(self) -> int | None:
        """Process id of the child that serves now; `None` while there is none."""
        child = self._kept.process
        return child.pid if child is not None else None

    @property
    def restarts(self) -> int:
        """How often a new child has taken the place of one that died."""
        return self._kept.restarts

    def watch(self, on_health: Callable[[str], None]) -> None:
        """Has `on_health` told when the model process does not come back, and when it has."""
        self._kept.watch(on_health)

    async def start(self) -> None:
        """Loads the model in a child; returns when it can infer. Does nothing if it was started already.

        Raises:
            EngineError: no such file, not a GGUF file, llama.cpp can't load it, or three starts failed.
        """
        await self._kept.start()

    async def infer(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        """Infers one item in the child; waits first for a child that is just restarting.

        Raises:
            EngineError: the child died or hung (retryable), cannot do this request at all, or does not come back.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        child = await self._kept.live()
        self._last_id += 1
        request_id = self._last_id
        texts: list[str] = []
        thoughts = Thoughts()

        def show(text: str) -> None:
            if text:
                texts.append(text)
                if request.stream and on_text is not None:
                    on_text(text)

        bytes_left = TEXT_BYTES_MAX
        first_at: float | None = None
        try:
            await child.send_request(_to_infer(request_id, request))
            while True:
                message = await child.receive(request_id)
                if isinstance(message, Text) or (isinstance(message, Progress) and message.output_tokens > 0):
                    first_at = first_at or loop.time()
                if isinstance(message, Text):
                    bytes_left -= len(message.text.encode("utf-8", "replace"))
                    if bytes_left < 0:
                        raise EngineError("the model process writes without end", retryable=False)
                    show(thoughts.push(message.text))
                elif isinstance(message, Done):
                    show(thoughts.finish())
                    return InferenceResult(
                        text="".join(texts),
                        input_tokens=message.input_tokens,
                        output_tokens=message.output_tokens,
                        input_tokens_cut=message.input_tokens_cut,
                        time_to_first_token_s=(first_at or loop.time()) - started,
                        finish_reason=FinishReason(message.finish_reason),
                        reasoning=thoughts.text,
                    )
                elif isinstance(message, Failed):
                    raise EngineError(message.detail, retryable=message.retryable)
                elif isinstance(message, Cancelled):  # by nobody here
                    raise EngineError("the model process gave up", retryable=True)
        finally:
            child.leave(request_id)

    async def stop(self) -> None:
        """Ends the child and its supervision. May be called at any time, also twice."""
        await self._kept.stop()

    async def _load(self) -> Child:
        """Starts a child and returns it once the model is loaded."""
        reading_s = await self._file.check() / LOAD_BYTES_PER_S_MIN
        child = await Child.start(
            Load(str(self._file.path), self._threads, self._context_tokens, self._instruction, self.slots),
            loading=LoadBounds(LOAD_STILL_S, COMPUTED_MAX_S + reading_s, WAITED_MAX_S + reading_s),
            stall_timeout_s=self._stall_timeout_s,
        )
        if child.open_doors and not self._doors_told:
            self._doors_told = True
            log.warning("the model process is not confined in full: %s (docs/SECURITY.md)", child.open_doors)
        return child


def _to_infer(request_id: int, request: StartInference) -> Infer:
    return Infer(
        id=request_id,
        messages=[[message.role.value, message.content] for message in request.messages],
        references=list(request.references),
        max_output_tokens=request.sampling.max_output_tokens,
        temperature=request.sampling.temperature,
        seed=request.sampling.seed,
        stop=list(request.sampling.stop),
        stream=request.stream,
    )
