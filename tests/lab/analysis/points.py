"""Telemetry written by hand, so that every figure of a report can be worked out on paper."""

from __future__ import annotations

from pathlib import Path

from edge_agent.wire.line_protocol import Point, encode

NS = 1_000_000_000
BEGIN_S = 1_000


def queue(
    device: str,
    at_s: float,
    interval_s: float,
    waiting_mean: float,
    busy: float,
    *,
    prompts: int = 0,
    accepted: int = 0,
    rejected: int = 0,
    capacity: int = 32,
    mesh: str = "hand",
) -> Point:
    fields: dict[str, int | float] = {
        "interval_s": interval_s,
        "requests_waiting": 0,
        "requests_running": 0,
        "requests_waiting_mean": waiting_mean,
        "queue_capacity": capacity,
        "arrival_rate_hz": prompts / interval_s if interval_s else 0.0,
        "service_time_s_mean": 1.0,
        "utilisation": busy,
        "stability_margin": 0.0,
        "accepted": accepted,
        "completed": accepted,
        "rejected": rejected,
        "expired": 0,
        "cancelled": 0,
        "failed": 0,
    }
    tags = {"mesh": mesh, "device_id": device, "model": "m"}
    return Point("agent_queue", tags, fields, round((BEGIN_S + at_s) * NS))


def request(
    device: str, at_s: float, waiting_s: float, service_s: float, role: str = "proposer", outcome: str = "completed"
) -> Point:
    fields = {"waiting_time_s": waiting_s, "service_time_s": service_s, "sojourn_time_s": waiting_s + service_s}
    tags = {"mesh": "hand", "device_id": device, "model": "m", "role": role, "outcome": outcome}
    return Point("agent_request", tags, dict(fields), round((BEGIN_S + at_s) * NS))


def session(
    device: str,
    at_s: float,
    latency_s: float,
    *,
    plan: tuple[int, int] = (1, 1),
    outcome: str = "answered",
    joined: int = 2,
) -> Point:
    fields: dict[str, int | float] = {
        "layer_count": plan[0],
        "fanout": plan[1],
        "end_to_end_latency_s": latency_s,
        "responses_expected": plan[0] * (plan[1] + 1),
        "responses_joined": joined,
        "substitutes": 1,
    }
    tags = {"mesh": "hand", "device_id": device, "outcome": outcome}
    return Point("agent_session", tags, fields, round((BEGIN_S + at_s) * NS))


def two_devices() -> list[Point]:
    """M = k = 1. d1 is asked 4 prompts in 40 s and takes 1 s and 3 s; d2 is asked 2 and takes 4 s."""
    return [
        queue("d1", 10, 10, 2.0, 0.5, prompts=3, accepted=5),
        request("d1", 11, 0.0, 1.0),
        request("d1", 15, 1.0, 3.0, "peer"),
        request("d1", 16, 4.0, 2.0, "aggregator"),
        request("d1", 17, 9.0, 0.0, outcome="expired"),
        session("d1", 16, 8.0),
        queue("d1", 40, 30, 1.0, 0.9, prompts=1, accepted=20, rejected=3),
        queue("d2", 40, 40, 0.5, 0.25, prompts=2, accepted=6),
        request("d2", 30, 2.0, 4.0),
        session("d2", 31, 12.0, joined=1),
        session("d2", 39, 30.0, outcome="expired", joined=0),
    ]


def write(folder: Path, points: list[Point], device: str = "d1") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{device}.00000001.lp").write_text("".join(f"{encode(point)}\n" for point in points))
