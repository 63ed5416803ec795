"""How fast this device completes items with 1, 2, ... of them running: its service rates μ(1..c), measured.

Each slot more makes every item slower and all together faster. An item that completes has run for some time at each
level (number running); its work is shared out over them by how far it got at each, and μ(n) = n x work / time, the
times of all items added up. Nothing is assumed of how service times are distributed; only that an item's size does not
depend on how many run beside it. Where several end in the same moment, as in a batch, that changes nothing. Items with
and without references differ in work: each counts as its kind's mean service time over that of all.

What was seen seldom leans on a fit through all levels. A step of a batch costs something once and something for each
item in it, so n items take n / μ(n) = a + b (n-1): a straight line, with the speed-up of Amdahl's law.
"""

from __future__ import annotations

from typing import TypeAlias, final

MEMORY = 100.0  # items that shape the rate of a level: follows a change of prompts within some minutes
_PRIOR = 8.0  # items that the fit counts as, beside those that were seen

Begun: TypeAlias = list[float]
"""The seconds at each level until an item began."""


@final
class ServiceRates:
    """Adds up work and time for each level, for items that completed."""

    __slots__ = ("_elapsed_s", "_item_s", "_items", "_line", "_work", "slots")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._elapsed_s = [0.0] * (slots + 1)
        self._items = [0.0] * (slots + 1)
        self._work = [0.0] * (slots + 1)
        self._item_s = [0.0] * (slots + 1)
        self._line: tuple[float, float] | None = None

    def advance(self, elapsed_s: float, running: int) -> None:
        """So many items ran for so long."""
        self._elapsed_s[running] += elapsed_s

    def begin(self) -> Begun:
        """An item begins; what is returned is for `completed`."""
        return self._elapsed_s.copy()

    def completed(self, begun: Begun, work: float) -> None:
        """An item is done; `work` is its size, 1 for a mean one."""
        times_s = [now_s - then_s for now_s, then_s in zip(self._elapsed_s, begun, strict=True)]
        progress = [
            time_s * ((self.rate_hz(level) or 1.0) / level if level else 0.0) for level, time_s in enumerate(times_s)
        ]
        whole = sum(progress)
        if whole <= 0.0:
            return
        for level in range(1, self.slots + 1):
            if times_s[level] > 0.0:
                share = progress[level] / whole
                keep = 1.0 - share / MEMORY
                self._items[level] = self._items[level] * keep + share
                self._work[level] = self._work[level] * keep + share * work
                self._item_s[level] = self._item_s[level] * keep + times_s[level]
        self._line = self._fit()

    def rate_hz(self, running: int) -> float | None:
        """Returns μ(running), mean items per second; `None` before the first completion. `running` is at least 1."""
        if self._line is None:
            return None
        fitted_s = self._line[0] + self._line[1] * (running - 1)  # seconds an item takes at this level, by the line
        return running * (self._work[running] + _PRIOR) / (self._item_s[running] + _PRIOR * fitted_s)

    def rates_hz(self) -> tuple[float, ...]:
        """Returns μ(1..c); empty before the first completion."""
        rates = [self.rate_hz(running) for running in range(1, self.slots + 1)]
        return tuple(rate for rate in rates if rate is not None)

    def error(self, running: int) -> float:
        """Returns the relative standard error of μ(running) for exponential service, whose squared variation is 1:
        1 / √items, the fit's weight counted in."""
        return float((self._items[running] + _PRIOR) ** -0.5)

    def _fit(self) -> tuple[float, float] | None:
        """The line a + b (n-1) through the seconds that an item takes with n running, each level weighted by its items;
        b within 0 and a, or slots would lose, or gain more than their number. With one level seen, no gain from more
        of them is assumed."""
        levels = [
            (float(level - 1), self._item_s[level] / self._work[level], self._items[level])
            for level in range(1, self.slots + 1)
            if self._work[level] > 0.0
        ]
        if not levels:
            return None
        total = sum(weight for _, _, weight in levels)
        mean_x = sum(x * weight for x, _, weight in levels) / total
        mean_y = sum(y * weight for _, y, weight in levels) / total
        spread = sum(weight * (x - mean_x) ** 2 for x, _, weight in levels)
        no_gain = mean_y / (mean_x + 1.0)
        if spread <= 0.0:
            return no_gain, no_gain
        slope = sum(weight * (x - mean_x) * (y - mean_y) for x, y, weight in levels) / spread
        base = mean_y - slope * mean_x
        if slope < 0.0:
            return mean_y, 0.0
        return (no_gain, no_gain) if slope > base else (base, slope)
