"""What goes wrong at a database, fault by fault: one clear line, points wait in the spool, and none is lost or doubled.

That recording goes on is asserted in each: what is recorded during the fault is in the files while the fault lasts.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from edge_agent.adapters.telemetry import FileTelemetrySink, TelemetryServer, read_points
from edge_agent.adapters.telemetry.progress import ShippingFigures
from edge_agent.adapters.telemetry.shipping_status import look_at_spool
from provisioning.authority import MeshAuthority
from tests.adapters.telemetry_samples import HURRIED, SESSION, new_sink, until
from tests.support.faulty_database import FaultyDatabase, Reply, Write, take
from tests.support.patience import PATIENCE_S

TOKEN = "the-token-of-this-test"
POINTS = 200
HANGS_S = 1.0  # a server that works answers these few points in a hundredth of it


@pytest.fixture
def database() -> Iterator[FaultyDatabase]:
    with FaultyDatabase().serving() as served:
        yield served


@pytest.fixture(autouse=True)
def hear_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edge_agent")


@asynccontextmanager
async def sink_of(
    folder: Path,
    database: FaultyDatabase,
    *,
    timeout_s: float = 60.0,
    ca_file: Path | None = None,
    **options: object,
) -> AsyncIterator[FileTelemetrySink]:
    server = TelemetryServer(
        database.url, token=TOKEN, timeout_s=timeout_s, ca_file=str(ca_file) if ca_file is not None else None
    )
    sink = new_sink(folder, servers=[server], report_s=3600.0, **options)
    try:
        yield sink
    finally:
        await sink.stop()


async def record(sink: FileTelemetrySink, folder: Path, points: int = POINTS) -> None:
    """Records points and waits until they are in the files, whatever the database does."""
    before = len(list(read_points(folder)))
    for number in range(points):
        sink.record_session(replace(SESSION, substitutes=number))
    await until(lambda: len(list(read_points(folder))) == before + points, PATIENCE_S)
    assert sink.dropped == 0


def figures_of(sink: FileTelemetrySink) -> ShippingFigures:
    figures = sink._shippers[0].figures()
    assert figures is not None
    return figures


def lines_about(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("edge_agent")
    ]


async def mended(sink: FileTelemetrySink, folder: Path, database: FaultyDatabase, refused: int = 0) -> None:
    """The fault is over: all that was recorded arrives, each point once."""
    database.behave = take
    database.let_go.set()
    recorded = len(list(read_points(folder)))
    await until(lambda: figures_of(sink).points_sent == recorded - refused, PATIENCE_S)
    assert len(database.points) == recorded - refused
    figures = figures_of(sink)
    assert (figures.points_lost, figures.points_refused, figures.spool_points) == (0, refused, 0)


def files_like(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def recovery(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "points delivered after" in record.getMessage()]


@pytest.mark.parametrize(
    ("status", "words", "says"),
    [
        (401, "unauthorized access", "token_file, or username and password_file, in [[influx]] is missing or wrong"),
        (403, "insufficient permissions", "may not write to 'moamesh': grant it write access"),
        (404, 'database not found: "moamesh"', "if 'moamesh' is not there, create it"),
        (307, "", "give that address as url"),
        (400, "please provide either orgID or org", "url, database and org in [[influx]] must be what"),
    ],
    ids=["401", "403", "404", "redirect", "400 about the request"],
)
async def test_what_a_person_must_mend_keeps_the_points_and_says_the_way_out_once(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, words: str, says: str
) -> None:
    database.behave = lambda _: Reply(status, words)
    async with sink_of(tmp_path, database) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(database.writes) >= 3, PATIENCE_S)
        await record(sink, tmp_path)
        (line,) = lines_about(caplog)
        assert line.startswith(f"telemetry to {database.url.removeprefix('http://')}/moamesh waits in the spool: ")
        assert f"answered {status}: {words}" in line
        assert says in line
        await mended(sink, tmp_path, database)
        await until(lambda: len(recovery(caplog)) == 1, PATIENCE_S)
        assert f"{2 * POINTS} points delivered after" in recovery(caplog)[0]


async def test_400_for_bad_lines_sets_just_those_aside_with_the_servers_words(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = {"substitutes=13i", "substitutes=77i", "substitutes=78i", "substitutes=199i"}

    def take_the_good(write: Write) -> Reply:
        good = [line for line in write.lines if not bad & set(line.split(" ")[1].split(","))]
        if dropped := len(write.lines) - len(good):
            write.lines = good
            write.take()
            return Reply(400, f"partial write: field type conflict in {dropped} lines")
        return take(write)

    database.behave = take_the_good
    async with sink_of(tmp_path, database) as sink:
        await record(sink, tmp_path)
        await until(lambda: figures_of(sink).points_sent + figures_of(sink).points_refused == POINTS, PATIENCE_S)
        assert (figures_of(sink).points_refused, len(database.points)) == (len(bad), POINTS - len(bad))
        (line,) = lines_about(caplog)
        assert "1 points refused, set aside in" in line
        assert "400 partial write: field type conflict" in line
    (file,) = files_like(tmp_path, "*.refused")
    comments, lines = [], []
    for text in file.read_text().splitlines():
        (comments if text.startswith("#") else lines).append(text)
    assert {line.split(" ")[1].rpartition(",")[2] for line in lines} == bad
    assert all("400 partial write: field type conflict" in comment for comment in comments)


def said_by_1(bad: list[str], write: Write) -> Reply:
    words = f"partial write: field type conflict: input field in {bad[0]} dropped={len(bad)}"
    return Reply(400, body=json.dumps({"error": words}), headers={"X-Influxdb-Error": "partial write"})


def said_by_1_unread(bad: list[str], write: Write) -> Reply:
    words = f"partial write: unable to parse {bad[0]!r}: invalid number dropped=0"  # it counts those it could read
    return Reply(400, body=json.dumps({"error": words}))


def said_by_2(bad: list[str], write: Write) -> Reply:
    words = f"failure writing points to database: partial write: points beyond retention policy dropped={len(bad)}"
    return Reply(422, body=json.dumps({"code": "unprocessable entity", "message": words}))


def said_by_3(bad: list[str], write: Write) -> Reply:
    data = [{"original_line": line, "line_number": at, "error_message": "type"} for at, line in enumerate(bad, 1)]
    return Reply(400, body=json.dumps({"error": "partial write of line protocol occurred", "data": data}))


def said_by_3_hosted(bad: list[str], write: Write) -> Reply:
    words = f"partial write has occurred, errors encountered on line(s): {bad[0]}"
    return Reply(201, body=json.dumps({"code": "invalid", "message": words}))


@pytest.mark.parametrize("say", [said_by_1, said_by_1_unread, said_by_2, said_by_3, said_by_3_hosted])
@pytest.mark.parametrize("every", [1, 2, 3, 40])
async def test_a_partial_write_is_counted_to_the_point_in_the_words_of_every_version(
    say: Callable[[list[str], Write], Reply], every: int, database: FaultyDatabase, tmp_path: Path
) -> None:
    def partly(write: Write) -> Reply:
        bad = [line for line in write.lines if is_bad(line)]
        write.lines[:] = [line for line in write.lines if not is_bad(line)]
        write.take()
        return say(bad, write) if bad else Reply()

    def is_bad(line: str) -> bool:
        found = re.search(r"substitutes=(\d+)i", line)
        return found is not None and int(found[1]) % every == 0

    database.behave = partly
    sink = new_sink(tmp_path, mesh="bucket dropped=7", servers=[TelemetryServer(database.url)], report_s=3600.0)
    for number in range(80):
        sink.record_session(replace(SESSION, substitutes=number))
    bad = len(range(0, 80, every))

    def settled() -> bool:
        figures = sink._shippers[0].figures()
        return figures is not None and (figures.points_sent, figures.points_refused) == (80 - bad, bad)

    await until(settled, PATIENCE_S)
    await sink.stop()
    figures = sink._shippers[0].figures()
    assert figures is not None
    assert (figures.points_lost, figures.spool_points) == (0, 0)
    assert sum(line.startswith("agent_session") for line in database.points.values()) == 80 - bad


async def test_400_for_every_line_is_believed_at_once_where_the_server_says_how_many(
    database: FaultyDatabase, tmp_path: Path
) -> None:
    database.behave = lambda write: Reply(400, f"partial write: points beyond retention dropped={len(write.lines)}")
    async with sink_of(tmp_path, database) as sink:
        await record(sink, tmp_path)
        await until(lambda: figures_of(sink).points_refused == POINTS, PATIENCE_S)
        assert len(database.writes) < 20
        await record(sink, tmp_path, 1)
        await until(lambda: figures_of(sink).points_refused == POINTS + 1, PATIENCE_S)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, body="<html><title>Log in to this network</title></html>"),
        Reply(200),
        Reply(200, body='{"error": "timeout"}'),
        Reply(200, body='{"results": []}'),
        Reply(202, "queued"),
        Reply(206, body="<!DOCTYPE html>"),
        Reply(400),
        Reply(400, body="<html><title>400 Bad Request: a line of your organization</title></html>"),
        Reply(400, body="\n<?xml version='1.0'?><Error>partial write</Error>"),
        Reply(413, body="<html><title>413 Request Entity Too Large</title></html>"),
        Reply(422, body="<html><title>Blocked</title></html>"),
    ],
    ids=lambda reply: f"{reply.status} {(reply.body or reply.words)[:24]}",
)
async def test_what_no_database_says_leaves_the_points_where_they_are(
    reply: Reply, database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as a proxy: what is not surely taken is not sent, and what is not surely bad is not set aside."""
    database.behave = lambda _: reply
    async with sink_of(tmp_path, database) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(lines_about(caplog)) == 1, PATIENCE_S)
        tried = len(database.writes)
        await until(lambda: len(database.writes) > tried, PATIENCE_S)
        assert (figures_of(sink).points_sent, figures_of(sink).points_refused) == (0, 0)
        (line,) = lines_about(caplog)
        assert f"answered {reply.status}: " in line
        assert "this is not a database's answer" in line
        await mended(sink, tmp_path, database)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(429, "later", {"Retry-After": "\xb2"}),
        Reply(503, "later", {"Retry-After": "9" * 400}),
        Reply(503, "later", {"Retry-After": "Sun, 31 Feb 2026 99:00:00 GMT"}),
        Reply(500, body="[" * 100_000),
        Reply(500, body='{"error": ' + "9" * 5000 + "}"),
        Reply(500, "dropped=" + "9" * 5000),
    ],
    ids=lambda reply: f"{reply.status} {reply.headers or reply.body or reply.words}"[:40],
)
async def test_an_answer_that_cannot_be_understood_is_still_its_status_in_one_line(
    reply: Reply, database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database.behave = lambda _: reply
    async with sink_of(tmp_path, database, pace=replace(HURRIED, retry_after_max_s=0.2)) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(database.writes) >= 3, PATIENCE_S)
        (line,) = lines_about(caplog)
        assert f"answered {reply.status}: " in line
        await mended(sink, tmp_path, database)


