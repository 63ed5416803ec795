"""What a revoked device left at a broker: retained messages, which stay for ever unless somebody takes them back.

It is shut out and can't. So the operator may write its presence and its status, and its announcement to Home Assistant,
in order to clear them: a retained message without a body removes the one before.
"""

from __future__ import annotations

import asyncio

from edge_agent.wire.topics import Channel, build, discovery_config
from provisioning.link import Connect, Link, LinkError

QUIET_S = 3.0  # a broker of ours cuts a revoked session within a second; its last will is then retained anew
REACH_S = 2.0  # how long a broker that refuses may be one that is just restarting
GIVE_UP_S = 60.0  # a broker that takes a new revocation list restarts meanwhile; one that is not there is no wait
ROUNDS_MAX = 3  # what is there again after so many was not a last will on its way
VERIFY_S = 1.0  # what a broker retains comes at once after a subscription
PAUSE_S = 0.3
_READ = (Channel.PRESENCE, Channel.STATUS)
"""What the operator may read, and so see whether it is gone."""


def trace_topics(mesh: str, device_id: str, *, home_assistant: bool) -> tuple[str, ...]:
    """Returns where a device's retained messages may stand. `home_assistant`: whether devices may announce there."""
    seen = tuple(build(mesh, device_id, channel) for channel in _READ)
    return (*seen, discovery_config(mesh, device_id)) if home_assistant else seen


async def clear(link: Link, mesh: str, device_id: str, *, home_assistant: bool) -> None:
    """Takes back what a device left, once.

    Raises:
        LinkError: the connection broke.
    """
    for topic in trace_topics(mesh, device_id, home_assistant=home_assistant):
        await link.publish(topic, b"", retain=True)


async def clear_for_good(mesh: str, device_id: str, connect: Connect, *, home_assistant: bool) -> None:
    """Takes back what a device left at one broker, and again what comes while its session is being cut.

    Raises:
        LinkError: nothing could be cleared, or something stays. One line.
    """
    loop = asyncio.get_running_loop()
    rounds, begun = 0, loop.time()
    try:
        async with asyncio.timeout(GIVE_UP_S):
            while rounds < ROUNDS_MAX:
                try:
                    async with connect() as link:
                        rounds += 1
                        await _until_quiet(link, mesh, device_id, home_assistant=home_assistant)
                    async with connect() as link:
                        left = await _left(link, mesh, device_id)
                    if not left:
                        return
                except LinkError:  # a broker that takes a new revocation list restarts
                    if not rounds and loop.time() >= begun + REACH_S:
                        raise
                    await asyncio.sleep(PAUSE_S)
    except TimeoutError:
        raise LinkError("the broker was not reached in time") from None
    raise LinkError(
        "it is still there: the broker's rules do not let the operator clear it, or the device can still connect"
    )


async def _until_quiet(link: Link, mesh: str, device_id: str, *, home_assistant: bool) -> None:
    loop = asyncio.get_running_loop()
    for channel in _READ:
        await link.subscribe(build(mesh, device_id, channel))
    await clear(link, mesh, device_id, home_assistant=home_assistant)
    try:
        async with asyncio.timeout(QUIET_S) as quiet:
            while True:
                received = await link.receive()
                if received.body and not received.retained:  # its last will, or a status on the way
                    await clear(link, mesh, device_id, home_assistant=home_assistant)
                    quiet.reschedule(loop.time() + QUIET_S)
    except TimeoutError:
        return


async def _left(link: Link, mesh: str, device_id: str) -> bool:
    """Whether the broker keeps anything of the device that the operator can see."""
    for channel in _READ:
        await link.subscribe(build(mesh, device_id, channel))
    try:
        async with asyncio.timeout(VERIFY_S):
            while True:
                received = await link.receive()
                if received.body and received.retained:
                    return True
    except TimeoutError:
        return False
