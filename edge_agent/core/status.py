"""What a device tells of its queue and load every few seconds, for people and databases."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import fields

from edge_agent.core.context import Context
from edge_agent.core.effects import PublishStatus
from edge_agent.core.inference import InferenceServer
from edge_agent.core.load import IntervalFigures
from edge_agent.core.messages import DeviceStatus
from edge_agent.core.timers import TimerKind

_TIMER = (TimerKind.STATUS, "")


class StatusReports:
    """Tells `DeviceStatus` every `status_interval_s`, of the time since the one before."""

    __slots__ = ("_context", "_peers", "_server", "_sessions")

    def __init__(self, context: Context, server: InferenceServer, sessions: Sized, peers: Sized) -> None:
        self._context = context
        self._server = server
        self._sessions = sessions
        self._peers = peers

    def start(self, now: float) -> None:
        """Begins the first interval."""
        self._server.meter.start(now)
        self._set_timer(now)

    def due(self, now: float) -> None:
        """An interval is over."""
        self._set_timer(now)
        context, server = self._context, self._server
        settings, identity, health = context.settings, context.identity, context.health
        server.advance(now)
        figures = server.meter.read(
            now,
            settings.stability_target,
            settings.queue_capacity,
            plan=(settings.layers, settings.fanout),
            devices=len(self._peers) + 1,
        )
        rates_hz = server.meter.service_rates_hz()
        status = DeviceStatus(
            device_id=identity.device_id,
            model=identity.model,
            synthetic=identity.synthetic,
            requests_waiting=len(server.queue.waiting),
            requests_running=len(server.queue.running),
            queue_capacity=settings.queue_capacity,
            sessions_active=len(self._sessions),
            peers_alive=len(self._peers),
            bad_input=context.counters.bad_input,
            able=health.able,
            durable=health.durable,
            problems=health.problems(),
            slots=context.slots,
            service_rate_hz=rates_hz[-1] if rates_hz else 0.0,
            service_rates_hz=rates_hz,
            **{field.name: getattr(figures, field.name) for field in fields(IntervalFigures)},
            **server.meter.totals,
        )
        context.out.append(PublishStatus(status))

    def _set_timer(self, now: float) -> None:
        interval_s = self._context.settings.status_interval_s
        if interval_s is not None:
            self._context.timers.set(_TIMER, now + interval_s)
