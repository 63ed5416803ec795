"""What holds of a device after every single event, whatever came before: its ends, its words, its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core import messages as m
from edge_agent.core.agent import Agent
from edge_agent.core.settings import AgentSettings
from edge_agent.core.sizes import MESSAGE_OVERHEAD_BYTES, chat_size
from edge_agent.wire import codec, topics
from edge_agent.wire.topics import Channel

MESH = "home"
TABLE_MAX = 400  # entries of any table: the settings here are small, and views, graves and seeds are bounded by less
LOOK_EVERY = 50  # steps between two looks into everything that the core holds


def key_of(prompt_id: str, reply: ev.ReplyRoute) -> str:
    """Whose prompt, and which."""
    return f"{reply.inbox} {prompt_id}"


@dataclass
class Kept:
    """A prompt on disk that has not ended."""

    effect: fx.JournalPrompt
    at: float
    layers: list[ev.JoinedLayer] = field(default_factory=list)
    restarts: int = 0


class Disk:
    """What the journal holds, as `adapters.journal.store` keeps it."""

    def __init__(self) -> None:
        self.prompts: dict[str, Kept] = {}
        self.answers: dict[str, ev.RestoredAnswer] = {}

    def write(self, record: fx.Effect, now: float) -> None:
        """Takes one record."""
        match record:
            case fx.JournalPrompt(prompt=prompt, reply=reply):
                self.answers.pop(key_of(prompt.prompt_id, reply), None)
                self.prompts.setdefault(key_of(prompt.prompt_id, reply), Kept(record, now))
            case fx.JournalLayer(prompt_id=prompt_id, reply=reply):
                kept = self.prompts.get(key_of(prompt_id, reply))
                if kept is not None and record.layer == len(kept.layers) + 1:
                    kept.layers.append(record.joined)
            case fx.JournalAnswer(answer=answer, reply=reply):
                key = key_of(answer.prompt_id, reply)
                self.prompts.pop(key, None)
                self.answers[key] = ev.RestoredAnswer(answer, reply, False)
            case fx.JournalDelivered(prompt_id=prompt_id, reply=reply):
                key = key_of(prompt_id, reply)
                if key in self.answers:
                    self.answers[key] = ev.RestoredAnswer(self.answers[key].answer, self.answers[key].reply, True)


class Promises:
    """Follows one device over all its lives. `check` is to be called after every event."""

    def __init__(self, device: str, settings: AgentSettings) -> None:
        self.disk = Disk()
        self._device = device
        self._settings = settings
        self._open: set[str] = set()
        self._ended: dict[str, m.Answer] = {}
        self._asked_by: set[tuple[str, str, str]] = set()
        self._origins: set[tuple[str, str]] = set()
        self._events = 0
        self._remembered = ""
        self._named = ""

    def before(self, agent: Agent, event: ev.Event, now: float) -> None:
        """To be called before each event: notes whether a prompt is one whose end must still be known."""
        self._remembered = ""
        if isinstance(event, ev.PromptReceived):
            key, ends = key_of(event.prompt.prompt_id, event.reply), agent._ends
            end = ends._kept.get(key)
            if end is not None and not ends._is_past(end, now):
                self._remembered = key

    def check(self, agent: Agent, event: ev.Event, effects: Sequence[fx.Effect]) -> None:
        """Raises AssertionError if something does not hold."""
        self._note(event)
        for effect in effects:
            self._check_effect(agent, effect)
        active = set(agent._sessions._active)
        assert active == self._open, f"accepted and not ended: {self._open}, worked on: {active}"
        queue, settings = agent.queue, self._settings
        restored = sum(session.restarts > 0 for session in agent._sessions._active.values())
        assert queue.places_used <= settings.queue_capacity + restored
        assert agent.view.size <= settings.view_size_max
        self._events += 1
        if self._events % LOOK_EVERY == 0:
            for where, size in tables_of(agent, type(agent).__name__):
                assert size <= TABLE_MAX, f"{where} has {size} entries"

    def check_all_told(self, agent: Agent) -> None:
        """After a time without trouble: nothing is left to do.

        Raises:
            AssertionError: something is.
        """
        left = {what: count for what, count in agent.outstanding().items() if count}
        assert not left, f"never ended: {left}"
        assert not self._open, f"accepted and never ended: {self._open}"

    def forget(self) -> None:
        """There is no journal: a restart ends everything."""
        self.disk = Disk()

    def restart(self, now: float) -> ev.SessionsRestored:
        """Returns what the journal kept, and takes it as what is promised from now on."""
        sessions = []
        for kept in self.disk.prompts.values():
            kept.restarts += 1
            elapsed, given = now - kept.at, kept.effect.deadline_in_s
            remaining = None if given is None else max(0.0, given - elapsed)
            sessions.append(
                ev.RestoredSession(
                    *(kept.effect.prompt, kept.effect.reply, remaining, elapsed, tuple(kept.layers), kept.restarts),
                    *(kept.effect.layer_count, kept.effect.fanout),
                )
            )
        self._open = set(self.disk.prompts)
        self._ended = {key: kept.answer for key, kept in self.disk.answers.items()}
        return ev.SessionsRestored(tuple(sessions), tuple(self.disk.answers.values()))

    def _note(self, event: ev.Event) -> None:
        match event:
            case ev.PromptReceived(prompt=prompt, reply=reply):
                self._asked_by.add((reply.principal, reply.client, prompt.prompt_id))
            case ev.PromptCancelReceived(prompt_id=prompt_id, reply=reply):
                self._asked_by.add((reply.principal, reply.client, prompt_id))
            case ev.AnswersQueryReceived(query=query, reply=reply):
                self._asked_by.add((reply.principal, reply.client, query.query_id))
                self._named = query.prompt_id
            case ev.BadInputReceived(message_id=prompt_id, reply=reply) if reply is not None:
                self._asked_by.add((reply.principal, reply.client, prompt_id))
            case ev.PeerMessageReceived(message=m.ProposalRequest() as request):
                self._origins.add((request.origin, request.request_id))
            case ev.Started():
                self._open = set()
            case ev.SessionsRestored():
                self._open = {key_of(one.prompt.prompt_id, one.reply) for one in event.sessions}

    def _check_effect(self, agent: Agent, effect: fx.Effect) -> None:
        match effect:
            case fx.SendToDevice():
                self._check_to_device(agent, effect)
            case fx.SendToUser():
                self._check_to_user(agent, effect)
            case fx.PublishPresence(presence=presence):
                assert codec.decode(codec.encode(presence), sender=self._device) == presence
            case fx.PublishStatus(status=status):
                assert codec.decode(codec.encode(status), sender=self._device) == status
            case fx.JournalPrompt(prompt=prompt, reply=reply):
                key = key_of(prompt.prompt_id, reply)
                if key not in self._open:
                    assert key != self._remembered, f"{key} has ended, and is worked on again"
                    self._open.add(key)
                    self._ended.pop(key, None)
            case fx.JournalAnswer(answer=answer, reply=reply):
                self._end(key_of(answer.prompt_id, reply), answer)

    def _check_to_device(self, agent: Agent, effect: fx.SendToDevice) -> None:
        message = effect.message
        channel = topics.row_for(message).channel
        topic = topics.written_by(self._device, MESH, effect.device_id, channel)
        address = topics.parse(topic)
        assert address is not None
        assert topics.Role.PEERS in topics.TABLE[channel].writers
        assert effect.device_id != self._device, f"it writes to itself: {message}"
        body = codec.encode(message)
        again = codec.decode(body, topics.TABLE[channel].types, sender=address.principal)
        assert again == message
        self._check_size(agent, topic, body, message)
        if isinstance(message, m.RequestReceipt | m.ProposalResponse):
            assert (effect.device_id, message.request_id) in self._origins, f"nobody asked for {message}"

    def _check_to_user(self, agent: Agent, effect: fx.SendToUser) -> None:
        reply, message = effect.reply, effect.message
        topic = topics.build(MESH, self._device, Channel.ANSWERS, reply.principal, reply.client)
        body = codec.encode(message, reply.body_id)
        assert codec.decode(body, get_args(m.DeviceToUser), sender=self._device) == message
        self._check_size(agent, topic, body, message)
        message_id = message.query_id if isinstance(message, m.AnswersPage) else message.prompt_id
        asked = (reply.principal, reply.client, message_id)
        assert asked in self._asked_by, f"{asked} is told of a prompt that is not theirs"
        if isinstance(message, m.AnswersPage):
            self._check_page(reply, message)
            return
        key = key_of(message.prompt_id, reply)
        match message:
            case m.Answer():
                if not self._settings.journal:
                    self._end(key, message)
                assert self._ended.get(key) == message, "another end is told than is kept"
                assert agent.is_connected or not self._settings.journal, "an answer is sent without a connection"
            case m.PromptReceipt():
                if not self._settings.journal:
                    self._open.add(key)
                    self._ended.pop(key, None)
                assert key in self._open or key in self._ended, "a receipt for what was not accepted"

    def _check_page(self, reply: ev.ReplyRoute, page: m.AnswersPage) -> None:
        """What an owner is told later is of that owner alone, and what was told at first."""
        for line in page.answers:
            if line.standing is m.Standing.GONE:
                assert line.prompt_id == self._named
                continue
            asked = (reply.principal, line.client, line.prompt_id)
            assert asked in self._asked_by, f"{reply.principal} is shown {asked}"
            if reply.principal == topics.ANYBODY:
                assert self._named or line.client == reply.client, "who has no name sees a list of others"
        if page.answer is not None:
            (line,) = page.answers
            known = self._ended[f"{reply.principal}/{line.client} {line.prompt_id}"]
            assert known.outcome == page.answer.outcome
            assert known.text.startswith(page.answer.text)

    def _check_size(self, agent: Agent, topic: str, body: bytes, message: m.Message) -> None:
        most = agent._context.message_bytes_max
        if cannot_be_sent(message, most):
            return  # accepted while its broker took more: the transport says `SendFailed`
        assert len(body) + len(topic) <= most, (
            f"{len(body)} bytes of {type(message).__name__}, at most {most} are taken"
        )

    def _end(self, key: str, answer: m.Answer) -> None:
        if key in self._open:
            self._open.remove(key)
            self._ended[key] = answer
            return
        known = self._ended.get(key)
        assert known is not None, f"an end of what was never accepted: {key}"
        same = answer.outcome == known.outcome and known.text.startswith(answer.text)
        assert same, f"two ends of {key}: {known.outcome}, {answer.outcome}"
        self._ended[key] = answer


def cannot_be_sent(message: m.Message, bytes_max: int) -> bool:
    """Whether a message asks for something that no message of this size can hold."""
    return isinstance(message, m.ProposalRequest) and chat_size(message.messages) > bytes_max - MESSAGE_OVERHEAD_BYTES


def tables_of(thing: Any, where: str, seen: set[int] | None = None) -> Iterator[tuple[str, int]]:
    """Every container that can be reached from an object of ours, as (where, entries)."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | type | None):
        return
    seen.add(id(thing))
    if isinstance(thing, dict):
        yield where, len(thing)
        for name, inner in list(thing.items())[:20]:
            yield from tables_of(inner, f"{where}[{str(name)[:20]}]", seen)
    elif isinstance(thing, list | tuple | set | frozenset) or type(thing).__name__ == "deque":
        yield where, len(thing)
        for inner in list(thing)[:20]:
            yield from tables_of(inner, f"{where}[]", seen)
    elif type(thing).__module__.startswith("edge_agent"):
        names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        for name in dict.fromkeys([*names, *getattr(thing, "__dict__", ())]):
            if hasattr(thing, name):
                yield from tables_of(getattr(thing, name), f"{where}.{name}", seen)
