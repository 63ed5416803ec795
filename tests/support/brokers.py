"""Real brokers on free loopback ports. A folder's conftest imports the fixtures it uses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker.embedded import EmbeddedBroker


@pytest.fixture
async def mosquitto() -> AsyncIterator[EmbeddedBroker]:
    """A mosquitto of this test alone."""
    async with EmbeddedBroker(kind="mosquitto") as broker:
        yield broker


@pytest.fixture(params=["mosquitto", "iotcore"])
async def any_broker(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedBroker]:
    """Each kind of embedded broker in turn."""
    async with EmbeddedBroker(kind=request.param) as broker:
        yield broker
