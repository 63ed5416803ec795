"""Figures for Prometheus: the requests of this gateway, and the mesh as it sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_agent.client import DeviceState
from edge_agent.core.messages import Answer
from edge_agent.gateway.errors import CLIENT_GONE
from edge_agent.gateway.mesh import MeshLink
from edge_agent.gateway.replies import mesh_usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
"""From a page's file to a prompt at its default deadline of 300 s."""

_PATHS = ("/v1/chat/completions", "/v1/models", "/healthz", "/readyz", "/metrics", "/about.json", "/docs")
"""Told apart in labels; everything else is one, since a client could otherwise make labels without end."""

_STATUS_GAUGES = (
    "requests_waiting",
    "requests_running",
    "slots",
    "service_rate_hz",
    "queue_capacity",
    "arrival_rate_hz",
    "service_time_s_mean",
    "utilisation",
    "offered_load",
    "stability_margin",
    "peers_alive",
)
_STATUS_COUNTERS = ("accepted", "completed", "rejected", "expired", "cancelled", "failed", "bad_input")


@final
class Figures:
    """The counters of one gateway."""

    def __init__(self, link: MeshLink) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "moamesh_gateway_requests", "HTTP requests by path and status.", ("path", "status"), registry=self._registry
        )
        self.in_flight = Gauge("moamesh_gateway_in_flight", "HTTP requests under way.", registry=self._registry)
        self.latency = Histogram(
            "moamesh_gateway_request_seconds",
            "Time from a request to the end of its response.",
            ("path",),
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self._outcomes = Counter(
            "moamesh_gateway_prompts", "Prompts asked of the mesh, by outcome.", ("outcome",), registry=self._registry
        )
        self._tokens = Counter(
            "moamesh_gateway_mesh_tokens", "Tokens of all inferences.", ("direction",), registry=self._registry
        )
        self._partial = Counter(
            "moamesh_gateway_partial_answers",
            "Answers that are the best proposal instead of an aggregation.",
            registry=self._registry,
        )
        self._registry.register(_MeshFigures(link))

    def answered(self, answer: Answer) -> None:
        """Counts an answer."""
        self._outcomes.labels(answer.outcome.value).inc()
        if answer.partial:
            self._partial.inc()
        tokens = mesh_usage(answer)
        self._tokens.labels("input").inc(tokens["input_tokens"])
        self._tokens.labels("output").inc(tokens["output_tokens"])

    def not_answered(self, outcome: str) -> None:
        """Counts a prompt without an answer."""
        self._outcomes.labels(outcome).inc()

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)


@final
class CountingMiddleware:
    """Counts and times every request."""

    def __init__(self, app: ASGIApp, figures: Figures) -> None:
        self._app = app
        self._figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = CLIENT_GONE  # where no response begins

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path = scope["path"] if scope["path"] in _PATHS else "other"
        began = time.monotonic()
        with self._figures.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, noting)
            finally:
                self._figures.requests.labels(path, str(status)).inc()
                self._figures.latency.labels(path).observe(time.monotonic() - began)


@final
class _MeshFigures(Collector):
    """What the devices told last, read when Prometheus asks."""

    def __init__(self, link: MeshLink) -> None:
        self._link = link

    def collect(self) -> Iterator[Metric]:
        """The figures of now."""
        connected = GaugeMetricFamily("moamesh_gateway_broker_connected", "1 while the mesh's broker is connected.")
        connected.add_metric((), float(self._link.connected))
        yield connected
        unread = "Messages of devices that were not understood, came twice or belonged to no open prompt."
        dropped = CounterMetricFamily("moamesh_gateway_messages_dropped", unread)
        dropped.add_metric((), float(self._link.dropped))
        yield dropped
        now = time.monotonic()
        views = self._link.devices()
        up = GaugeMetricFamily("moamesh_device_online", "1 while a device can be asked.", labels=("device",))
        for view in views:
            up.add_metric((view.device_id,), float(view.state(now) is DeviceState.ONLINE))
        yield up
        able = GaugeMetricFamily(
            "moamesh_device_able", "1 while a device can infer, 0 while it says that it cannot.", labels=("device",)
        )
        for view in views:
            able.add_metric((view.device_id,), float(view.able))
        yield able
        problems = GaugeMetricFamily(
            "moamesh_device_problem", "1 for each part of a device that is not well.", labels=("device", "part")
        )
        for view in views:
            for problem in view.problems:
                problems.add_metric((view.device_id, problem.part.value), 1.0)
        yield problems
        told = [(view.device_id, view.status) for view in views if view.status is not None]
        for name in _STATUS_GAUGES:
            gauge = GaugeMetricFamily(f"moamesh_device_{name}", f"The device's own {name}.", labels=("device",))
            for device_id, status in told:
                gauge.add_metric((device_id,), float(getattr(status, name)))
            yield gauge
        for name in _STATUS_COUNTERS:
            counter = CounterMetricFamily(
                f"moamesh_device_{name}", f"The device's own count: {name}.", labels=("device",)
            )
            for device_id, status in told:
                counter.add_metric((device_id,), float(getattr(status, name)))
            yield counter
