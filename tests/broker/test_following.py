"""What a broker's folder says comes into force, whatever fails on the way: a lost revocation would never be noticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import mosquitto_files
from broker.erlang import NodeUnreachableError
from broker.following import FollowingBroker
from broker.mosquitto_files import Change, write_folder
from edge_agent.children import Supervised
from edge_agent.tasks import HealthSources
from tests.support.polling import until


async def _answers(timeout_s: float) -> bool:
    return True


class Broker(FollowingBroker):
    """A program that runs, and files that say whether to read them again or to start anew."""

    def __init__(self, folder: Path) -> None:
        self.told: list[str] = []
        sources = HealthSources(self.told.append)
        child = Supervised("cook", ["sleep", "1000"], folder / "cook.log", _answers, on_problem=sources.source())
        super().__init__(child, sources)
        self.folder = folder / "folder"
        self.contents = {"a.restarts": b"1", "b.reloads": b"1"}
        self.failures: Iterator[Exception] = iter(())
        self.reloads = 0

    def _write(self) -> Change:
        return write_folder(self.folder, self.contents, lambda name: name == "b.reloads")

    async def _reload(self) -> None:
        for error in self.failures:
            raise error
        self.reloads += 1


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.following.AGAIN_S", 0.05)


async def test_a_reload_that_fails_is_tried_until_it_is_done(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    async with broker:
        broker.failures = iter([NodeUnreachableError("the node is slow"), RuntimeError("and stumbles")])
        broker.contents["b.reloads"] = b"2"
        await until(lambda: broker.reloads == 1, "it is read")
        await until(lambda: broker.revision == 1, "and counted")
        assert any("the node is slow" in line for line in broker.told)
        await until(lambda: broker.told[-1] == "", "it is well")
        assert await broker.follow() is Change.NOTHING
    assert broker.reloads == 1


async def test_a_restart_takes_the_place_of_a_reload_that_is_owed(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    async with broker:
        pid = broker.pid
        broker.failures = iter([NodeUnreachableError("the node is slow")] * 1_000)
        broker.contents["b.reloads"] = b"2"
        await until(lambda: len(broker.told) > 0, "the first failure is told")
        broker.contents["a.restarts"] = b"2"
        await until(lambda: broker.revision == 1, "it was started anew")
        assert broker.pid != pid
        assert broker.reloads == 0


async def test_files_of_which_only_some_could_be_written_are_in_force_once_all_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = mosquitto_files.write_atomically, [True]

    def write_on_a_full_disk(path: Path, content: bytes, mode: int) -> None:
        if full[0] and path.name == "b.reloads":
            raise OSError(28, "No space left on device", str(path))
        write(path, content, mode)

    broker = Broker(tmp_path)
    async with broker:
        pid = broker.pid
        monkeypatch.setattr(mosquitto_files, "write_atomically", write_on_a_full_disk)
        broker.contents = {"a.restarts": b"2", "b.reloads": b"2"}
        await until(lambda: any("No space" in line for line in broker.told), "it is told")
        assert broker.pid == pid
        full[0] = False
        await until(lambda: broker.revision == 1, "all of it is in force")
        assert broker.pid != pid, "the first file asks for a restart"
