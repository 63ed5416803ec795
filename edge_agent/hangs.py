"""Whether a process that gives no answer hangs or is only slow: told by what it does, not by the clock.

A second of a busy Raspberry Pi is not a second of anything else, so a number of seconds kills what is merely slow, and
starts it again to be just as slow. Here a process may take its time while it computes, or waits for a processor or a
disk. Only seconds in which it does none of that, though it was asked something, count against it; and so that nothing
goes on for ever, what it may compute without an answer and the whole wait have bounds too.

Linux says what a process does. Elsewhere every second counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

LOOK_S = 0.5  # between two looks; one costs a millisecond or so, and there are none while answers come
LOOK_COUNTED_MAX_S = 2 * LOOK_S  # where we come late to a look we are the slow ones, and the process may know no better
COMPUTING_PAYS = 10.0  # seconds of silence for one of computing: what gets a tenth of a processor works, timers do not
COMPUTED_MAX_S = 300.0  # without an answer; the start of ejabberd, the longest, takes 4 here and 40 on a small device
WAITED_MAX_S = 1_800.0  # in all: nothing is waited for longer, whatever it does

OURSELVES: Final = -1
"""In place of the process id of this process, which is not one of those that are waited for."""

_NS_PER_S = 1e9
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class HangError(Exception):
    """It hangs, as far as can be told. The message is how, to go on after its name: "did nothing for 60 s"."""


@final
@dataclass(frozen=True, slots=True)
class Activity:
    """What a process and all below it have done so far.

    computed_s: on a processor.
    queued_s: ready to, but without a processor: others had them, or a quota was used up.
    on_disk: some of it waits for a disk right now.
    """

    computed_s: float
    queued_s: float
    on_disk: bool


@final
class HangDetector:
    """Counts the seconds in which processes that owe an answer did nothing. `look` every `LOOK_S`, or await `found`.

    Args:
        pids: those whose work, or that of what they started, is waited for; asked anew at each look.
        still_max_s: what is taken for a hang.
        computed_max_s: of computing without an answer: one that runs in a circle.
        waited_max_s: of the whole wait.
        now, doing: for tests.
    """

    def __init__(
        self,
        pids: Callable[[], Iterable[int | None]],
        still_max_s: float,
        *,
        computed_max_s: float = COMPUTED_MAX_S,
        waited_max_s: float = WAITED_MAX_S,
        now: Callable[[], float] = time.monotonic,
        doing: Callable[[Iterable[int]], dict[int, Activity]] | None = None,
    ) -> None:
        self._pids = pids
        self._still_max_s = still_max_s
        self._computed_max_s = computed_max_s
        self._waited_max_s = waited_max_s
        self._now = now
        self._doing = doing or activity_of
        self.begin()

    def begin(self) -> None:
        """Begins anew: an answer has come, and another is owed from now on."""
        self._began_at = self._looked_at = self._now()
        self._still_s = self._computed_s = 0.0
        self._before = self._look_at_all()

    def look(self) -> str:
        """Returns how it hangs, "" if it does not."""
        now, after = self._now(), self._look_at_all()
        counted_s = min(now - self._looked_at, LOOK_COUNTED_MAX_S)
        self._looked_at, before, self._before = now, self._before, after
        worked_s = 0.0
        for pid, doing in after.items():
            then = before.get(pid, Activity(0.0, 0.0, False))
            queued_s = max(0.0, doing.queued_s - then.queued_s)
            if pid == OURSELVES:  # who asks and hears the answer must have had a processor too
                counted_s = max(0.0, counted_s - queued_s)
                continue
            computed_s = max(0.0, doing.computed_s - then.computed_s)
            self._computed_s += computed_s
            worked_s += COMPUTING_PAYS * computed_s + queued_s + (LOOK_COUNTED_MAX_S if doing.on_disk else 0.0)
        self._still_s = max(0.0, self._still_s + counted_s - worked_s)
        if self._still_s >= self._still_max_s:
            return f"did nothing for {self._still_max_s:g} s"
        if self._computed_s >= self._computed_max_s:
            return f"computed for {self._computed_max_s:g} s without an answer"
        if now - self._began_at >= self._waited_max_s:
            return f"gave no answer for {self._waited_max_s:g} s"
        return ""

    async def found(self) -> None:
        """Returns never; as what `tasks.unless` waits for besides the answer.

        Raises:
            HangError: it hangs.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            if how := self.look():
                raise HangError(how)

    def _look_at_all(self) -> dict[int, Activity]:
        return self._doing([pid for pid in self._pids() if pid is not None])


def activity_of(pids: Iterable[int]) -> dict[int, Activity]:
    """Returns what each of these processes and all that they started have done, and this process as `OURSELVES`.

    Processes that are gone are left out; where the system does not say, all are.
    """
    doing = {pid: _doing_of(pid) for pid in _with_all_below(pids)} | {OURSELVES: _doing_of(os.getpid())}
    return {pid: one for pid, one in doing.items() if one is not None}


def _with_all_below(pids: Iterable[int]) -> set[int]:
    family = set(pids)
    if not family:
        return family
    children: dict[int, list[int]] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdecimal() and (fields := _stat(Path("/proc", name))) is not None:
                children.setdefault(int(fields[1]), []).append(int(name))
    ahead = list(family)
    while ahead:
        below = [pid for pid in children.get(ahead.pop(), ()) if pid not in family]
        family.update(below)
        ahead += below
    return family


def _doing_of(pid: int) -> Activity | None:
    computed_s, queued_s, on_disk = 0.0, 0.0, False
    try:
        fields = _stat(Path(f"/proc/{pid}"))
        if fields is None:
            return None
        computed_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S  # of threads that have ended too
        for thread in os.listdir(f"/proc/{pid}/task"):
            folder = Path(f"/proc/{pid}/task/{thread}")
            state = _stat(folder)
            on_disk |= state is not None and state[0] == "D"
            with contextlib.suppress(OSError, ValueError, IndexError):  # not every kernel is built with it
                queued_s += int((folder / "schedstat").read_bytes().split()[1]) / _NS_PER_S
    except OSError:
        return None
    return Activity(computed_s, queued_s, on_disk)


def _stat(folder: Path) -> list[str] | None:
    """The fields of `stat` from the state on; the name before them may hold anything."""
    try:
        return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
