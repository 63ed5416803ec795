"""One real core among strangers: whatever the world around a device may do to it, in any order, by one seed.

The peers and users here keep to no protocol: they say valid things at the wrong time, again, and about what is not
theirs. What holds of the device's own runtime holds here as well: the broker lets nobody write in another's name, each
inference has one outcome, each record and each answer one word on what became of it, in order. Everything else is open.
"""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from collections.abc import Callable
from typing import get_args

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core import messages as m
from edge_agent.core.agent import Agent
from edge_agent.core.context import RandomStreams
from edge_agent.core.health import Part
from edge_agent.core.settings import AgentSettings, DeviceIdentity
from edge_agent.core.states import ItemOutcome
from edge_agent.wire import codec
from edge_agent.wire.checks import speaker_of
from tests.core.chaos import check_timers
from tests.hostile import valid
from tests.hostile.promises import Promises, cannot_be_sent

SELF = "d0"
PEERS = ("d1", "d2", "d3", "evil", SELF)  # the last one is a cloned card
USERS = ("user.alice", "user.mallory", "me", "user.d1", "operator", "0")
CLIENTS = ("0", "0", "phone", "a" * 64)
PROMPT_IDS = ("p1", "p2", "p3", "#1", "d1/r1", "x" * 128)
BROKER_TAKES = (None, None, 256 * 1024, 64 * 1024, 16 * 1024)
CROWD = 5_000  # invented names: far more than any table may hold
SENT_MAX = 40  # of what the device sent lately: replies to those are of interest, replays of older ones too
SAID_MAX = 60
PEER_KINDS = (*get_args(m.PeerMessage), m.Presence)


def draw_settings(rng: random.Random) -> AgentSettings:
    """Settings in which every table is soon full."""
    return AgentSettings(
        queue_capacity=rng.choice((1, 2, 4, 8)),
        queue_bytes_max=rng.choice((300_000, 8 * 1024 * 1024)),
        deadline_s=rng.choice((None, 30.0, 300.0)),
        request_sends_max=rng.choice((1, 2)),
        probe_interval_s=rng.choice((2.0, 15.0)),
        substitutes_max=rng.choice((0, 1, 4)),
        response_bytes_max=rng.choice((50, 32 * 1024)),
        gossip_interval_s=rng.choice((None, 2.0)),
        gossip_sample=rng.choice((1, 8)),
        view_size_max=rng.choice((1, 2, 128)),
        responses_kept_max=rng.choice((1, 4)),
        answers_kept_s=rng.choice((5.0, 3_600.0)),
        answers_bytes_max=rng.choice((1, 20_000, 8 * 1024 * 1024)),
        inference_attempts_max=rng.choice((1, 2)),
        session_restarts_max=rng.choice((1, 8)),
        join=rng.choice(("wait-for-all", "wait-for-all", "quorum(1)", "quorum(2)")),
        peer_selection=rng.choice(
            ("uniform", "two-choices", "latency-threshold", "budget(3)", "diverse", "same-model")
        ),
        response_selection=rng.choice(("all", "all", "consensus(1)", "judge(1)")),
        early_stop=rng.choice(("never", "agreement", "judge")),
        layer_plan=rng.choice(("fixed", "adaptive")),
        status_interval_s=rng.choice((None, 5.0)),
        journal=rng.random() < 0.8,
    )


