"""How long inferences took here: what is expected of the next one, and how much they vary."""

from __future__ import annotations

_MEAN_OF = 16  # how many recent service times shape the mean: follows a change of prompts within a minute
_VARIATION_OF = 100  # a variance needs more values than a mean to be worth its name


class ServiceTimes:
    """Running means of service times, apart for items without and with references, which take longer."""

    __slots__ = ("_count", "_counts", "_means", "mean_s")

    def __init__(self) -> None:
        self._means = [0.0, 0.0]
        self._counts = [0, 0]
        self._count = 0
        self.mean_s = 0.0
        """Of all items, of either kind; 0 before the first."""

    def add(self, with_references: bool, service_time_s: float) -> None:
        """Takes one measured service time in seconds."""
        count = self._counts[with_references] = min(self._counts[with_references] + 1, _MEAN_OF)
        self._means[with_references] += (service_time_s - self._means[with_references]) / count
        self._count = min(self._count + 1, _MEAN_OF)
        self.mean_s += (service_time_s - self.mean_s) / self._count

    def expected(self, with_references: bool) -> float | None:
        """Returns the expected service time in seconds; the other kind's if this was never seen, `None` at first."""
        if self._counts[with_references]:
            return self._means[with_references]
        return self._means[not with_references] if self._counts[not with_references] else None


class ServiceVariation:
    """Running squared variation C² of all service times: their variance over their squared mean."""

    __slots__ = ("_count", "_mean", "_variance")

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._variance = 0.0

    def add(self, service_time_s: float) -> None:
        """Takes one measured service time in seconds. Source: West (1979), with the oldest values fading."""
        count = self._count = min(self._count + 1, _VARIATION_OF)
        step = service_time_s - self._mean
        self._mean += step / count
        self._variance += (step * (service_time_s - self._mean) - self._variance) / count

    def read(self) -> float:
        """Returns C²; 0 before two service times are known."""
        return self._variance / self._mean**2 if self._mean > 0.0 else 0.0
