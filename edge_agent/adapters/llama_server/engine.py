"""The engine as the runtime sees it: a supervised server of llama.cpp's own, asked as any server of OpenAI's kind."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge_agent.adapters.llama_server.process import Load, Patience, ServerProcess
from edge_agent.adapters.llama_server.programs import ServerProgram
from edge_agent.core.aggregation import AGGREGATION_INSTRUCTION
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.engines.kept_alive import RELOAD_QUIET_S, KeptAlive
from edge_agent.engines.model_file import ModelFile
from edge_agent.hangs import COMPUTED_MAX_S, WAITED_MAX_S
from edge_agent.ports import InferenceResult, ModelCard

log = logging.getLogger(__name__)

STALL_TIMEOUT_S = 30.0  # without a sign of life, which comes with every token, and without doing anything
SILENCE_TIMEOUT_S = WAITED_MAX_S  # of a server that computes: what it does is looked at, and items have deadlines
LOAD_STILL_S = 60.0  # a load computes or reads: it has nothing to wait for
LOAD_BYTES_PER_S_MIN = 5_000_000  # a poor SD card


class LlamaServerEngine:
    """Runs a GGUF model in llama.cpp's own server, a child process.

    model_path: the GGUF file.
    program: which server, see `programs.find_server`.
    threads: CPU threads of the model.
    context_tokens: prompt, references and answer together, of each slot; lowered to what the server gives.
    slots: items that the server works on at once.
    instruction: the wording given with references.
    gpu_layers: for a program built for graphics processors; `None` leaves it to the program.
    stall_timeout_s: without a sign of life for this long, and doing nothing, the server is killed.
    reload_quiet_s: how long a new server may load before it is said that this device cannot infer.
    verify: see `ModelFile`.
    """

    def __init__(
        self,
        model_path: Path,
        program: ServerProgram,
        *,
        threads: int,
        context_tokens: int = 4096,
        slots: int = 1,
        name: str = "",
        family: str = "unknown",
        instruction: str = AGGREGATION_INSTRUCTION,
        gpu_layers: int | None = None,
        stall_timeout_s: float = STALL_TIMEOUT_S,
        reload_quiet_s: float = RELOAD_QUIET_S,
        verify: Callable[[Callable[[], bool]], None] | None = None,
    ) -> None:
        if threads < 1 or context_tokens < 1 or slots < 1:
            raise ValueError("threads, context_tokens and slots must be at least 1")
        self._file = ModelFile(model_path, verify)
        self._program = program
        self._card = ModelCard(name=name or model_path.stem, family=family)
        self._settings = Load(
            model_path, self._card.name, threads, context_tokens, slots, instruction, gpu_layers=gpu_layers
        )
        self._stall_timeout_s = stall_timeout_s
        self._kept: KeptAlive[ServerProcess] = KeptAlive(self._load, reload_quiet_s)
        self._doors_told = False

    @property
    def card(self) -> ModelCard:
        """Name and family as given, or after the file."""
        return self._card

    @property
    def slots(self) -> int:
        """How many items it works on at once."""
        return self._settings.slots

    @property
    def child_pid(self) -> int | None:
        """Process id of the server that serves now; `None` while there is none."""
        server = self._kept.process
        return server.pid if server is not None else None

    @property
    def restarts(self) -> int:
        """How often a new server has taken the place of one that died."""
        return self._kept.restarts

    def watch(self, on_health: Callable[[str], None]) -> None:
        """Has `on_health` told when the server does not come back, and when it has."""
        self._kept.watch(on_health)

    async def start(self) -> None:
        """Starts the server; returns when it can infer. Does nothing if it was started already.

        Raises:
            EngineError: no such file, not a GGUF file, llama.cpp can't load it, or three starts failed.
        """
        await self._kept.start()

    async def infer(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        """Infers one item; waits first for a server that is just restarting.

        Raises:
            EngineError: the server died or hung (retryable), refuses this request, or does not come back.
        """
        server = await self._kept.live()
        return await server.infer(request, on_text if request.stream else None)

    async def stop(self) -> None:
        """Ends the server and its supervision. May be called at any time, also twice."""
        await self._kept.stop()

    async def _load(self) -> ServerProcess:
        reading_s = await self._file.check() / LOAD_BYTES_PER_S_MIN
        patience = Patience(
            still_max_s=LOAD_STILL_S,
            computed_max_s=COMPUTED_MAX_S + reading_s,
            waited_max_s=WAITED_MAX_S + reading_s,
            stall_timeout_s=self._stall_timeout_s,
            silence_timeout_s=SILENCE_TIMEOUT_S,
        )
        server = await self._start(patience)
        if server.open_doors and not self._doors_told:
            self._doors_told = True
            log.warning("the model process is not confined in full: %s (docs/SECURITY.md)", server.open_doors)
        return server

    async def _start(self, patience: Patience) -> ServerProcess:
        """Starts a server; with a plain chat template where the model's own is what it stumbles over."""
        try:
            return await ServerProcess.start(self._program, self._settings, patience)
        except EngineError as error:
            if "chat template" not in error.detail.replace("_", " ") or self._settings.plain_template:
                raise
            log.warning("%s: its chat template cannot be used, a plain one is: %s", self._card.name, error.detail)
        self._settings = replace(self._settings, plain_template=True)
        return await ServerProcess.start(self._program, self._settings, patience)