class LoneDevice:
    """The device `d0` and everything around it. `step()` does one thing to it and checks what must always hold."""

    def __init__(self, seed: str, *, crowded: bool = False) -> None:
        self.rng = random.Random(seed)
        self.now = self.rng.choice((0.0, 1e-3, 1e6))
        self.settings = draw_settings(self.rng)
        self.promises = Promises(SELF, self.settings)
        self.did = ""
        """What the last step was."""
        self._incarnation = 1
        self._engine: dict[str, fx.StartInference] = {}
        self._records: deque[fx.Effect] = deque()
        self._answers: deque[tuple[str, ev.ReplyRoute]] = deque()
        self._sent: deque[fx.SendToDevice] = deque(maxlen=SENT_MAX)
        self._said: deque[ev.Event] = deque(maxlen=SAID_MAX)
        self._unsent: deque[ev.SendFailed] = deque()
        self._place = ""
        """Where some list of answers goes on."""
        self._disk_ok = True
        self._connected = False
        self._calm = False
        self._actions: tuple[tuple[Callable[[], None], int], ...] = (
            *(
                (self._ask, 14),
                (self._cancel, 5),
                (self._query, 5),
                (self._say_anything, 16),
                (self._reply, 24),
                (self._replay, 8),
            ),
            *((self._speak_of_it, 6), (self._infer, 24), (self._write, 20), (self._deliver, 10), (self._wait, 16)),
            *((self._wake, 10), (self._connection, 3), (self._illness, 2), (self._discover, 2), (self._not_sent, 2)),
            *((self._bad_input, 2), (self._late_word, 3), (self._restart, 1), (self._stop, 1)),
        )
        if crowded or self.rng.random() < 0.1:  # a crowd of invented devices, to fill what is kept of each
            lasting = [(do, weight) for do, weight in self._actions if do not in (self._restart, self._stop)]
            self._actions = (*lasting, (self._speak_of_it, 300), (self._discover, 300))
        self.agent = self._start(None)

    def step(self) -> None:
        """One thing happens to the device.

        Raises:
            AssertionError, InvariantError: something does not hold; `did` says after what.
        """
        actions, weights = zip(*self._actions, strict=True)
        self.rng.choices(actions, weights)[0]()

    def settle(self) -> None:
        """The strangers fall silent and everything works: each accepted prompt comes to its end.

        Raises:
            AssertionError: one does not.
        """
        self._calm = True
        self._disk_ok = True
        for part in (Part.ENGINE, Part.JOURNAL):
            self._give(ev.HealthChanged(part, ""))
        self._give(ev.ConnectionChanged(True, None))
        for _ in range(20_000):
            if not any(self.agent.outstanding().values()) and not self._records and not self._answers:
                break
            self._calm_step()
        self.promises.check_all_told(self.agent)

    def _calm_step(self) -> None:
        if self._records:
            self._write()
        elif self._answers:
            self._deliver()
        elif self._engine:
            self.now += 0.1
            self._give(self._completed(next(iter(self._engine))))
        else:
            due = self.agent.next_deadline()
            self.now = max(self.now, self.now + 1.0 if due is None else due)
            self._give(ev.DeadlineReached())

    # --- the device -----------------------------------------------------------------------------------------------

    def _start(self, restored: ev.SessionsRestored | None) -> Agent:
        streams = RandomStreams(*(random.Random(self.rng.random()) for _ in range(3)))
        identity = DeviceIdentity(SELF, "mqtt://home:1883", "m", "test", version="1")
        seeds = (("d1", ""), ("evil", "mqtts://evil:8883"), (SELF, "")) if self.rng.random() < 0.5 else ()
        self._engine.clear()
        self._answers.clear()
        self._sent.clear()
        self._connected = False
        self.agent = Agent(identity, self.settings, streams, seeds=seeds)
        self._give(ev.Started(self._incarnation))
        self._give(restored or ev.SessionsRestored(()))
        if not self._disk_ok:
            self._give(ev.HealthChanged(Part.JOURNAL, "the disk is full"))
        if self.rng.random() < 0.8:
            self._connection()
        return self.agent

    def _give(self, event: ev.Event) -> None:
        self.did = f"{event!r}"[:500]
        self.promises.before(self.agent, event, self.now)
        effects = self.agent.handle(event, self.now)
        self.agent.check_invariants(self.now)
        check_timers(self.agent)
        self.promises.check(self.agent, event, effects)
        for effect in effects:
            self._carry_out(effect)
        while self._unsent:
            self._give(self._unsent.popleft())

    def _carry_out(self, effect: fx.Effect) -> None:
        match effect:
            case fx.StartInference():
                self._engine[effect.item_id] = effect
            case fx.CancelInference():
                del self._engine[effect.item_id]
            case fx.SendToDevice():
                self._sent.append(effect)
                if cannot_be_sent(effect.message, self.agent._context.message_bytes_max):
                    self._unsent.append(ev.SendFailed(effect.device_id, effect.message.request_id, "too large"))
            case fx.SendToUser(message=m.AnswersPage(next=place)):
                self._place = place
            case fx.SendToUser(reply=reply, message=m.Answer() as answer):
                self._answers.append((answer.prompt_id, reply))
            case fx.JournalPrompt() | fx.JournalLayer() | fx.JournalAnswer() | fx.JournalDelivered():
                self._records.append(effect)

    # --- users ----------------------------------------------------------------------------------------------------

    def _route(self) -> ev.ReplyRoute:
        rng = self.rng
        return ev.ReplyRoute(rng.choice(USERS), rng.choice(CLIENTS), rng.choice(("", "ab" * 64)), rng.choice(("", "i")))

    def _ask(self) -> None:
        prompt = valid.message(self.rng, m.Prompt)
        chat = prompt.messages
        if self.rng.random() < 0.7:
            chat = (*chat, m.ChatMessage(m.Role.USER, valid.text(self.rng) + "?"))
        if self.rng.random() < 0.03:
            chat = (m.ChatMessage(m.Role.USER, self.rng.choice(valid.PIECES) * self.rng.choice((9_000, 30_000)) + "?"),)
        prompt_id = self.rng.choice((*PROMPT_IDS, f"p{self.rng.randrange(CROWD)}"))
        body = codec.encode(m.Prompt(prompt_id, chat, prompt.options))
        if len(body) > codec.BODY_BYTES_MAX:
            return
        taken = codec.decode_prompt(body).message
        assert isinstance(taken, m.Prompt)
        self._from_outside(ev.PromptReceived(taken, self._route(), self.rng.choice((20, 20, 70_000, 262_144))))

    def _query(self) -> None:
        query = valid.message(self.rng, m.AnswersQuery)
        if self.rng.random() < 0.7:
            places = (*PROMPT_IDS, "", "", "nobody's")
            query = dataclasses.replace(query, prompt_id=self.rng.choice(places), after=self._place)
        self._from_outside(ev.AnswersQueryReceived(query, self._route()))

    def _cancel(self) -> None:
        self._from_outside(ev.PromptCancelReceived(self.rng.choice(PROMPT_IDS), self._route()))

    def _bad_input(self) -> None:
        route = None if self.rng.random() < 0.3 else self._route()
        reason = self.rng.choice(tuple(m.RefusalReason))
        self._from_outside(ev.BadInputReceived(reason, "body: not JSON", self.rng.choice(("", "p1")), route))

    def _from_outside(self, event: ev.Event) -> None:
        self._said.append(event)
        self._give(event)

    # --- devices --------------------------------------------------------------------------------------------------

    def _peer_says(self, message: m.Message) -> None:
        """As the broker and the codec let it through: in the sender's own name."""
        sender = speaker_of(message)
        assert sender is not None
        self._from_outside(ev.PeerMessageReceived(codec.decode(codec.encode(message), PEER_KINDS, sender=sender)))

    def _say_anything(self) -> None:
        message = valid.message(self.rng, self.rng.choice(PEER_KINDS))
        if self.rng.random() < 0.5 and hasattr(message, "request_id"):
            message = dataclasses.replace(message, request_id=f"r{self.rng.randrange(CROWD)}")
        self._peer_says(message)

    def _reply(self) -> None:
        """To what the device asked: rightly, wrongly, in parts, twice, or by somebody else."""
        rng = self.rng
        asked = [effect for effect in self._sent if isinstance(effect.message, m.ProposalRequest)]
        if not asked:
            return self._say_anything()
        effect = rng.choice(asked)
        assert isinstance(effect.message, m.ProposalRequest)
        sender = effect.device_id if rng.random() < 0.8 else rng.choice(PEERS)
        request_id = effect.message.request_id
        if rng.random() < 0.5:
            busy = None if rng.random() < 0.7 else rng.choice(tuple(m.BusyReason))
            wait = rng.choice((None, *valid.SECONDS))
            return self._peer_says(m.RequestReceipt(request_id, sender, busy, rng.choice(valid.COUNTS), wait))
        outcome = ItemOutcome.COMPLETED if rng.random() < 0.7 else rng.choice(tuple(ItemOutcome))
        work = m.Contribution(
            sender, rng.choice(valid.SHORT), *rng.choices(valid.SECONDS, k=2), *rng.choices(valid.COUNTS, k=3)
        )
        text = valid.text(rng) * rng.choice((1, 1, 1, 2_000))
        return self._peer_says(m.ProposalResponse(request_id, outcome, text[:40_000], valid.text(rng), work))

    def _speak_of_it(self) -> None:
        """Gossip and presence about this very device and those it knows: as dead, reborn, idle or not able."""
        rng = self.rng
        about = rng.choice((SELF, *PEERS, f"x{rng.randrange(CROWD)}"))
        entries = [valid.message(rng, m.PeerEntry) for _ in range(rng.choice((1, 3, 9, 40)))]
        if rng.random() < 0.5:
            entries = [dataclasses.replace(entry, device_id=f"x{rng.randrange(CROWD)}") for entry in entries]
        own = dataclasses.replace(entries[0], device_id=rng.choice(PEERS))
        told = (own, *entries[1:], dataclasses.replace(entries[-1], device_id=about, requests_waiting=0))
        if rng.random() < 0.6:
            return self._peer_says(m.ViewExchange(told, rng.random() < 0.5))
        state = rng.choice(tuple(m.PresenceState))
        return self._peer_says(m.Presence(told[-1], state, rng.choice(valid.COUNTS), ""))

    def _replay(self) -> None:
        if self._said:
            self._from_outside(self.rng.choice(self._said))

    def _discover(self) -> None:
        name = f"x{self.rng.randrange(CROWD)}" if self.rng.random() < 0.8 else self.rng.choice(PEERS)
        self._give(ev.PeerDiscovered(name, self.rng.choice(("", "mqtts://evil:8883"))))

    def _not_sent(self) -> None:
        asked = [effect for effect in self._sent if isinstance(effect.message, m.ProposalRequest)]
        request_id = self.rng.choice(asked).message.request_id if asked else "r1"  # type: ignore[union-attr]  # see above
        self._give(ev.SendFailed(self.rng.choice(PEERS), request_id, "too large"))

    # --- the device's own parts -----------------------------------------------------------------------------------

    def _completed(self, item_id: str) -> ev.InferenceCompleted:
        del self._engine[item_id]
        words = (
            "well" if self._calm else self.rng.choice((valid.text(self.rng), "1 DONE", "2, 1 MORE", "", "x" * 40_000))
        )
        return ev.InferenceCompleted(item_id, words, 7, 5, 0, 0.1)

    def _infer(self) -> None:
        if not self._engine:
            return self._wait()
        item_id, draw = self.rng.choice(list(self._engine)), self.rng.random()
        if draw < 0.3:
            return self._give(ev.TextGenerated(item_id, valid.text(self.rng)))
        if draw < 0.8:
            return self._give(self._completed(item_id))
        retryable = draw < 0.9
        del self._engine[item_id]
        return self._give(ev.InferenceFailed(item_id, "the model process died", retryable))

    def _late_word(self) -> None:
        """Of an item that was cancelled, or never was."""
        item_id = self.rng.choice(("#0", "#999999", "d1/none", "evil/r1"))
        if item_id not in self._engine:
            self._give(self.rng.choice((ev.TextGenerated(item_id, "x"), ev.InferenceFailed(item_id, "x", True))))

    def _write(self) -> None:
        """The disk does what it can with the next record."""
        if not self._records:
            return
        record = self._records.popleft()
        kept = self._disk_ok
        if kept:
            self.promises.disk.write(record, self.now)
        error = "" if kept else "the disk is full"
        if isinstance(record, fx.JournalPrompt):
            self._give(ev.RecordWritten(ev.JournalRecord.PROMPT, record.prompt.prompt_id, record.reply, error))
        elif isinstance(record, fx.JournalAnswer):
            if not kept:  # the reserve takes it: see adapters/journal/reserve
                self.promises.disk.write(record, self.now)
            self._give(ev.RecordWritten(ev.JournalRecord.ANSWER, record.answer.prompt_id, record.reply, error))

    def _deliver(self) -> None:
        """The broker takes the next answer, or it is dropped on its way."""
        if self._answers:
            prompt_id, reply = self._answers.popleft()
            taken = self._calm or (self._connected and self.rng.random() < 0.8)
            self._give(ev.AnswerSent(prompt_id, reply, taken))

    def _wait(self) -> None:
        self.now += self.rng.choice(
            (0.0, 0.001, 0.3, 2.0, 2.0, 11.0, 40.0, 400.0, 90_000.0, 2_000_000.0)[: 7 + (self.rng.random() < 0.1) * 3]
        )
        if self.rng.random() < 0.7:
            self._wake()

    def _wake(self) -> None:
        self._give(ev.DeadlineReached())

    def _connection(self) -> None:
        self._connected = not self._connected or self.rng.random() < 0.3
        self._give(ev.ConnectionChanged(self._connected, self.rng.choice(BROKER_TAKES) if self._connected else None))

    def _illness(self) -> None:
        part = self.rng.choice((Part.ENGINE, Part.JOURNAL, Part.BROKER))
        detail = self.rng.choice(("", "it is broken"))
        if part is Part.JOURNAL:
            self._disk_ok = not detail
        self._give(ev.HealthChanged(part, detail))

    def _restart(self) -> None:
        """Killed at any moment: of what was to be written a part is. Its clock, or its disk, may be lost."""
        if not self.settings.journal:
            self.promises.forget()
        for _ in range(self.rng.randint(0, len(self._records))):
            record = self._records.popleft()
            if self._disk_ok or isinstance(record, fx.JournalAnswer):
                self.promises.disk.write(record, self.now)
        self._records.clear()
        self._incarnation = self.rng.choice((self._incarnation + 1, self._incarnation + 1, 1))
        self._start(self.promises.restart(self.now))

    def _stop(self) -> None:
        self._give(ev.StopRequested())
        for _ in range(self.rng.randint(0, 6)):
            self.step_of((self._write, self._deliver, self._reply, self._ask, self._wake))
        self._restart()

    def step_of(self, actions: tuple[Callable[[], None], ...]) -> None:
        """One of these happens."""
        self.rng.choice(actions)()
