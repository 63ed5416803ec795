"""One prompt as its user sees it: what has come back, and when to send it again.

Pure but for the asyncio event that wakes the reader: time is an argument. Sending a prompt again is harmless, because
a device knows prompt ids it has seen: it repeats its receipt while it works and its answer when it is done. So the
client repeats whenever something may have been lost, and drops what then comes twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from edge_agent.core.errors import MoameshError
from edge_agent.core.messages import (
    AboutPrompt,
    Answer,
    LayerProgress,
    Prompt,
    PromptReceipt,
    PromptRefusal,
    TokenChunk,
)

UNREAD_MAX = 2048  # messages a slow reader may lag behind; beyond it progress is dropped, never the answer


class NoReceiptError(MoameshError):
    """The device never said that it has the prompt: it is gone, or the mesh or device name is wrong."""


class AskTimeoutError(MoameshError):
    """The prompt was accepted (or the broker was away), but its answer did not come in time."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How patient a client is. Shorter: quicker errors, more repeats on slow networks. All seconds."""

    connect_timeout_s: float = 10.0  # a broker that does not answer by then is taken for absent
    receipt_timeout_s: float = 3.0  # first wait for a receipt; doubles with each repeat
    sends_max: int = 4  # 3 + 6 + 12 + 24 s: a restarting device comes back in that time
    resend_s: float = 1.0  # after the broker did not take a prompt; a new connection brings it forward
    probe_interval_s: float = 20.0  # without news of an accepted prompt it is sent again: finds lost answers
    answer_timeout_s: float = 330.0  # where the prompt names no deadline: a device's default deadline and a little
    grace_s: float = 30.0  # beyond the prompt's own deadline, for the way back
    backoff_min_s: float = 0.2  # between connection attempts, doubling, with jitter
    backoff_max_s: float = 5.0
    refused_backoff_max_s: float = 30.0  # where a broker refuses for good, until somebody mends it
    refused_after_s: float = 2.0  # a broker of ours hears of a new user within a second


class Conversation:
    """The messages about one prompt. After `add_sent` wait until `wait_until`, then ask `is_due` again.

    Args:
        prompt: what is asked.
        device_id: who is asked; messages of others are not for this conversation.
        now: seconds on the caller's clock.
        timeout_s: how long until `AskTimeoutError`; `None` takes the prompt's deadline and the settings' grace.
    """

    def __init__(
        self, prompt: Prompt, device_id: str, settings: ClientSettings, now: float, timeout_s: float | None = None
    ) -> None:
        deadline_s = prompt.options.deadline_s
        if timeout_s is None:
            timeout_s = settings.answer_timeout_s if deadline_s is None else deadline_s + settings.grace_s
        self.prompt = prompt
        self.device_id = device_id
        self.ends_at = now + timeout_s
        self.news = asyncio.Event()
        self._settings = settings
        self._timeout_s = timeout_s
        self._unread: deque[AboutPrompt] = deque()
        self._received = False
        self._ended = False
        self._next_chunk = 0
        self._sends_without_receipt = 0
        self._next_send_at: float = now

    @property
    def ended(self) -> bool:
        """Whether the answer or a refusal came."""
        return self._ended

    def deliver(self, message: AboutPrompt, now: float) -> bool:
        """Takes a message; returns False if it was dropped, as a repeat or because the reader lags too far."""
        self._next_send_at = now + self._settings.probe_interval_s
        if self._ended or self._is_repeat(message):
            return False
        self._received = True
        self._ended = isinstance(message, Answer | PromptRefusal)
        if len(self._unread) >= UNREAD_MAX and not self._ended:
            return False
        self._unread.append(message)
        self.news.set()
        return True

    def _is_repeat(self, message: AboutPrompt) -> bool:
        match message:
            case PromptReceipt():
                return self._received
            case TokenChunk(index=index):
                # a count that starts again at 0 means that the device starts the answer over
                repeat = 0 < index < self._next_chunk
                self._next_chunk = self._next_chunk if repeat else index + 1
                return repeat
            case LayerProgress() | Answer() | PromptRefusal():
                return False

    def take(self) -> AboutPrompt | None:
        """Returns the oldest unread message, if there is one."""
        if self._unread:
            return self._unread.popleft()
        self.news.clear()
        return None

    def reconnected(self, now: float) -> None:
        """The connection is new, so anything may have been lost: send again at once."""
        if not self._ended:
            self._next_send_at = now
            self.news.set()

    def add_sent(self, now: float, *, taken: bool) -> None:
        """Notes that the prompt was sent; `taken` says whether the broker acknowledged it."""
        settings = self._settings
        if self._received:
            self._next_send_at = now + settings.probe_interval_s
        elif not taken:
            self._next_send_at = now + settings.resend_s
        else:
            self._next_send_at = now + settings.receipt_timeout_s * 2**self._sends_without_receipt
            self._sends_without_receipt += 1

    def is_due(self, now: float) -> bool:
        """Whether the prompt is to be sent (again) now.

        Raises:
            AskTimeoutError: the time for an answer is over.
            NoReceiptError: it was sent often enough without a receipt.
        """
        if now >= self.ends_at:
            raise AskTimeoutError(f"{self.device_id} did not answer within {self._timeout_s:.0f} s")
        due = not self._ended and now >= self._next_send_at
        if due and not self._received and self._sends_without_receipt >= self._settings.sends_max:
            raise NoReceiptError(f"{self.device_id} does not respond: is it online? (`moamesh status` shows who is)")
        return due

    def wait_until(self) -> float:
        """When to ask `is_due` again if no news comes."""
        return min(self.ends_at, self._next_send_at)
