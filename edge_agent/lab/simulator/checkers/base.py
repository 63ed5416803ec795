"""What every checker is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeAlias, TypeVar

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, SendToDevice
from edge_agent.core.events import Event
from edge_agent.core.messages import Answer

Key: TypeAlias = tuple[int, str, str]
"""Of a prompt: (device, inbox, prompt id)."""
End = TypeVar("End")


class Violation(Exception):  # noqa: N818 - a finding, not an error of the program
    """A promise was broken.

    Attributes:
        checker: the name of the checker that saw it.
        liveness: whether something that had to happen did not, rather than something happened that must not.
    """

    def __init__(self, checker: str, detail: str, *, liveness: bool = False) -> None:
        super().__init__(f"{checker}: {detail}")
        self.checker = checker
        self.detail = detail
        self.liveness = liveness


class Checker:
    """Watches one promise. Each method may raise `Violation`; by default none of them looks at anything."""

    name = ""

    def restarted(self, device: int) -> None:
        """A device begins anew: what it held in memory is gone."""

    def excused(self, device: int) -> None:
        """A device lost its disk or left for good: what it had accepted is lost, and nobody could help it."""

    def lies(self, name: str) -> None:
        """A device will lie about its load, and about others."""

    def journal_damaged(self, device: int) -> None:
        """What a device's journal holds so far cannot be read any more."""

    def begun_anew(self, device: int, inbox: str, prompt_id: str) -> None:
        """A prompt is worked on again whose end its device may have forgotten: it will have another."""

    def taken_over(self, device: int, now: float) -> None:
        """A device has taken over the session of another that has its id."""

    def held_up(self, device: int, now: float) -> None:
        """A device handled nothing for a while, until now: what it was to do meanwhile is late."""

    def cut_short(self, device: int) -> None:
        """A device dies in the midst of the next event that it handles: not all of its effects are carried out."""

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """A device has handled `event`, and `effects` were carried out."""

    def told(self, device: int, inbox: str, answer: Answer) -> None:
        """An answer has reached its user."""

    def delivered(self, device: int, inbox: str, prompt_id: str) -> None:
        """The broker has confirmed an answer: the device takes it for delivered."""

    def too_large(self, device: int, effect: SendToDevice, size: int, room: int | None) -> None:
        """A message to another device is over a limit; its sender will be told. `room`, in bytes, is what it has been
        told that messages may have; `None` while it is not connected and may have made the message for another limit.
        """

    def at_rest(self, now: float, agents: Sequence[Agent | None]) -> None:
        """Faults are long over and nothing is asked any more; `None` stands for devices that left for good."""

    def broken(self, detail: str, *, liveness: bool = False) -> Violation:
        """Returns the violation to raise."""
        return Violation(self.name, detail, liveness=liveness)


class EndsOfDevices(Checker, Generic[End]):
    """Remembers how each prompt ended, for as long as its device can know it."""

    def __init__(self) -> None:
        self._ends: dict[Key, End] = {}
        self._unkept: set[Key] = set()

    def excused(self, device: int) -> None:
        """A device without its disk remembers nothing."""
        self._ends = {key: end for key, end in self._ends.items() if key[0] != device}

    def journal_damaged(self, device: int) -> None:
        """What has ended is remembered until it restarts, and not beyond."""
        self._unkept |= {key for key in self._ends if key[0] == device}

    def restarted(self, device: int) -> None:
        """What could not be written is forgotten."""
        for key in [key for key in self._unkept if key[0] == device]:
            self._unkept.discard(key)
            self._ends.pop(key, None)
