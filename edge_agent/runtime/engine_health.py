"""Whether this device can infer: by the engine's own word, and by what comes of its inferences.

An engine may fail at every prompt and think itself well: its server answers, its file loads. Or it hangs at every
prompt, and each is given up at its deadline. So after some failures in a row, or a while without a word, the smallest
inference there is is tried; where it fails too, the device says that it cannot infer, and goes on trying until it can.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edge_agent.core.effects import StartInference
from edge_agent.core.events import HealthChanged
from edge_agent.core.health import Part
from edge_agent.core.messages import ChatMessage, Role, Sampling
from edge_agent.ports import EmitEvent

log = logging.getLogger(__name__)

FAILURES_MAX = 2  # in a row: both attempts of one item; whether it was the item's own fault, the trial shows
# (with more slots, as many more: a model process that dies fails all that it had)
SILENT_MAX_S = 60.0  # for each slot, of inferences given up in a row without a word: a trial costs little beside that
TRIAL_PAUSE_FIRST_S = 1.0
TRIAL_PAUSE_MAX_S = 60.0  # a token a minute is what a broken engine may cost
TRIAL = StartInference(
    item_id="trial",
    messages=(ChatMessage(Role.USER, "Hi"),),
    references=(),
    sampling=Sampling(max_output_tokens=1, temperature=0.0),
    stream=False,
)


class EngineHealth:
    """Tells the core whether this device can infer, whenever that changes.

    emit: where `HealthChanged` goes. While the inbox is full only the latest word waits.
    try_engine: does `TRIAL`, as soon as a slot is free; returns what went wrong, "" if nothing did.
    slots: inferences that the engine does at once.
    """

    def __init__(self, emit: EmitEvent, try_engine: Callable[[], Awaitable[str]], slots: int = 1) -> None:
        self._failures_max = FAILURES_MAX + slots - 1
        self._silent_max_s = SILENT_MAX_S * slots
        self._emit = emit
        self._try_engine = try_engine
        self._said = ""
        self._found = ""
        self._told = ""
        self._failures = 0
        self._silent_s = 0.0
        self._stopped = False
        self._engine_is_well = asyncio.Event()
        self._engine_is_well.set()
        self._trying: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str:
        """Why this device cannot infer, in one line; "" if it can."""
        return self._said or self._found

    def said(self, trouble: str) -> None:
        """Takes the engine's own word (`ports.Engine.watch`)."""
        self._said = trouble
        if trouble:
            self._engine_is_well.clear()
        else:
            self._engine_is_well.set()
        self._tell()

    def inferred(self, failure: str) -> None:
        """Counts an inference that ended: how it failed, "" if it did not."""
        if not failure:
            self._failures, self._silent_s = 0, 0.0
            self._find("")
            if self._trying is not None:
                self._trying.cancel()
            return
        self._failures += 1
        if self._failures >= self._failures_max:
            self._begin_trying()

    def given_up(self, seconds: float, *, spoke: bool) -> None:
        """Counts an inference that was ended before its end, after so long; `spoke` if it had brought some text."""
        self._silent_s = 0.0 if spoke else self._silent_s + seconds
        if self._silent_s >= self._silent_max_s:
            self._silent_s = 0.0
            self._begin_trying()

    def _begin_trying(self) -> None:
        if self._trying is None and not self._stopped:
            self._trying = asyncio.create_task(self._try_until_well(), name="engine trial")
            self._trying.add_done_callback(self._tried)

    async def stop(self) -> None:
        """Ends trying and telling."""
        self._stopped = True
        tasks = [task for task in (self._trying, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tried(self, task: asyncio.Task[None]) -> None:
        self._trying = None

    async def _try_until_well(self) -> None:
        pause_s = TRIAL_PAUSE_FIRST_S
        while True:
            await self._engine_is_well.wait()  # until then a trial only repeats what is known
            try:
                failure = await self._try_engine()
            except Exception as error:  # a defect of ours: trying goes on, or nothing would ever be inferred here again
                failure = f"unexpected error in a trial inference: {error!r}"
                log.error("%s", failure)
            if not failure:
                self._failures, self._silent_s = 0, 0.0
                self._find("")
                return
            if not self._said:
                self._find(failure)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, TRIAL_PAUSE_MAX_S)

    def _find(self, trouble: str) -> None:
        self._found = trouble
        self._tell()

    def _tell(self) -> None:
        if self.trouble != self._told and self._telling is None:
            self._telling = asyncio.create_task(self._tell_all(), name="engine health")

    async def _tell_all(self) -> None:
        try:
            while (trouble := self.trouble) != self._told:
                self._told = trouble
                if trouble:
                    log.warning("this device cannot infer: %s", trouble)
                else:
                    log.warning("this device can infer again")  # as loud as what it takes back
                await self._emit(HealthChanged(Part.ENGINE, trouble))
        finally:
            self._telling = None