async def test_413_halves_the_batch_until_it_fits(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def take_fifty(write: Write) -> Reply:
        return Reply(413, "too large") if len(write.lines) > 50 else take(write)

    database.behave = take_fifty
    async with sink_of(tmp_path, database) as sink:
        await record(sink, tmp_path, 1000)
        await until(lambda: figures_of(sink).points_sent == 1000, PATIENCE_S)
        assert len(database.points) == database.lines_taken == 1000
        assert lines_about(caplog) == [], "nothing is wrong that anybody should mend"
        refused = [write for write in database.writes if len(write.lines) > 50]
        assert len(refused) < 15, "what was found too large is not tried again"


async def test_413_for_a_single_point_sets_it_aside(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def take_but_one(write: Write) -> Reply:
        return Reply(413, "too large") if any("substitutes=9i" in line for line in write.lines) else take(write)

    database.behave = take_but_one
    async with sink_of(tmp_path, database) as sink:
        await record(sink, tmp_path)
        await until(lambda: figures_of(sink).points_sent == POINTS - 1, PATIENCE_S)
        assert figures_of(sink).points_refused == 1
        assert "413 too large" in lines_about(caplog)[0]


async def test_429_waits_as_long_as_retry_after_says(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    asked_at: list[float] = []

    def be_busy(_: Write) -> Reply:
        asked_at.append(loop.time())
        return Reply(429, "rate limit", {"Retry-After": "1"})

    database.behave = be_busy
    async with sink_of(tmp_path, database) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(asked_at) >= 3, PATIENCE_S)
        assert all(later - earlier >= 0.99 for earlier, later in pairwise(asked_at))
        (line,) = lines_about(caplog)
        assert "answered 429: rate limit" in line
        await mended(sink, tmp_path, database)


async def test_a_retry_after_of_a_year_is_not_believed(database: FaultyDatabase, tmp_path: Path) -> None:
    database.behave = lambda _: Reply(429, "rate limit", {"Retry-After": "31536000"})
    async with sink_of(tmp_path, database, pace=replace(HURRIED, retry_after_max_s=0.2)) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(database.writes) >= 2, PATIENCE_S)
        await mended(sink, tmp_path, database)


async def test_500_is_tried_again_until_it_works(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database.behave = lambda _: Reply(500, "engine: out of disk")
    async with sink_of(tmp_path, database) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(database.writes) >= 4, PATIENCE_S)
        (line,) = lines_about(caplog)
        assert "answered 500: engine: out of disk" in line
        await mended(sink, tmp_path, database)


async def test_a_server_that_hangs_delays_nothing_and_is_named(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database.behave = database.hang
    async with sink_of(tmp_path, database, timeout_s=HANGS_S) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(database.writes) >= 2, PATIENCE_S)
        await record(sink, tmp_path, 5000)
        (line,) = lines_about(caplog)
        assert line.endswith(f"{database.url} did not answer within {HANGS_S:g} s")
        await mended(sink, tmp_path, database)


ENDLESS = {
    "the head of the answer": b"",
    "a refusal": b"HTTP/1.1 400 no\r\n\r\n",
    "a refusal in pieces": b"HTTP/1.1 400 no\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    "a success with a text": b"HTTP/1.1 200 yes\r\n\r\n",
}


def said_of(what: str, how: str) -> str:
    if how == "drips":
        return r"did not (complete its )?answer within 1 s"  # not complete, unless this machine stood still for so long
    return "broke off its answer: " if what.startswith("the head") else "answered more than 1,048,576 bytes"


async def test_what_an_answer_would_be_unpacked_to_is_not_asked_for(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    head = f"HTTP/1.1 400 no\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()

    def explode(write: Write) -> Reply:
        write.connection.sendall(head + bomb)
        raise ConnectionAbortedError

    database.behave = explode
    tracemalloc.start()
    async with sink_of(tmp_path, database, timeout_s=HANGS_S) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(database.writes) >= 2, PATIENCE_S)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 32 * 1024 * 1024
        assert database.url in lines_about(caplog)[0]
        await mended(sink, tmp_path, database)


@pytest.mark.parametrize("what", ENDLESS)
@pytest.mark.parametrize("how", ["drips", "floods"])
async def test_a_server_whose_answer_never_ends_delays_nothing_and_is_named(
    what: str, how: str, database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database.behave = lambda write: (database.drip if how == "drips" else database.flood)(write, ENDLESS[what])
    async with sink_of(tmp_path, database, timeout_s=HANGS_S if how == "drips" else PATIENCE_S) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(database.writes) >= 2, PATIENCE_S)
        (line,) = lines_about(caplog)
        assert re.search(said_of(what, how), line), line
        await mended(sink, tmp_path, database)


async def test_an_answer_that_takes_long_is_told_while_it_is_waited_for_and_no_more_once_it_came(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = threading.Event()

    def dawdle(write: Write) -> Reply:
        answer.wait(PATIENCE_S)
        return Reply(204)

    database.behave = dawdle
    server = TelemetryServer(database.url, token=TOKEN)

    def trouble() -> str:
        return look_at_spool(tmp_path, "dev-1", [server]).databases[0].trouble

    async with sink_of(tmp_path, database, timeout_s=PATIENCE_S) as sink:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("edge_agent.adapters.telemetry.watchdog.SLOW_SHARE", 0.1 / PATIENCE_S)
            await record(sink, tmp_path)
            await until(lambda: "has not completed its answer for 0.1 s" in trouble(), PATIENCE_S)
        answer.set()
        await until(lambda: trouble() == "", PATIENCE_S)
    assert lines_about(caplog) == []


async def test_a_server_that_closes_in_the_midst_of_its_answer_gets_the_points_again_and_keeps_one_of_each(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database.behave = database.break_off
    async with sink_of(tmp_path, database) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(database.writes) >= 3, PATIENCE_S)
        (line,) = lines_about(caplog)
        assert f"{database.url} broke off its answer" in line
        await mended(sink, tmp_path, database)
        assert database.lines_taken > len(database.points), "they were sent again"


async def test_tls_with_a_wrong_name_sends_nothing_and_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = MeshAuthority.create(tmp_path / "ca", "home")
    files = [tmp_path / "server.pem", tmp_path / "server.key"]
    folder = tmp_path / "telemetry"
    for hosts, works in ((["database.example"], False), (["127.0.0.1"], True)):
        identity = authority.issue_broker(hosts)
        files[0].write_bytes(identity.certificate_pem)
        files[1].write_bytes(identity.key_pem)
        with FaultyDatabase((files[0], files[1])).serving() as database:
            async with sink_of(folder, database, ca_file=tmp_path / "ca" / "ca.pem") as sink:
                await record(sink, folder)
                if works:
                    await mended(sink, folder, database)
                else:
                    await until(lambda: bool(lines_about(caplog)), PATIENCE_S)
            if not works:
                (line,) = lines_about(caplog)
                assert "its certificate is for another name (" in line
                assert "not valid for '127.0.0.1'); use a name in the certificate as URL" in line
                assert not database.writes
    assert len(lines_about(caplog)) == 1


async def test_tls_of_an_unknown_authority_sends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    identity = MeshAuthority.create(tmp_path / "ca", "home").issue_broker(["127.0.0.1"])
    files = tmp_path / "server.pem", tmp_path / "server.key"
    files[0].write_bytes(identity.certificate_pem)
    files[1].write_bytes(identity.key_pem)
    with FaultyDatabase(files).serving() as database:
        async with sink_of(tmp_path / "telemetry", database) as sink:
            await record(sink, tmp_path / "telemetry")
            await until(lambda: bool(lines_about(caplog)), PATIENCE_S)
        assert "give its authority as the CA file" in lines_about(caplog)[0]
        assert not database.writes


async def test_a_server_that_is_not_there_is_named_once_and_its_recovery_too(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = FaultyDatabase()  # has a port and does not serve: connections wait in its queue
    nobody._server.server_close()
    async with sink_of(tmp_path, nobody) as sink:
        await record(sink, tmp_path)
        await until(lambda: bool(lines_about(caplog)), PATIENCE_S)
        (line,) = lines_about(caplog)
        assert line.endswith(f"{nobody.url} cannot be reached: Connection refused")
    async with sink_of(tmp_path, database) as sink:  # another place is another cursor, and gets all of the spool
        await record(sink, tmp_path, 1)
        await mended(sink, tmp_path, database)


@pytest.mark.parametrize("fault", ["hang", "take_and_hang"])
async def test_stopping_ends_within_its_bound_while_a_server_hangs_and_the_next_start_sends_the_rest(
    database: FaultyDatabase, tmp_path: Path, fault: str
) -> None:
    database.behave = getattr(database, fault)
    pace = replace(HURRIED, stop_s=0.5)
    async with sink_of(tmp_path, database, pace=pace, timeout_s=10 * PATIENCE_S) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(database.writes) >= 1, PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):  # the server hangs for longer, and would be waited for longer
            await sink.stop()
        assert database.hanging
    async with sink_of(tmp_path, database, pace=pace) as sink:
        await record(sink, tmp_path, 1)
        await mended(sink, tmp_path, database)
        assert figures_of(sink).points_written == POINTS + 2, "the last word of the first run is a point too"


async def test_the_token_goes_to_the_server_and_into_no_log_line_or_file(
    database: FaultyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    database.behave = lambda _: Reply(401, f"the token {TOKEN} is wrong")
    async with sink_of(tmp_path, database) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(database.writes) >= 2, PATIENCE_S)
        assert database.writes[0].headers["Authorization"] == f"Token {TOKEN}"
        assert "the token *** is wrong" in lines_about(caplog)[0]
        assert TOKEN not in repr(sink._shippers[0]._server)
    assert TOKEN not in caplog.text
    assert not any(TOKEN.encode() in path.read_bytes() for path in files_like(tmp_path, "*"))


async def test_a_server_that_becomes_another_is_asked_again_what_it_is(
    database: FaultyDatabase, tmp_path: Path
) -> None:
    def know_only_write(write: Write) -> Reply:
        return take(write) if write.path == "/write" else Reply(404, "page not found")

    async with sink_of(tmp_path, database) as sink:
        await record(sink, tmp_path)
        await until(lambda: len(database.points) == POINTS, PATIENCE_S)
        assert {write.path for write in database.writes} == {"/api/v2/write"}
        assert database.writes[0].parameters == {"bucket": ["moamesh"], "precision": ["ns"]}
        database.behave, database.version = know_only_write, "1.6.7"
        await record(sink, tmp_path)
        await until(lambda: len(database.points) == 2 * POINTS, PATIENCE_S)
        assert database.writes[-1].parameters == {"db": ["moamesh"], "precision": ["ns"]}


async def test_two_databases_are_two_cursors_and_one_that_is_down_holds_nobody_up(
    database: FaultyDatabase, tmp_path: Path
) -> None:
    with FaultyDatabase().serving() as dead:
        dead.behave = dead.hang
        servers = [TelemetryServer(dead.url, timeout_s=HANGS_S), TelemetryServer(database.url)]
        sink = new_sink(tmp_path, servers=servers, report_s=3600.0)
        try:
            await record(sink, tmp_path)
            await until(lambda: len(database.points) == POINTS, PATIENCE_S)
            assert not dead.points
            await until(lambda: len(dead.writes) >= 2, PATIENCE_S)
            dead.behave = take
            dead.let_go.set()
            await until(lambda: len(dead.points) == POINTS, PATIENCE_S)
        finally:
            await sink.stop()
    assert len(files_like(tmp_path, "*.cursor")) == 2


async def test_a_ca_file_that_is_damaged_while_a_device_runs_is_named_once_and_nothing_of_the_library_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(b"-----BEGIN CERTIFICATE-----\ndamaged")
    sink = new_sink(tmp_path / "telemetry", servers=[TelemetryServer("https://127.0.0.1:1", ca_file=str(ca_file))])
    sink.record_session(SESSION)
    wanted = f"ca_file {ca_file}: its certificate is cut off or damaged"
    await until(lambda: sink._shippers[0]._progress.trouble() == wanted, PATIENCE_S)
    await sink.stop()
    assert caplog.text.count(wanted) == 1
    assert {record.name.partition(".")[0] for record in caplog.records} == {"edge_agent"}
