"""A supervised mosquitto with mutual TLS whose folder follows its sources."""

from __future__ import annotations

from collections.abc import Callable

from broker.access import People
from broker.following import FollowingBroker
from broker.health import TlsHealth
from broker.mosquitto_config import mosquitto_command
from broker.mosquitto_files import BrokerFilesError, Change, MosquittoFiles
from edge_agent.children import Supervised
from edge_agent.tasks import HealthSources, ProblemListener, log_only


class MosquittoBroker(FollowingBroker):
    """Runs one mosquitto: `async with MosquittoBroker(files, people) as broker: ...`. Enter it in the main thread.

    Args:
        files: its folder, listeners and certificates.
        people: who comes with a password; called again and again, in a thread, so that changes are followed.
        health: how to ask whether it answers.
        told: hears in one line what is wrong with it, and "" when it is well again.
    """

    def __init__(
        self,
        files: MosquittoFiles,
        people: Callable[[], People] = People,
        *,
        health: TlsHealth | None = None,
        on_problem: ProblemListener = log_only,
    ) -> None:
        self._files = files
        self._people = people
        folder = files.config.folder
        command = mosquitto_command(files.config.program, folder)
        answers = (health or _health(files)).answers
        sources = HealthSources(on_problem)
        child = Supervised("mosquitto", command, folder / "mosquitto.log", answers, on_problem=sources.source())
        super().__init__(child, sources)

    @property
    def port(self) -> int:
        """Where devices connect."""
        return self._files.config.listeners.devices

    def _write(self) -> Change:
        return self._files.write(self._people())

    async def _reload(self) -> None:
        self._program.reload()


def _health(files: MosquittoFiles) -> TlsHealth:
    """Asks the listener that lets one get furthest without rights: a password is refused in MQTT, not in TLS."""
    listeners = files.config.listeners
    host = listeners.host if listeners.host not in ("", "0.0.0.0", "::") else "127.0.0.1"  # noqa: S104 - compared
    port = listeners.passwords or listeners.devices
    ca = files.config.folder / "ca.pem"
    return TlsHealth(host, port, ca, demands_certificate=listeners.passwords is None)


__all__ = ["BrokerFilesError", "MosquittoBroker"]
