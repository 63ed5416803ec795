"""The seam between the runtime and its adapters: what an engine, a transport, a journal and a telemetry sink must do.

An adapter implements one of these and knows nothing of the others. The runtime knows only these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from edge_agent.core.effects import (
    JournalAnswer,
    JournalDelivered,
    JournalLayer,
    JournalPrompt,
    RecordRequest,
    RecordSession,
    StartInference,
)
from edge_agent.core.events import Event, ReplyRoute, SessionsRestored
from edge_agent.core.messages import DeviceStatus, DeviceToUser, FinishReason, PeerMessage, Presence
from edge_agent.wire.topics import Channel

EmitEvent = Callable[[Event], Awaitable[None]]
"""Hands an event to the runtime; waits while its bounded inbox is full, which is the back-pressure of the device."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The model an engine runs, as it is shown to people and peers."""

    name: str
    family: str
    synthetic: bool = False


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """What one inference came to. Times are seconds."""

    text: str
    input_tokens: int
    output_tokens: int
    input_tokens_cut: int
    time_to_first_token_s: float
    finish_reason: FinishReason = FinishReason.STOP
    reasoning: str = ""
    """What the model thought before it answered, where it says so apart or between marks; no part of `text`."""


class Engine(Protocol):
    """Runs up to `slots` inferences at once: so many calls of `infer` may overlap, never more."""

    @property
    def card(self) -> ModelCard:
        """Known before `start`."""
        ...

    @property
    def slots(self) -> int:
        """How many items it works on at once, at least 1. Known before `start`, and the same ever after."""
        ...

    def watch(self, on_health: Callable[[str], None]) -> None:
        """Called once, before `start`. From then on `on_health` is told, from the event loop's thread, whenever the
        engine finds that it cannot infer (in one line: what is wrong, and the way out), and "" when it can again."""
        ...

    async def start(self) -> None:
        """Gets ready; returns when it can infer, or has said through `on_health` that it cannot yet.

        Raises:
            EngineError: it never will as it is set up (no model file, wrong format, a server that refuses).
        """
        ...

    async def infer(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        """Infers one item; `on_text` gets text as it is generated, only if the request asks for a stream.

        Cancelling the awaiting task stops generation promptly and leaves its slot ready for the next call. What becomes
        of one call (a failure, a hang, a cancel) is nothing to the others, unless the whole engine breaks.
        While the engine has said that it cannot infer, it raises at once.

        Raises:
            EngineError: with `retryable` set if the same call may succeed when made again.
        """
        ...

    async def stop(self) -> None:
        """Ends the engine and every process it started. May be called at any time, also twice."""
        ...


class Transport(Protocol):
    """Carries messages between devices and users. Sending never blocks on the network: outbound queues are bounded,
    what does not fit is dropped and counted; the protocol repeats what matters."""

    async def start(self, emit: EmitEvent, last_will: Presence) -> None:
        """Begins connecting in the background, and keeps reconnecting, until `stop`.

        What is wrong with the home broker is told as `HealthChanged`, once, with the way out.
        """
        ...

    def send_to_device(
        self, device_id: str, home_broker: str, message: PeerMessage, expires_in_s: float | None
    ) -> None:
        """Queues a message for another device's inbox.

        A request that will never be taken (too large for its broker or its reader, forbidden) comes back as the event
        `SendFailed`: that silence is nobody else's.
        """
        ...

    def send_to_user(
        self, reply: ReplyRoute, message: DeviceToUser, on_sent: Callable[[bool], object] | None = None
    ) -> None:
        """Queues a message for a user. What is too large for the broker is cut, and says so. `on_sent` is called once:
        with True when the broker has taken it, with False when it never will, for whatever reason."""
        ...

    def publish_presence(self, presence: Presence) -> None:
        """Queues this device's retained presence."""
        ...

    def stand_aside(self, pause_s: float) -> None:
        """Leaves the home broker, without a will, and comes back after `pause_s` seconds."""
        ...

    def publish_status(self, status: DeviceStatus) -> None:
        """Queues this device's retained live figures."""
        ...

    async def stop(self) -> None:
        """Sends what is queued, within a short bound, then disconnects cleanly so that no last will fires."""
        ...


class Discovery(Protocol):
    """Looks for other devices where no broker is shared. What it finds are hints."""

    async def start(self, emit: EmitEvent) -> None:
        """Begins to look, and to be seen; `emit` gets a `PeerDiscovered` for each device found, maybe repeatedly."""
        ...

    async def stop(self) -> None:
        """Ends both. May be called at any time."""
        ...


JournalEffect: TypeAlias = JournalPrompt | JournalLayer | JournalAnswer | JournalDelivered
"""What a journal is given to keep."""


class Journal(Protocol):
    """Keeps accepted prompts and their ends over a crash, and says when it cannot.

    A prompt is known by its id and the topic it is answered on: two users may choose the same id.
    """

    async def open(self, emit: EmitEvent) -> SessionsRestored:
        """Opens the journal and returns what it holds; removes what is past its retention.

        `emit` gets a `HealthChanged` when the disk refuses, and when it no longer does; and a `SessionsRestored` when a
        journal that could not be read at the start can be.

        Raises:
            JournalError: another process has it open, or a newer moamesh wrote it.
        """
        ...

    async def next_incarnation(self) -> int:
        """Returns a number higher than any returned before for this journal."""
        ...

    def write(self, record: JournalEffect) -> Awaitable[None]:
        """Has a record kept, behind all that were given before. Never blocks; what is returned ends when prompts and
        ends are on disk, and the others at least with the operating system.

        Raises:
            JournalError: by what is returned: the disk refused.
        """
        ...

    async def close(self) -> None:
        """Writes what waits and closes the journal; it can be opened again."""
        ...


class ProofCheck(StrEnum):
    """What is to be thought of a statement in somebody's name."""

    OWN = "own"
    """It is that device's own word."""
    FALSE = "false"
    """It is not: whoever said or carried it lies."""
    VOID = "void"
    """It was, but the certificate behind it counts no more: revoked, out of its time, of an authority of before."""
    UNKNOWN = "unknown"
    """The certificate behind it has not been seen."""


class Notary(Protocol):
    """Signs what this device says of itself, and tells whether another's statement is that device's own."""

    def certificate(self) -> str:
        """Returns the certificate that this device signs with (DER in base64)."""
        ...

    def sign(self, statement: bytes) -> str:
        """Returns the proof of a statement in this device's name."""
        ...

    def judge(self, device_id: str, statement: bytes, proof: str) -> ProofCheck:
        """Says whether `proof` shows that `statement` is the word of `device_id`.

        A statement in this device's own name may also be from a former life of it, with a certificate that counts no
        more: it is not believed but outdone.
        """
        ...

    def learn(self, certificate: str) -> str:
        """Takes a certificate (DER in base64); returns its fingerprint, "" if it is no device's of this mesh."""
        ...

    def find(self, fingerprint: str) -> str | None:
        """Returns a certificate that was taken, by its fingerprint."""
        ...


class TelemetrySink(Protocol):
    """Takes measurements. Never blocks, never raises: what cannot be kept is dropped and counted."""

    def watch(self, on_health: Callable[[str], None]) -> None:
        """Called once, before anything is recorded, with the event loop running. From then on `on_health` is told, from
        the event loop's thread, what is wrong whenever nothing can be kept, and "" when it can again."""
        ...

    def record_status(self, status: DeviceStatus) -> None:
        """The `agent_queue` measurement."""
        ...

    def record_request(self, record: RecordRequest) -> None:
        """The `agent_request` measurement."""
        ...

    def record_session(self, record: RecordSession) -> None:
        """The `agent_session` measurement."""
        ...

    async def stop(self) -> None:
        """Writes out what is buffered."""
        ...


class ManagementLine(Protocol):
    """What a steward may do with the device it looks after."""

    @property
    def connected(self) -> bool:
        """Whether the home broker is connected."""
        ...

    def publish(self, channel: Channel, body: bytes) -> None:
        """Queues a body on a management channel of this device."""
        ...

    def publish_to(self, device_id: str, home_broker: str, channel: Channel, body: bytes) -> None:
        """Queues a body on a management channel of another device."""
        ...

    def peers(self) -> Sequence[tuple[str, str]]:
        """Returns (device id, home broker) of the peers that are known now."""
        ...

    async def renew(self) -> None:
        """Connects anew with the certificate files as they are now; a broker of the device's own follows them too."""
        ...

    def restart(self) -> None:
        """Asks the device to end cleanly; its process then begins anew."""
        ...

    def report(self, detail: str) -> None:
        """Says in one line that the steward's work goes wrong in a way nobody foresaw, or "" for well again."""
        ...


class Steward(Protocol):
    """Looks after a device beside its prompts: jobs, certificates, revocations."""

    channels: frozenset[Channel]
    """The management channels it reads."""

    async def take(self, channel: Channel, body: bytes) -> None:
        """Takes one body that came for this device."""
        ...

    async def attend(self, line: ManagementLine) -> None:
        """Works until it is cancelled, while the device runs."""
        ...
