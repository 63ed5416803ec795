"""What a check of a broker found, as a table for people and as objects for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker.access_results import CheckResult, Kind
from edge_agent.cli.terminal import JsonObject
from edge_agent.mqtt import BrokerLimits
from edge_agent.operator.broker.check import Report
from edge_agent.wire.codec import BODY_BYTES_MAX
from edge_agent.wire.topics import ROOT

TOPIC_WIDTH = 30  # the longest of a device's topics; what lies outside the table may fold
_LETTERS = {"read": "r", "write": "w"}
_STYLES = {
    Kind.ALLOWED: "good",
    Kind.REFUSED: "quiet",
    Kind.LEAK: "bad",
    Kind.MISSING: "busy",
    Kind.UNSEEN: "quiet",
}


def print_report(console: Console, report: Report) -> None:
    """A line for each who, a table of topics, and below it what should not have been."""
    for one in report.results:
        if one.action == "connect":
            style, word = _STYLES[one.kind], {"allowed": "let in", "refused": "kept out"}.get(one.kind, one.kind.value)
            detail = f"  {one.detail}" if one.detail else ""
            console.print(Text(f"{word:9}", style=style) + Text(one.who, style="default") + Text(detail, style="quiet"))
    console.print(_table(report))
    legend = "r receives, w writes; - tried and refused; ? nobody was there to show it; red: a leak, yellow: missing"
    console.print(legend, style="quiet", soft_wrap=True)
    for one in report.of_kind(Kind.LEAK, Kind.MISSING):
        what = "should not have been" if one.kind is Kind.LEAK else "should have been allowed"
        topic = report.names.get(one.topic, one.topic)
        line = f"{what}: {one.who} {one.action} {topic} {one.detail}".rstrip()
        console.print(line, style=_STYLES[one.kind], soft_wrap=True, markup=False)
    for line in limit_lines(report.limits):
        console.print(f"the broker {line}", style="busy", soft_wrap=True, markup=False)
    for line in report.untried:
        console.print(f"not tried: {line}", style="busy", soft_wrap=True, markup=False)
    counts = {kind: len(report.of_kind(kind)) for kind in Kind}
    summary = ", ".join(f"{count} {kind.value}" for kind, count in counts.items() if count)
    console.print(f"{len(report.results)} things tried: {summary}", style="good" if report.good else "bad")


def report_object(report: Report) -> JsonObject:
    """The same for JSON, with every single result."""
    return {
        "url": report.url,
        "password_url": report.password_url,
        "mesh": report.mesh,
        "ok": report.good,
        "counts": {kind.value: len(report.of_kind(kind)) for kind in Kind},
        "untried": list(report.untried),
        "limits": limits_object(report.limits),
        "results": [
            {
                "who": one.who,
                "action": one.action,
                "topic": report.names.get(one.topic, one.topic),
                "result": one.kind.value,
                "detail": one.detail,
            }
            for one in report.results
        ],
    }


def limit_lines(limits: BrokerLimits) -> list[str]:
    """What the broker does not allow, in words."""
    return [*([limits.hindrance] if limits.hindrance else []), *limits.notes(BODY_BYTES_MAX)]


def limits_object(limits: BrokerLimits) -> JsonObject:
    """The same for JSON; null is no limit."""
    return {name: None if value == math.inf else value for name, value in asdict(limits).items()}


def _table(report: Report) -> Table:
    whos = list(dict.fromkeys(one.who for one in report.results if one.action in _LETTERS))
    cells: dict[tuple[str, str], list[CheckResult]] = {}
    for one in report.results:
        if one.action in _LETTERS:
            cells.setdefault((one.topic, one.who), []).append(one)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("topic", overflow="fold", min_width=TOPIC_WIDTH)
    for who in whos:
        table.add_column(who)
    for label, topic in _rows(report, whos, cells):
        table.add_row(label, *(_cell(cells.get((topic, who), [])) for who in whos))
    return table


def _rows(
    report: Report, whos: Sequence[str], cells: Mapping[tuple[str, str], list[CheckResult]]
) -> Iterator[tuple[str, str]]:
    """Yields (label, one topic) for each row: topics that differ in a name alone, and came out alike, are one."""
    alike: dict[tuple[str, object], list[tuple[str, str]]] = {}
    for topic, name in report.names.items():
        short = _short(name, report.mesh)
        came_out = [[(one.action, one.kind) for one in cells.get((topic, who), [])] for who in whos]
        alike.setdefault(("/".join(short.split("/")[:2]), repr(came_out)), []).append((short, topic))
    for (channel, _), rows in alike.items():
        label = rows[0][0] if len(rows) == 1 else f"{channel}/({len(rows)} others)"
        yield label, rows[0][1]


def _cell(results: list[CheckResult]) -> Text:
    text = Text()
    for one in sorted(results, key=lambda result: result.action, reverse=True):
        mark = {Kind.REFUSED: "-", Kind.UNSEEN: "?"}.get(one.kind, _LETTERS[one.action])
        text.append(mark, style=_STYLES[one.kind])
    return text


def _short(topic: str, mesh: str) -> str:
    """Without the part that all topics of a mesh have in common."""
    return topic.removeprefix(f"{ROOT}/{mesh}/devices/")
