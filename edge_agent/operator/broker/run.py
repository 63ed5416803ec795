"""Brokers that run for as long as a block: `async with mosquitto_broker(mesh, files): ...`.

Each is started again should it end or hang. Enter the block in the main thread: a broker dies with the thread that
started it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

from broker.ejabberd import EjabberdNode, NodeSettings
from broker.embedded import EmbeddedBroker
from broker.mosquitto import MosquittoBroker
from broker.mosquitto_files import MosquittoFiles
from broker.per_device import DeviceBroker
from edge_agent.config import AgentConfig
from edge_agent.core.errors import SettingsError
from edge_agent.operator.broker.people import MeshPeople
from edge_agent.operator.broker.setup import one_line_errors
from edge_agent.runtime.home import own_broker
from provisioning.mesh import MeshFolder

Running = TypeVar("Running")


def embedded_broker(*, port: int = 0, kind: str | None = None) -> AbstractAsyncContextManager[EmbeddedBroker]:
    """Runs a broker for this host alone, which lets everybody in. `port` 0 is a free one, `kind` `None` the better one.

    Raises:
        SettingsError: it did not start.
    """
    return _started(lambda: EmbeddedBroker(port=port, kind=kind))


def mosquitto_broker(mesh: MeshFolder, files: MosquittoFiles) -> AbstractAsyncContextManager[MosquittoBroker]:
    """Runs the mesh's broker; users, claims and revocations are followed.

    Raises:
        SettingsError: it did not start.
    """
    return _started(lambda: MosquittoBroker(files, MeshPeople(mesh)))


@asynccontextmanager
async def cluster_node(mesh: MeshFolder, settings: NodeSettings) -> AsyncIterator[list[str]]:
    """Runs one node of the mesh's ejabberd cluster; users, claims and revocations are followed.

    Yields the names of the nodes that run, this one among them.

    Raises:
        SettingsError: it did not start.
    """
    people = MeshPeople(mesh)
    async with _started(lambda: EjabberdNode(settings, people, people.revoked)) as node:
        with one_line_errors():
            names = sorted(await node.running_nodes())
        yield names


@asynccontextmanager
async def device_broker(config: AgentConfig) -> AsyncIterator[DeviceBroker]:
    """Runs one device's own broker without its agent, which otherwise runs it itself: never both.

    Raises:
        SettingsError: it did not start, or the settings name no own broker.
    """
    async with own_broker(config) as broker:
        if broker is None:
            raise SettingsError('this device has no broker of its own: set mode = "own" in [broker]')
        yield broker


@asynccontextmanager
async def _started(make: Callable[[], AbstractAsyncContextManager[Running]]) -> AsyncIterator[Running]:
    """What goes wrong until it runs is one line; what goes wrong inside the block is the caller's."""
    async with AsyncExitStack() as stack:
        with one_line_errors():
            running = await stack.enter_async_context(make())
        yield running
