"""Every kind of text and number, through the real shipper into real databases and read back: what is sent arrives.

VictoriaMetrics answers "204 No Content" also to lines that it cannot read. So that "sent" is true all the same,
nothing is sent that it could misread: this table is the proof.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_agent.adapters.telemetry import TelemetryServer
from edge_agent.adapters.telemetry.progress import ShippingFigures
from edge_agent.adapters.telemetry.shipper import Shipper
from edge_agent.adapters.telemetry.spool import Spool
from edge_agent.wire.figures import told
from edge_agent.wire.line_protocol import encode, tag_text
from edge_agent.wire.measurements import TAGS, to_point
from tests.adapters.telemetry_samples import HURRIED, REQUEST, until
from tests.support.databases import DatabaseServer, running
from tests.support.patience import PATIENCE_S

STEP_NS = 1_000_000
ASCII = [chr(code) for code in range(128)]
BEYOND = [
    *("ä", "€", "漢", "😀", "\U0010ffff"),
    *("\u0085", "\u009f", "\u2028", "\u2029", "\ud800", "\udfff", "\ufffe", "\uffff", "\ufffd", "\ufeff"),
    *("\u00a0", "\u200b", "\u200f", "\u202e", "\u0301", "e\u0301", "\u05d0", "👩‍👩‍👧"),
]
SPECIAL = ("", ",", " ", "=", '"', "'", "\\", "\n", "#", "i", "1i ")


def texts() -> Iterator[str]:
    """Each character alone, at the start, in the middle and at the end, doubled, and before and after each special."""
    for one in (*ASCII, *BEYOND):
        yield from (one, f"{one}b", f"a{one}", f"a{one}b", f"{one}{one}", f"a{one}{one}b", f"a{one}{one}")
        for special in SPECIAL:
            yield from (f"a{one}{special}b", f"a{special}{one}b", f"{one}{special}", f"{special}{one}")
    yield from ("", "x" * 1024, "x" * 1025, "ä" * 70_000, "\\" * 66_000, ", =" * 30_000, "C:\\models\\smol lm, q8=0\\")


NUMBERS: list[int | float] = [
    *(0, 1, -1, 2**31, 2**53 - 1, 2**53, -(2**53), 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 10**30, 10**400),
    *(0.0, -0.0, 0.1, 1 / 3, 1e-12, 5e-324, 123456.789012345, 1e16, 1e22, 1.5e300, 1.7976931348623157e308),
    *(float("nan"), float("inf"), float("-inf")),
]


@pytest.fixture(params=["influxdb", "victoria-metrics"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseServer]:
    with running(DatabaseServer(request.param, tmp_path / request.param)) as server:
        yield server


async def ship(database: DatabaseServer, folder: Path, lines: list[str]) -> ShippingFigures:
    """Sends lines as a device does, and returns what became of them."""
    spool = Spool(folder, "dev-1", file_bytes_max=10**9, files_max=2)
    spool.append(lines)
    shipper = Shipper(spool, TelemetryServer(database.url), HURRIED)
    shipper.start()
    figures = ShippingFigures(0, 0, 0, 0, -1, 0)

    def all_settled() -> bool:
        nonlocal figures
        figures = shipper.figures() or figures
        return figures.spool_points == 0

    try:
        await until(all_settled, PATIENCE_S)
    finally:
        shipper.stop(5.0)
        spool.close()
    return figures


def read_back(database: DatabaseServer, field: str) -> dict[int, tuple[Any, dict[str, str]]]:
    """The value of a field and the tags of every `agent_request`, by its time."""
    tags = TAGS["agent_request"]
    found: dict[int, tuple[Any, dict[str, str]]] = {}
    if database.kind == "influxdb":
        columns = ", ".join(f'"{name}"' for name in (field, *tags))
        for series in database.influxql(f'SELECT {columns} FROM "agent_request"'):
            for row in series["values"]:
                found[row[0]] = (row[1], {name: text for name, text in zip(tags, row[2:], strict=True) if text})
        return found
    database.flush()
    answer = httpx.get(
        f"{database.url}/api/v1/export", params={"match[]": f"agent_request_{field}"}, timeout=PATIENCE_S, verify=False
    )
    for line in filter(None, answer.text.split("\n")):
        series = json.loads(line)
        labels = {name: text for name, text in series["metric"].items() if name != "__name__"}
        for time_ms, value in zip(series["timestamps"], series["values"], strict=True):
            found[time_ms * STEP_NS] = (value, labels)
    return found


async def test_every_text_arrives_in_every_tag_as_it_is_said_to(database: DatabaseServer, tmp_path: Path) -> None:
    first_ns = time.time_ns() // STEP_NS * STEP_NS - 60 * 10**9
    lines, wanted = [], {}
    for number, text in enumerate(texts()):
        at_ns = first_ns + number * STEP_NS
        record = replace(REQUEST, role=text, outcome=text, input_tokens=number)  # type: ignore[arg-type]  # any text
        lines.append(encode(to_point(record, mesh=text, device_id=text, model=text, time_ns=at_ns)))
        tags = dict.fromkeys(TAGS["agent_request"], tag_text(text)) if text else {}
        wanted[at_ns] = (number, tags)
    figures = await ship(database, tmp_path / "telemetry", lines)
    assert (figures.points_sent, figures.points_refused, figures.points_lost) == (len(wanted), 0, 0)
    found: dict[int, Any] = {}

    def all_there() -> bool:
        found.update(read_back(database, "input_tokens"))
        return len(found) >= len(wanted)

    await until(all_there, PATIENCE_S)
    wrong = {at: (found.get(at), wanted[at]) for at in wanted if found.get(at) != wanted[at]}
    assert not wrong, f"{len(wrong)} differ, such as {list(wrong.values())[:5]!a}"
    assert found.keys() == wanted.keys()


async def test_every_number_arrives_or_is_left_out_before_it_is_sent(database: DatabaseServer, tmp_path: Path) -> None:
    first_ns = time.time_ns() // STEP_NS * STEP_NS - 60 * 10**9
    lines, whole, real = [], {}, {}
    for at, number in enumerate(NUMBERS):
        at_ns = first_ns + at * STEP_NS
        record = (
            replace(REQUEST, input_tokens=number)
            if isinstance(number, int)
            else replace(REQUEST, waiting_time_s=number)
        )
        line = encode(to_point(record, mesh="home", device_id="dev-1", model=f"model {at}", time_ns=at_ns))
        lines.append(line)
        if isinstance(number, int) and "input_tokens=" in line:
            whole[at_ns] = number
        if isinstance(number, float) and "waiting_time_s=" in line:
            real[at_ns] = told(number)
    assert len(whole) == 7
    assert len(real) == 10
    figures = await ship(database, tmp_path / "telemetry", lines)
    assert (figures.points_sent, figures.points_refused, figures.points_lost) == (len(lines), 0, 0)

    def values(field: str, of: dict[int, Any]) -> dict[int, Any]:
        return {at: value for at, (value, _) in read_back(database, field).items() if at in of and value is not None}

    await until(lambda: values("input_tokens", whole) == whole, PATIENCE_S)
    # a whole float may be an integer in JSON, with all its digits
    await until(lambda: {at: float(v) for at, v in values("waiting_time_s", real).items()} == real, PATIENCE_S)


DAMAGED = [
    "agent_request,mesh=home,model=a\\\\, b=c input_tokens=1i 1795813258000000000",
    "agent_request,mesh=home,model=ends\\,role=x input_tokens=1i 1795813258000000000".replace("\\,", "\\\\,"),
    "agent_request,mesh=home input_tokens=1i",
    "agent_request,mesh=home input_tokens=9223372036854775808i 1795813258000000000",
    "agent_request,mesh=home input_tokens=nan 1795813258000000000",
    "agent_request,mesh= input_tokens=1i 1795813258000000000",
    "\0\0\0\0",
    "#agent_request,mesh=home input_tokens=1i 1795813258000000000",
    "\r",
    "",
]


async def test_what_is_damaged_on_disk_is_set_aside_and_never_counted_as_sent(
    database: DatabaseServer, tmp_path: Path
) -> None:
    first_ns = time.time_ns() // STEP_NS * STEP_NS - 60 * 10**9
    folder = tmp_path / "telemetry"
    lines = []
    for at, damaged in enumerate(DAMAGED):
        good = to_point(REQUEST, mesh="home", device_id="dev-1", model="m", time_ns=first_ns + at * STEP_NS)
        lines += [encode(good), damaged]
    figures = await ship(database, folder, lines)
    assert (figures.points_sent, figures.points_refused, figures.points_lost) == (len(DAMAGED), len(DAMAGED), 0)
    await until(lambda: len(read_back(database, "input_tokens")) == len(DAMAGED), PATIENCE_S)
    assert "not sent: not a valid point of moamesh" in next(folder.glob("*.refused")).read_text(errors="replace")
