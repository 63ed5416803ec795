"""`MeshClient`: ask devices, watch them, find them, over one MQTT connection."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Self

from edge_agent.client.access import Access
from edge_agent.client.connection import Connection
from edge_agent.client.conversation import ClientSettings, Conversation
from edge_agent.client.incoming import read
from edge_agent.client.queries import Queries
from edge_agent.client.roster import DeviceView, Roster
from edge_agent.core.errors import MoameshError, SettingsError
from edge_agent.core.messages import (
    ANSWERS_ON_A_PAGE,
    AboutPrompt,
    Answer,
    AnswersPage,
    AnswersQuery,
    ChatMessage,
    DeviceStatus,
    DeviceToUser,
    Presence,
    Prompt,
    PromptCancel,
    PromptOptions,
    PromptRefusal,
    RefusalReason,
    Role,
    UserMessage,
)
from edge_agent.mqtt import Incoming, parse_home
from edge_agent.tasks import OvertakenError, unless
from edge_agent.wire import client_ids, codec, topics

PROMPTS_OPEN_MAX = 10_000  # of one client at a time: bounds its memory when a caller forgets to read
WATCH_UNREAD_MAX = 4096  # broadcasts a slow watcher may lag behind
DISCOVER_SETTLE_S = 0.3  # retained presences come in one burst; a pause this long says that the burst is over
DISCOVER_POLL_S = 0.05
DISCOVER_UNRETAINED_S = 12.0  # two status intervals of a device with default settings, and a little

Watcher = Callable[[Presence | DeviceStatus, bool], None]
"""Sees each broadcast, and whether it was a retained one; must be quick and not raise."""


@dataclass(frozen=True, slots=True)
class _Sending:
    """A message to a device, as `Connection.publish` takes it."""

    topic: str
    body: bytes
    qos: int
    answers: str
    correlation: bytes
    expires_in_s: float | None


class BrokerUnreachableError(MoameshError):
    """No connection to the broker came about in time."""


class MeshClient:
    """A user of a mesh. Use as `async with MeshClient(url, mesh) as client:`.

    Reconnects by itself, and sends again what may have been lost; a repeat is harmless at the device.

    Args:
        url: the broker, for instance `mqtt://127.0.0.1:1883`; several addresses of it with commas between.
        mesh: the name of the mesh.
        client_id: which of this user's clients this is, to be answered apart from the others; by default always the
            same, and a random one where the broker knows no users, so that nobody else reads it by accident.
        access: a user name, password and certificates, where the broker wants them.
        principal: who to say we are. It must be the name that the broker knows us by, and is by default; only where it
            lets in everybody is it free, and proves nothing.

    Raises (on entering):
        BrokerUnreachableError: no connection within `settings.connect_timeout_s`, or the broker refuses for good.

    Raises (at once):
        SettingsError: `url` has no broker URL, or `mesh` or `client_id` is not 1 to 64 of a-z, 0-9 and -, or
            `principal` is neither that nor a user's login.
    """

    def __init__(
        self,
        url: str,
        mesh: str,
        client_id: str | None = None,
        *,
        access: Access | None = None,
        principal: str | None = None,
        settings: ClientSettings | None = None,
    ) -> None:
        access = access or Access()
        try:
            self.mesh = topics.check_id(mesh, "mesh")
            home = parse_home(url)
            self.principal = topics.check_principal(principal or access.principal, "principal")
            client_id = client_id or access.client or secrets.token_hex(8)
            self.client_id = topics.check_id(client_id, "client id")
        except ValueError as error:
            raise SettingsError(str(error)) from None
        self.url = ",".join(map(str, home))
        self.roster = Roster()
        self.dropped = 0
        """Messages that were not understood, came twice, or belonged to no open prompt."""
        self._answers, self._presence, self._status = topics.user_subscriptions(
            self.mesh, self.principal, self.client_id
        )
        self._settings = settings or ClientSettings()
        self._conversations: dict[str, Conversation] = {}
        self._queries = Queries(self._settings)
        self._watchers: list[Watcher] = []
        # Not the user's name alone: two sessions of one user, or of two meshes on one broker, would throw each other
        # out, for ever.
        identifier = client_ids.passing(self.mesh, f"{self.principal}.{self.client_id}")
        self._connection = Connection(home, access, identifier, self._settings, self._on_message, self._on_connect)

    async def __aenter__(self) -> Self:
        await self._connection.subscribe(*self._answers)  # in place before any prompt can be published
        self._connection.start()
        try:
            if not await self._connected_in_time():
                reason = self._connection.last_error or "no answer"
                raise BrokerUnreachableError(f"cannot reach the broker {self.url}: {reason}")
        except BaseException:
            await self._connection.stop()
            raise
        return self

    async def _connected_in_time(self) -> bool:
        connection = self._connection
        with contextlib.suppress(TimeoutError, OvertakenError):
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await unless(connection.connected.wait(), connection.refused.wait())
        return connection.connected.is_set()

    async def __aexit__(self, *_: object) -> None:
        await self._connection.stop()

    @property
    def connected(self) -> bool:
        """Whether the connection is up at this moment."""
        return self._connection.connected.is_set()

    @property
    def connected_at(self) -> float:
        """When the last connection came about, by `time.monotonic`; minus infinity before the first."""
        return self._connection.connected_at

    # --- asking ---------------------------------------------------------------------------------------------------

    async def ask(
        self,
        device_id: str,
        messages: str | Sequence[ChatMessage],
        options: PromptOptions | None = None,
        *,
        prompt_id: str | None = None,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[AboutPrompt, None]:
        """Asks a device; yields what it says until the answer or the refusal, which is the last.

        What the broker or a device would not take for its size is refused here at once, as the device would refuse it.

        A `TokenChunk` with index 0 starts the text (over); the `Answer` has all of it. Wrap in `contextlib.aclosing`
        when you may leave the loop early; leaving does not cancel the prompt, `cancel` does.

        Args:
            messages: a text, or the turns of a chat.
            prompt_id: the same id again means the same prompt; by default a new, unguessable one.
            timeout_s: how long to wait in all; by default the prompt's deadline and a little.

        Raises:
            NoReceiptError: the device never said it has the prompt.
            AskTimeoutError: no answer in time.
            SettingsError: the device id or prompt cannot be sent.
            BrokerUnreachableError: the broker lets this user read no answers of the device.
        """
        turns = (ChatMessage(Role.USER, messages),) if isinstance(messages, str) else tuple(messages)
        prompt = Prompt(prompt_id or secrets.token_hex(16), turns, options or PromptOptions())
        if len(self._conversations) >= PROMPTS_OPEN_MAX or prompt.prompt_id in self._conversations:
            raise SettingsError(f"prompt {prompt.prompt_id} is already open, or {PROMPTS_OPEN_MAX} others are")
        sending = self._sending(device_id, prompt)
        await self._listen(sending)
        conversation = Conversation(prompt, device_id, self._settings, time.monotonic(), timeout_s)
        self._conversations[prompt.prompt_id] = conversation
        try:
            while True:
                if conversation.is_due(time.monotonic()):
                    if (too_large := self._too_large(sending)) is not None:
                        yield PromptRefusal(prompt.prompt_id, device_id, RefusalReason.TOO_LARGE, too_large)
                        return
                    taken = await self._send(sending)
                    conversation.add_sent(time.monotonic(), taken=taken)
                while (message := conversation.take()) is not None:
                    yield message
                    if isinstance(message, Answer | PromptRefusal):
                        return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, conversation.wait_until() - time.monotonic())):
                        await conversation.news.wait()
        finally:
            del self._conversations[prompt.prompt_id]

    async def ask_to_end(
        self,
        device_id: str,
        messages: str | Sequence[ChatMessage],
        options: PromptOptions | None = None,
        *,
        prompt_id: str | None = None,
        timeout_s: float | None = None,
        on_message: Callable[[AboutPrompt], None] | None = None,
    ) -> Answer | PromptRefusal:
        """As `ask`, but returns how it ended; `on_message` sees everything on the way."""
        asking = self.ask(device_id, messages, options, prompt_id=prompt_id, timeout_s=timeout_s)
        async with contextlib.aclosing(asking):
            async for message in asking:
                if on_message is not None:
                    on_message(message)
                if isinstance(message, Answer | PromptRefusal):
                    return message
        raise AssertionError("ask ends with an answer, a refusal or an error")

    async def cancel(self, device_id: str, prompt_id: str) -> bool:
        """Tells the device that this answer is no longer wanted; returns whether the broker took the message."""
        return await self._send(self._sending(device_id, PromptCancel(prompt_id)))

    # --- asking what became of it ---------------------------------------------------------------------------------

    async def answers(
        self,
        device_id: str,
        *,
        since_s: float | None = None,
        of_client: str = "",
        after: str = "",
        count_max: int = ANSWERS_ON_A_PAGE,
    ) -> AnswersPage:
        """Returns what became of this user's prompts at a device: what runs first, then the newest ends.

        Of a user without a name (`me`), those of this very client.

        Args:
            since_s: only what ended in the last so many seconds; `whole_s` of the page says how far back it is whole.
            of_client: only prompts of this client of the user's.
            after: `next` of the page before.
            count_max: of one page, 1 to 100; its bytes are bounded, too.

        Raises:
            QueryRefusedError: `after` is forgotten by now, or the device was asked too often.
            NoReceiptError: the device says nothing.
            SettingsError, BrokerUnreachableError: as `ask`.
        """
        return await self._query(
            device_id, AnswersQuery(secrets.token_hex(8), "", of_client, since_s, after, count_max)
        )

    async def fetch_answer(self, device_id: str, prompt_id: str, *, of_client: str = "") -> AnswersPage:
        """Returns a page with the one line that says how a prompt of this user's stands, and with its whole `answer` if
        it has ended. Raises as `answers`."""
        return await self._query(device_id, AnswersQuery(secrets.token_hex(8), prompt_id, of_client))

    async def _query(self, device_id: str, query: AnswersQuery) -> AnswersPage:
        sending = self._sending(device_id, query)
        await self._listen(sending)
        return await self._queries.ask(device_id, query, lambda: self._send(sending))

    async def _listen(self, sending: _Sending) -> None:
        """Makes sure that what a device says is heard: one at a time where a broker allows no more."""
        if self._connection.can_read(self._answers[0]):
            return
        await self._connection.subscribe(sending.answers, self._answers[1])
        if not self._connection.can_read(sending.answers):
            why = self._connection.refused_filters[sending.answers]
            raise BrokerUnreachableError(f"{self.url} does not let this user read {sending.answers}: {why}")

    def _sending(self, device_id: str, message: UserMessage) -> _Sending:
        row = topics.row_for(message)
        try:
            topic = topics.written_by(self.principal, self.mesh, device_id, row.channel)
            answers = topics.build(self.mesh, device_id, topics.Channel.ANSWERS, self.principal, self.client_id)
            body = codec.encode(message)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        deadline_s = message.options.deadline_s if isinstance(message, Prompt) else None
        correlation = message.query_id if isinstance(message, AnswersQuery) else message.prompt_id
        return _Sending(topic, body, row.qos, answers, correlation.encode(), deadline_s)

    def _too_large(self, sending: _Sending) -> str | None:
        """Says in words why it would not be taken for its size, `None` if it will be."""
        size = len(sending.body)
        if size > codec.BODY_BYTES_MAX:
            return f"{size:,} bytes as the mesh sends it; a message may have {codec.BODY_BYTES_MAX:,}"
        room = self._connection.room(sending.topic, sending.answers, sending.correlation)
        if size > room:
            return f"{size:,} bytes as the mesh sends it; the broker {self.url} takes {int(room):,}"
        return None

    async def _send(self, sending: _Sending) -> bool:
        return await self._connection.publish(*astuple(sending))

    # --- watching -------------------------------------------------------------------------------------------------

    async def start_watching(self, watcher: Watcher | None = None) -> None:
        """Keeps `roster` up to date from now on, and calls `watcher` for each presence and status, also retained."""
        if watcher is not None:
            self._watchers.append(watcher)
        await self._connection.subscribe(*self._presence)
        await self._connection.subscribe(*self._status)

    async def watch(self) -> AsyncGenerator[Presence | DeviceStatus, None]:
        """Yields presence and status of every device as they come; a reader that lags loses the oldest."""
        unread: deque[Presence | DeviceStatus] = deque(maxlen=WATCH_UNREAD_MAX)
        news = asyncio.Event()

        def take(message: Presence | DeviceStatus, _retained: bool) -> None:
            unread.append(message)
            news.set()

        await self.start_watching(take)
        try:
            while True:
                await news.wait()
                news.clear()
                while unread:
                    yield unread.popleft()
        finally:
            self._watchers.remove(take)

    async def discover(self, timeout_s: float = 3.0, *, at_least: int = 1) -> tuple[DeviceView, ...]:
        """Returns the devices online: at once when `at_least` are known and no new one came for `DISCOVER_SETTLE_S`,
        else what there is after `timeout_s` of one connection: a broker that restarts has forgotten who is there. Later
        where the broker retains nothing, and a status must be waited for. A broker that stays away is not waited for
        longer than to connect.
        """
        await self.start_watching()
        if not self._connection.limits.retain:
            timeout_s = max(timeout_s, DISCOVER_UNRETAINED_S)
        began, known, settled_at = time.monotonic(), -1, math.inf
        gives_up_at = began + timeout_s + self._settings.connect_timeout_s
        while (now := time.monotonic()) < gives_up_at:
            if self.connected and now >= max(began, self.connected_at) + timeout_s:
                break
            count = len(self.roster.online(now))
            if count != known:
                known, settled_at = count, now + DISCOVER_SETTLE_S
            if count >= at_least and now >= settled_at:
                break
            await asyncio.sleep(DISCOVER_POLL_S)
        return self.roster.online(time.monotonic())

    # --- what comes in --------------------------------------------------------------------------------------------

    def _on_connect(self) -> None:
        for conversation in self._conversations.values():
            conversation.reconnected(time.monotonic())

    def _on_message(self, incoming: Incoming) -> None:
        received = read(self.mesh, incoming.topic, incoming.payload)
        if received is None:
            self.dropped += 1
        elif isinstance(received.message, Presence | DeviceStatus):
            self._on_broadcast(received.message, incoming.retain)
        else:
            self.dropped += not self._take(received.device_id, received.message)

    def _take(self, device_id: str, message: DeviceToUser) -> bool:
        if isinstance(message, AnswersPage):
            return self._queries.take(device_id, message)
        conversation = self._conversations.get(message.prompt_id)
        if conversation is not None and conversation.device_id == device_id:
            return conversation.deliver(message, time.monotonic())
        return isinstance(message, PromptRefusal) and self._queries.take(device_id, message)

    def _on_broadcast(self, message: Presence | DeviceStatus, retained: bool) -> None:
        if isinstance(message, Presence):
            self.roster.take_presence(message, time.monotonic())
        else:
            self.roster.take_status(message, time.monotonic(), retained=retained)
        for watcher in tuple(self._watchers):
            watcher(message, retained)
