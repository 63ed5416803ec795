"""A mesh where everything goes wrong: lost, doubled and late messages, dying engines and devices, fickle users.

One seed decides everything. While `faults` is on, a device may die between any two of its effects, which is what
proves their order; what its journal held by then is what it is given when it starts again.
"""

from __future__ import annotations

import random
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.agent import Agent
from edge_agent.core.messages import Answer, PeerMessage, Presence, PresenceState, PromptReceipt
from edge_agent.core.settings import AgentSettings
from tests.core.mesh import Mesh

STEP_S = 20.0
STEPS_MAX = 300  # 6,000 s: the longest deadline here, and the longest queue at the longest service time, twice over


@dataclass(slots=True)
class Kept:
    """A prompt in a journal that has not ended."""

    effect: fx.JournalPrompt
    accepted_at: float
    layers: list[ev.JoinedLayer] = field(default_factory=list)
    restarts: int = 0


@dataclass(slots=True)
class Disk:
    """What one device's journal holds."""

    sessions: dict[str, Kept] = field(default_factory=dict)
    answers: dict[str, ev.RestoredAnswer] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    """How often each prompt ended, over all lives of the device."""


def draw_settings(rng: random.Random) -> AgentSettings:
    """Returns settings in which queues are short, views small and timeouts close to the delays."""
    return AgentSettings(
        queue_capacity=rng.choice((1, 2, 4, 8)),
        principal_share=rng.choice((0.25, 0.5, 1.0)),
        deadline_s=rng.choice((None, 30.0, 300.0)),
        receipt_timeout_s=rng.choice((0.5, 2.0)),
        receipt_timeout_min_s=rng.choice((0.1, 0.5)),
        request_sends_max=rng.choice((1, 2)),
        probe_interval_s=rng.choice((2.0, 15.0)),
        substitutes_max=rng.choice((0, 1, 4)),
        gossip_interval_s=rng.choice((None, 2.0)),
        gossip_sample=rng.choice((1, 8)),
        view_size_max=rng.choice((2, 128)),
        responses_kept_max=rng.choice((1, 256)),
        inference_attempts_max=rng.choice((1, 2)),
        join=rng.choice(("wait-for-all", "wait-for-all", "quorum(1)", "quorum(2)")),
        peer_selection=rng.choice(("uniform", "uniform", "two-choices", "latency-threshold", "budget(3)", "diverse")),
        response_selection=rng.choice(("all", "all", "consensus(1)", "judge(1)")),
        early_stop=rng.choice(("never", "never", "agreement", "judge")),
        layer_plan=rng.choice(("fixed", "fixed", "adaptive")),
        status_interval_s=rng.choice((None, 5.0)),
    )


def check_timers(agent: Agent) -> None:
    """Fails if a deadline waits for something that is over."""
    sessions = agent._sessions
    for kind, name in agent._context.timers._live:
        owners: Container[str] = ("",) if kind in ("gossip", "status") else sessions._active
        if kind == "request":
            owners = agent._requests._open
        elif kind == "item":
            owners = [*agent.queue.waiting, *agent.queue.running]
        elif kind == "owed":
            owners = ("",) if agent.outstanding()["ends to tell"] else ()
        assert name in owners, f"the timer {kind} {name} is for nothing"


