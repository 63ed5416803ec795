"""One asyncio loop around one agent: event in, effects out. The sole interpreter of effects.

Events wait in one bounded inbox; while it is full, whoever has an event waits, and so in the end does the broker.
Effects are begun in their order, and nothing here waits for a disk or a network: what comes of them are events again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import assert_never

from edge_agent.core import effects as fx
from edge_agent.core.agent import Agent
from edge_agent.core.errors import JournalError
from edge_agent.core.events import (
    AnswerSent,
    DeadlineReached,
    Event,
    HealthChanged,
    JournalRecord,
    RecordWritten,
    ReplyRoute,
    Started,
    StopRequested,
)
from edge_agent.core.health import Part, Problem
from edge_agent.core.messages import Answer
from edge_agent.ports import Discovery, Engine, Journal, JournalEffect, ModelCard, TelemetrySink, Transport
from edge_agent.runtime.engine_driver import EngineDriver
from edge_agent.tasks import TaskSupervisor
from edge_agent.wire.figures import as_told

log = logging.getLogger(__name__)

INBOX_MAX = 256  # events waiting for the core: a burst of a few messages from each of a hundred peers


class AgentHost:
    """Runs an agent with its engine, transport, journal and telemetry until `stop` is called.

    Args:
        agent: the core; nobody else may call its `handle`.
        engine, transport, journal, telemetry, discovery: started and stopped here.
    """

    def __init__(
        self,
        agent: Agent,
        engine: Engine,
        transport: Transport,
        journal: Journal,
        telemetry: TelemetrySink,
        discovery: Discovery | None = None,
    ) -> None:
        self._agent = agent
        self._engine = engine
        self._transport = transport
        self._journal = journal
        self._telemetry = telemetry
        self._discovery = discovery
        self._inbox: asyncio.Queue[Event] = asyncio.Queue(INBOX_MAX)
        self._driver = EngineDriver(engine, self._inbox.put)
        self._arriving = TaskSupervisor("agent's events")
        self._noting = TaskSupervisor("agent's journal")
        self._wake: asyncio.TimerHandle | None = None
        self._stopping = False
        self._on_problems: Callable[[tuple[Problem, ...]], None] | None = None

    @property
    def model(self) -> ModelCard:
        """What infers on this device."""
        return self._engine.card

    def watch_problems(self, told: Callable[[tuple[Problem, ...]], None]) -> None:
        """Has `told` called with what is wrong with this device whenever a part has news. To be called before `run`."""
        self._on_problems = told

    def peers(self) -> list[tuple[str, str]]:
        """Returns (device id, home broker) of the peers that are known now."""
        return [(row.entry.device_id, row.entry.home_broker) for row in self._agent.view.rows()]

    def stop(self) -> None:
        """Asks `run` to end: nothing more is accepted, peers are told, what is accepted stays in the journal."""
        if not self._stopping:
            self._stopping = True
            self._arriving.begin("stopping", self._inbox.put(StopRequested()))

    def report(self, part: Part, detail: str) -> None:
        """Has the core hear how a part around it is: one line, or "" for well again. Call it on the loop."""
        self._arriving.begin(f"news of the {part}", self._inbox.put(HealthChanged(part, detail)))

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Runs until `stop`; calls `started` once everything has been started.

        Raises:
            EngineError: the engine cannot be started.
            InvariantError: a defect of the core; the journal keeps what was accepted for the next start.
        """
        try:
            self._telemetry.watch(self._telemetry_changed)
            await self._engine.start()
            restored = await self._journal.open(self._inbox.put)
            self._handle(Started(await self._journal.next_incarnation()))
            self._handle(restored)
            await self._transport.start(self._inbox.put, self._agent.last_will())
            if self._discovery is not None:
                await self._discovery.start(self._inbox.put)
            started()
            while True:
                event = await self._next_event()
                self._handle(event)
                if isinstance(event, StopRequested):
                    return
        finally:
            await self._shut_down()

    def _telemetry_changed(self, trouble: str) -> None:
        self.report(Part.TELEMETRY, trouble)

    async def _next_event(self) -> Event:
        loop = asyncio.get_running_loop()
        deadline = self._agent.next_deadline()
        if deadline is not None and deadline <= loop.time():
            return DeadlineReached()
        if self._inbox.empty() and deadline is not None:
            if self._wake is not None:
                self._wake.cancel()
            self._wake = loop.call_at(deadline, self._deadline_reached)
        event = await self._inbox.get()
        self._inbox.task_done()
        return event

    def _deadline_reached(self) -> None:
        if self._inbox.empty():  # otherwise the next event is followed by a look at the clock anyway
            self._inbox.put_nowait(DeadlineReached())

    def _handle(self, event: Event) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("event %s", event)
        for effect in self._agent.handle(event, asyncio.get_running_loop().time()):
            self._carry_out(effect)
        if isinstance(event, HealthChanged) and self._on_problems is not None:
            self._on_problems(self._agent.problems)

    def _carry_out(self, effect: fx.Effect) -> None:
        match effect:
            case fx.SendToDevice():
                self._transport.send_to_device(
                    effect.device_id, effect.home_broker, effect.message, effect.expires_in_s
                )
            case fx.SendToUser(reply=reply, message=Answer() as answer):
                self._send_answer(answer, reply)
            case fx.SendToUser():
                self._transport.send_to_user(effect.reply, effect.message)
            case fx.StartInference():
                self._driver.start(effect)
            case fx.CancelInference():
                self._driver.cancel(effect.item_id)
            case fx.JournalPrompt() | fx.JournalLayer() | fx.JournalAnswer() | fx.JournalDelivered():
                self._noting.begin("a record", self._written(effect, self._journal.write(effect)))
            case fx.PublishPresence():
                self._transport.publish_presence(effect.presence)
            case fx.TwinFound():
                log.warning("%s", effect.detail)
                if effect.aside_s is not None:
                    self._transport.stand_aside(effect.aside_s)
            case fx.PublishStatus():
                status = as_told(effect.status)
                self._transport.publish_status(status)
                self._telemetry.record_status(status)
            case fx.RecordRequest():
                self._telemetry.record_request(effect)
            case fx.RecordSession():
                self._telemetry.record_session(effect)
            case _:
                assert_never(effect)

    def _send_answer(self, answer: Answer, reply: ReplyRoute) -> None:
        self._transport.send_to_user(
            reply,
            answer,
            lambda delivered: self._noting.begin(
                "news of an answer", self._inbox.put(AnswerSent(answer.prompt_id, reply, delivered))
            ),
        )

    async def _written(self, record: JournalEffect, writing: Awaitable[None]) -> None:
        """A full or broken disk costs durability, not answers: the core hears of it, and the device goes on."""
        error = ""
        try:
            await writing
        except JournalError as refused:
            error = str(refused)
        match record:
            case fx.JournalPrompt(prompt=prompt, reply=reply):
                await self._inbox.put(RecordWritten(JournalRecord.PROMPT, prompt.prompt_id, reply, error))
            case fx.JournalAnswer(answer=answer, reply=reply):
                await self._inbox.put(RecordWritten(JournalRecord.ANSWER, answer.prompt_id, reply, error))
            case _:  # nothing waits for it
                pass

    async def _take_last_words(self) -> None:
        """While the device stops: what was on its way to a user or the disk may still arrive there, and is noted."""
        while True:
            event = await self._inbox.get()
            self._inbox.task_done()
            if isinstance(event, AnswerSent | RecordWritten):
                self._handle(event)

    async def _note_the_rest(self) -> None:
        for _ in range(2):  # that an answer has arrived is an event, and what comes of it a record
            await self._noting.finish()
            await self._inbox.join()
        await self._noting.finish()

    async def _shut_down(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._arriving.begin("last words", self._take_last_words())
        steps: list[tuple[str, Callable[[], Coroutine[object, object, None]]]] = [
            ("engine driver", self._driver.stop),
            *([("discovery", self._discovery.stop)] if self._discovery is not None else []),
            ("transport", self._transport.stop),
            ("engine", self._engine.stop),
            ("what is being noted", self._note_the_rest),
            ("events that nobody takes any more", self._arriving.stop),
            ("telemetry", self._telemetry.stop),
            ("journal", self._journal.close),
        ]
        for what, stop in steps:
            try:
                await stop()
            except Exception:  # one part that cannot end in order must not keep the others from it
                log.exception("%s: did not end in order", what)
