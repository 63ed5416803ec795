"""The engines of a fault run: how each inference ends, if it does, and what an engine says of itself.

Stands for engine and driver together. The driver owes the core exactly one outcome for every start, whatever the
engine raises; and word of it when the engine cannot infer for a while, and when it can again.
"""

from __future__ import annotations

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.health import Part
from edge_agent.lab.simulator.cluster import RESPONSE_TEXT, Cluster
from edge_agent.lab.simulator.faults.kinds import FaultKind
from edge_agent.lab.simulator.faults.plan import Plan
from edge_agent.lab.simulator.faults.sizes import draw_text
from edge_agent.lab.simulator.randomness import stream

_HANG_LIMIT_S = 10.0  # after which an engine's supervisor ends a hung inference
ENDLESS_S = 1e6  # longer than any run
_UNABLE_S = 0.001  # what it takes an engine without its process to say no


class Engines:
    """All of them."""

    def __init__(self, plan: Plan, cluster: Cluster) -> None:
        self.slowness = [1.0] * cluster.size
        self.wedged = [False] * cluster.size
        self.unable = [False] * cluster.size
        self.faults = True
        self._plan = plan
        self._cluster = cluster
        self._rng = stream(plan.seed, "engine")
        self._later_rng = stream(plan.seed, "engine, later kinds")
        self._text_rng = stream(plan.seed, "texts")

    def finish(self, device: int, request: fx.StartInference, seconds: float) -> tuple[float, ev.Event]:
        """Returns how an inference ends that would take that long: (seconds until then, event)."""
        plan, item_id = self._plan, request.item_id
        seconds *= self.slowness[device]
        chance, later = self._rng.random(), self._later_rng.random()
        if self.unable[device]:
            return _UNABLE_S, ev.InferenceFailed(item_id, "the model's process is gone", retryable=True)
        if self.wedged[device]:
            return _HANG_LIMIT_S, ev.InferenceFailed(item_id, "hung", retryable=True)
        if self.faults and chance < plan.engine_crash_share:
            return seconds / 2, ev.InferenceFailed(item_id, "crashed", retryable=True)
        if self.faults and chance > 1.0 - plan.engine_failure_share:
            return seconds / 2, ev.InferenceFailed(item_id, "broken", retryable=False)
        if self.faults and later < plan.engine_exception_share:
            return self.unforeseen(seconds / 2, item_id)
        if self.faults and later > 1.0 - plan.engine_endless_share:
            return ENDLESS_S, ev.InferenceFailed(item_id, "never", retryable=False)
        if request.stream:
            self._cluster.post(self._cluster.now + seconds / 2, device, ev.TextGenerated(item_id, "some "))
        text = draw_text(self._text_rng) if FaultKind.SIZES in plan.kinds else RESPONSE_TEXT
        return seconds, ev.InferenceCompleted(item_id, text, 5, 5, 0, seconds / 2)

    def unforeseen(self, seconds: float, item_id: str) -> tuple[float, ev.Event]:
        """The engine raises what no engine should: the driver makes an outcome of it, as of everything."""
        return seconds, ev.InferenceFailed(item_id, "an unforeseen error: TypeError", retryable=False)

    def wedge(self, device: int) -> None:
        """An engine hangs, with what it runs; its supervisor ends each hung inference after a while."""
        self.wedged[device] = True
        self._break_off(device, _HANG_LIMIT_S, "hung")

    def lose(self, device: int) -> None:
        """An engine's process dies and cannot be loaded again for now: it says so."""
        self.unable[device] = True
        self._break_off(device, _UNABLE_S, "the model's process is gone")
        self._tell(device, "the model cannot be loaded: no memory for its cache")

    def reload(self, device: int) -> None:
        """The engine can infer again, and says so."""
        if self.unable[device]:
            self.unable[device] = False
            self._tell(device, "")

    def restarted(self, device: int) -> None:
        """The device died and with it its engine's trouble: a new process loads the model anew."""
        self.wedged[device] = self.unable[device] = False

    def _break_off(self, device: int, delay_s: float, detail: str) -> None:
        for item_id in self._cluster.running_items(device):
            self._cluster.end_inference(device, item_id, delay_s, ev.InferenceFailed(item_id, detail, retryable=True))

    def _tell(self, device: int, detail: str) -> None:
        self._cluster.handle(device, ev.HealthChanged(Part.ENGINE, detail))