class Chaos(Mesh):
    """Runs `actions` random actions at random times; `settle` then lets the mesh come to rest without faults."""

    def __init__(self, seed: int, *, faults: bool = True) -> None:
        self.rng = random.Random(seed)
        self.faults = False  # not while the devices start
        self.disks: dict[str, Disk] = {}
        self.asked: dict[str, str] = {}
        """Device by key of each prompt."""
        self.offline: set[str] = set()
        self.frozen_until: dict[str, float] = {}
        self.wills: dict[str, Presence] = {}
        size = self.rng.randint(1, 6)
        self._loss = self.rng.choice((0.0, 0.05, 0.3))
        self._doubled = self.rng.choice((0.0, 0.1))
        self._crash = self.rng.choice((0.0, 0.02))
        self._latest_s = self.rng.choice((0.01, 0.5, 3.0))
        self._disk_s = self.rng.choice((0.0, 0.02, 1.5))
        mean_s = self.rng.choice((0.1, 2.0))
        super().__init__(
            size,
            draw_settings(self.rng),
            service_s=lambda device, request: self.rng.expovariate(1 / mean_s),
            delay_s=0.01,
            seed=seed,
        )
        self._judges = f"{self.settings.response_selection} {self.settings.early_stop}"
        self.fail = self._engine_failure
        self.lose = self._loses
        self.broker_takes = lambda device: not self.faults or self.rng.random() < 0.8
        self.say = self._words
        self.faults = faults

    # --- faults ---------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """A device dies; its broker may notice."""
        self.stop(name)
        self.frozen_until.pop(name, None)
        self.offline.discard(name)
        self._publish_will(name)

    def restart(self, name: str) -> None:
        """A dead device starts again with what its journal kept."""
        disk = self.disks.setdefault(name, Disk())
        sessions = []
        for kept in disk.sessions.values():
            kept.restarts += 1
            elapsed = self.now - kept.accepted_at
            given = kept.effect.deadline_in_s
            remaining = None if given is None else given - elapsed
            sessions.append(
                ev.RestoredSession(
                    kept.effect.prompt,
                    kept.effect.reply,
                    remaining,
                    elapsed,
                    tuple(kept.layers),
                    kept.restarts,
                    kept.effect.layer_count,
                    kept.effect.fanout,
                )
            )
        self.start(name, ev.SessionsRestored(tuple(sessions), tuple(disk.answers.values())))

    def disconnect(self, name: str) -> None:
        """A device loses its broker, whose last will may be heard by the others."""
        self.offline.add(name)
        self.handle(name, ev.ConnectionChanged(False))
        self._publish_will(name)

    def reconnect(self, name: str) -> None:
        """A device's broker is back."""
        self.offline.discard(name)
        self.wills[name] = self.agents[name].last_will() if name in self.agents else self.wills[name]
        self.handle(name, ev.ConnectionChanged(True))

    def _publish_will(self, name: str) -> None:
        if self.rng.random() < 0.5:
            for other in self.agents:
                if other != name:
                    self.later(0.1, other, ev.PeerMessageReceived(self.wills[name]))

    def _engine_failure(self, device: str, request: fx.StartInference) -> str | None:
        draw = self.rng.random()
        return None if not self.faults or draw > 0.1 else "crash" if draw > 0.03 else "broken"

    def _words(self, device: str, request: fx.StartInference) -> str:
        """Mostly some words; where there is a judge, often what a judge is to say, and sometimes nothing at all."""
        wanted = ("2, 1 MORE", "1 DONE", "1 MORE") if "judge" in self._judges else ()
        words: list[str] = [f"{device} says {self.rng.randrange(9)}", *wanted, "  " if self.faults else "well"]
        return self.rng.choice(words)

    def _loses(self, sender: str, receiver: str, message: PeerMessage) -> bool:
        if sender in self.offline or receiver in self.offline:
            return True
        if not self.faults:
            return False
        for _ in range(1 + (self.rng.random() < self._doubled)):
            if self.rng.random() >= self._loss:
                self.later(self.rng.uniform(0.001, self._latest_s), receiver, ev.PeerMessageReceived(message))
        return True  # carried above, or not at all

    # --- the bench ------------------------------------------------------------------------------------------------

    def start(self, name: str, restored: ev.SessionsRestored | None = None) -> None:
        """Starts a device and keeps its last will."""
        super().start(name, restored)
        if name in self.agents:
            self.wills[name] = self.agents[name].last_will()

    def handle(self, name: str, event: ev.Event) -> list[fx.Effect]:
        """As `Mesh.handle`, but the device may be frozen, or die between two effects."""
        agent = self.agents.get(name)
        if agent is None:
            return []
        if self.now < self.frozen_until.get(name, 0.0):
            self.later(self.frozen_until[name] - self.now, name, event)
            return []
        if self._is_cancelled(name, event):
            return []
        effects = agent.handle(event, self.now)
        agent.check_invariants(self.now)
        check_timers(agent)
        dies = self.faults and self.rng.random() < self._crash
        done = self.rng.randint(0, len(effects)) if dies else len(effects)
        for effect in effects[:done]:
            self.effects.append((name, effect))
            self._write(name, effect)
            self._carry_out(name, effect)
        written, self._written = self._written, []
        for _, said in written:  # a disk and a broker take their time, and keep the order
            self.later(self._disk_s, name, said)
        if dies:
            self.wills.setdefault(name, agent.last_will())
            self.kill(name)
        return effects

    def timer_at(self, name: str) -> float | None:
        """A frozen device's timers are late."""
        at = super().timer_at(name)
        return at if at is None else max(at, self.frozen_until.get(name, 0.0))

    def _write(self, name: str, effect: fx.Effect) -> None:
        disk = self.disks.setdefault(name, Disk())
        match effect:
            case fx.JournalPrompt():
                disk.sessions[f"{effect.reply.inbox} {effect.prompt.prompt_id}"] = Kept(effect, self.now)
            case fx.JournalLayer():
                kept = disk.sessions[f"{effect.reply.inbox} {effect.prompt_id}"]
                kept.layers.append(effect.joined)
                assert len(kept.layers) == effect.layer
            case fx.JournalAnswer():
                key = f"{effect.reply.inbox} {effect.answer.prompt_id}"
                del disk.sessions[key]
                disk.answers[key] = ev.RestoredAnswer(effect.answer, effect.reply, delivered=False)
                disk.ends[key] = disk.ends.get(key, 0) + 1
            case fx.SendToUser(reply=reply, message=Answer() as answer):
                kept_answer = disk.answers[f"{reply.inbox} {answer.prompt_id}"]
                assert kept_answer.answer == answer, "an answer was sent that the journal does not hold"
                assert self.agents[name].is_connected, "an answer was sent without a connection"
            case fx.JournalDelivered():
                key = f"{effect.reply.inbox} {effect.prompt_id}"
                disk.answers[key] = ev.RestoredAnswer(disk.answers[key].answer, effect.reply, delivered=True)
            case fx.SendToUser(reply=reply, message=PromptReceipt() as receipt):
                key = f"{reply.inbox} {receipt.prompt_id}"
                assert key in disk.sessions or key in disk.answers, "a receipt before the journal held the prompt"

    # --- what happens ---------------------------------------------------------------------------------------------

    def play(self, actions: int) -> None:
        """Does random things at random times."""
        for _ in range(actions):
            self.run(until=self.now + self.rng.expovariate(2.0))
            self._act(self.rng.choice(self.names))

    def settle(self) -> None:
        """Ends all faults, starts what is dead (but for one device in four), and lets the mesh come to rest."""
        self.faults = False
        self.frozen_until.clear()
        for name in self.names:
            if name in self.agents:
                if name in self.offline:
                    self.reconnect(name)
            elif self.rng.random() < 0.75:
                self.restart(name)
        for _ in range(STEPS_MAX):
            if self.is_idle():
                break
            self.run(until=self.now + STEP_S)

    def is_idle(self) -> bool:
        """Whether nobody works on anything and nobody owes an answer."""
        return not self._inferences and all(self.leaks(name) == {} for name in self.agents)

    def leaks(self, name: str) -> dict[str, object]:
        """Returns what a device holds that a device at rest must not hold."""
        agent = self.agents[name]
        server, sessions = agent._server, agent._sessions
        held: dict[str, object] = {
            "sessions": list(sessions._active),
            "requests": list(agent._requests._open),
            "peer items": list(agent._peers._open),
            "waiting": list(server.queue.waiting),
            "running": list(server.queue.running),
            "places": server.queue.places_used,
            "ends to tell": agent._ends.outstanding,
            "bytes": server.queue.held_bytes,
            "shares": server.queue.shares._held,
            "timers": [key for key in agent._context.timers._live if key[0] not in ("gossip", "status")],
        }
        return {what: value for what, value in held.items() if value}

    def _act(self, name: str) -> None:
        rng = self.rng
        alive = name in self.agents
        action = rng.choices(
            ("ask", "cancel", "repeat", "kill", "disconnect", "freeze", "replay", "late", "will", "early"),
            (40, 6, 6, 2, 3, 2, 8, 2, 2, 3),
        )[0]
        if not self.faults and action not in ("ask", "cancel", "repeat"):
            return
        if not alive:
            self.restart(name)
        elif name in self.offline:
            self.reconnect(name)
        elif action == "ask":
            self._ask_something(name)
        elif action in ("cancel", "repeat") and self.asked:
            self._pester(rng.choice(list(self.asked)), action)
        elif action == "kill":
            self.kill(name)
        elif action == "disconnect":
            self.disconnect(name)
        elif action == "freeze":
            self.frozen_until[name] = self.now + rng.uniform(0.1, 40.0)
        elif action == "replay" and self.sent:
            self.handle(name, ev.PeerMessageReceived(rng.choice(self.sent)[2]))
        elif action == "late":
            for event in (ev.TextGenerated("#0", "late"), ev.InferenceFailed("d9/1", "late", retryable=True)):
                assert self.agents[name].handle(event, self.now) == []
        elif action == "will":
            will = self.wills[rng.choice(self.names)]
            self.handle(name, ev.PeerMessageReceived(Presence(will.entry, PresenceState.OFFLINE, 1, "")))
        elif action == "early":
            self.handle(name, ev.DeadlineReached())

    def _ask_something(self, name: str) -> None:
        rng = self.rng
        user = f"u{len(self.asked)}"
        options: dict[str, Any] = {"layers": rng.randint(0, 3), "fanout": rng.randint(0, 4)}
        if rng.random() < 0.3:
            options["deadline_s"] = rng.choice((0.5, 5.0, 60.0))
        if rng.random() < 0.2:
            options["join"] = rng.randint(1, 4)
        self.asked[f"{user}/0 p1"] = name
        self.ask(name, user=user, **options)

    def _pester(self, key: str, action: str) -> None:
        """A user cancels or repeats a prompt, at the device that was asked."""
        inbox, prompt_id = key.split()
        device = self.asked[key]
        route = ev.ReplyRoute(*inbox.split("/"))
        known = [kept for kept in (self.disks.get(device) or Disk()).sessions if kept == key]
        if action == "cancel":
            self.handle(device, ev.PromptCancelReceived(prompt_id, route))
        elif known:
            prompt = self.disks[device].sessions[key].effect.prompt
            self.handle(device, ev.PromptReceived(prompt, route, 4))
