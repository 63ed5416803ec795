"""docs/img/prompt-sequence.svg: the way of one prompt through the rooms of the core, as a run goes it.

Nothing in it is drawn by hand. A mesh on a virtual clock answers a prompt (M = 1, k = 2) while the interpreter tells
which function of which room calls which; then each event that a device took in is drawn, the calls between rooms that
it led to, and the effects that came out. What a room only asks another is left out, or the way would not be seen.
SVG and not Mermaid: the site loads no script from elsewhere.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from html import escape
from types import FrameType
from typing import Any

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, SendToDevice, SendToUser
from edge_agent.core.events import Event, PeerMessageReceived
from scripts.docs.markdown import ROOT
from tests.core.mesh import QUIET, Mesh

PICTURE = ROOT / "docs" / "img" / "prompt-sequence.svg"
OUTSIDE = "outside"
ROOMS = ("agent", "reception", "sessions", "stages", "judging", "layers", "requests", "inference", "ends")
DEVICE = "d0"
_QUESTIONS = {"find", "repeat", "is_wanted", "stops", "load_at_prompt", "expected_wait_s"}
_CORE = "/edge_agent/core/"

_LEFT, _FIRST, _APART, _ROW, _TOP = 70, 360, 118, 22, 56  # pixels
_STYLE = (
    "text{font:11px sans-serif;fill:#1f2933}.room{font-weight:bold;text-anchor:middle}.time{fill:#6b7780}"
    ".life{stroke:#c3ccd3}.call{stroke:#00796b}.event,.effect{stroke:#b45309}.effect{stroke-dasharray:4 3}"
    "line{stroke-width:1.2}.on{text-anchor:middle}"
)


@dataclass(frozen=True, slots=True)
class Step:
    """An event that came in, a call between two rooms, or an effect that went out; `now` in seconds."""

    kind: str
    source: str
    target: str
    what: str
    now: float


class _Watched:
    """An agent whose calls between rooms are written down."""

    def __init__(self, agent: Agent, steps: list[Step]) -> None:
        self._agent = agent
        self._steps = steps
        self._now = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)

    def handle(self, event: Event, now: float) -> list[Effect]:
        self._now = now
        self._note("event", OUTSIDE, "agent", _named(event))
        before = sys.getprofile()
        sys.setprofile(self._called)
        try:
            effects = self._agent.handle(event, now)
        finally:
            sys.setprofile(before)
        for effect in effects:
            self._note("effect", "agent", OUTSIDE, _named(effect))
        return effects

    def _called(self, frame: FrameType, event: str, _: object) -> None:
        source, target = _room_of(frame.f_back), _room_of(frame)
        if event == "call" and target in ROOMS and source in ROOMS and source != target:
            name = frame.f_code.co_name.lstrip("_")
            if name not in _QUESTIONS:
                self._note("call", source, target, name)

    def _note(self, kind: str, source: str, target: str, what: str) -> None:
        self._steps.append(Step(kind, source, target, what, self._now))


def record() -> list[Step]:
    """Returns what happens at a device that is asked one prompt, from the prompt to the delivered answer."""
    steps: list[Step] = []
    mesh = Mesh(3, replace(QUIET, layers=1, fanout=2))
    mesh.agents[DEVICE] = _Watched(mesh.agents[DEVICE], steps)  # type: ignore[assignment]  # as good as one
    key = mesh.ask(DEVICE)
    mesh.run()
    mesh.answer(key)
    return steps


def render() -> str:
    """Returns the picture as SVG text."""
    steps = record()
    columns = {OUTSIDE: _LEFT} | {room: _FIRST + place * _APART for place, room in enumerate(ROOMS)}
    width, height = columns[ROOMS[-1]] + _APART // 2 + 10, _TOP + _ROW * (len(steps) + 1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        "<title>A prompt on its way through the core</title>",
        f'<style>{_STYLE}</style><rect width="{width}" height="{height}" fill="#fff"/>',
        '<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#52606d"/></marker></defs>',
    ]
    for name, x in columns.items():
        lines.append(f'<text class="room" x="{x}" y="24">{name}</text>')
        lines.append(f'<line class="life" x1="{x}" y1="34" x2="{x}" y2="{height - 8}"/>')
    for number, step in enumerate(steps):
        lines += _drawn(step, columns, _TOP + _ROW * (number + 1) - 6)
    return "\n".join([*lines, "</svg>", ""])


def _drawn(step: Step, columns: dict[str, int], y: int) -> list[str]:
    x1, x2 = columns[step.source], columns[step.target]
    lines = [f'<line class="{step.kind}" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}" marker-end="url(#to)"/>']
    if step.kind == "event":
        lines.append(f'<text class="time" x="6" y="{y + 4}">{step.now:.2f} s</text>')
    middle = (x1 + x2) // 2
    lines.append(f'<text class="on" x="{middle}" y="{y - 4}">{escape(step.what)}</text>')
    return lines


def _room_of(frame: FrameType | None) -> str:
    """The room of the core that a call is in, "" if it is in none."""
    _, found, name = (frame.f_code.co_filename if frame else "").replace("\\", "/").rpartition(_CORE)
    return name.removesuffix(".py") if found else ""


def _named(what: Event | Effect) -> str:
    """The name of an event or effect, with that of the message it carries."""
    name = type(what).__name__
    if isinstance(what, PeerMessageReceived | SendToDevice | SendToUser):
        return f"{name}: {type(what.message).__name__}"
    return name
