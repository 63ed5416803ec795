"""What this device keeps announced to Home Assistant, and what it takes back because it no longer should be."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge_agent import __version__
from edge_agent.adapters.home_assistant import BIRTH, Announced, DeviceCard, discovery_message
from edge_agent.adapters.mqtt import Announcement
from edge_agent.config import AgentConfig
from edge_agent.core.errors import SettingsError
from edge_agent.files import reason
from edge_agent.ports import ModelCard
from edge_agent.wire.topics import discovery_birth, discovery_config

_log = logging.getLogger(__name__)


def announcements(config: AgentConfig, model: ModelCard) -> tuple[Announcement, ...]:
    """Returns the announcements that the transport is to keep up.

    A device that has announced itself, and is no longer to do so or under another prefix, takes it back: Home
    Assistant then forgets its sensors. It tries at every connect until a broker has taken that.

    Raises:
        SettingsError: it is to be announced where Home Assistant could not read it.
    """
    wanted = config.home_assistant
    announced = Announced(config.data_dir)
    topic = discovery_config(config.device.mesh, config.device.id, wanted.prefix) if wanted.discovery else ""
    announcements = [
        Announcement(old, b"", on_delivered=_forgets(announced, old)) for old in announced.topics() if old != topic
    ]
    if not topic:
        return tuple(announcements)
    if config.broker.mode == "own":
        raise SettingsError(
            "[home_assistant] discovery: Home Assistant reads one broker, and this device has one of its own; "
            'give the mesh a shared broker ([broker] mode = "shared"), or set discovery = false'
        )
    try:
        announced.add(topic)
    except OSError as error:  # what is not noted could never be taken back
        why = f"{error.filename or config.data_dir}: {reason(error)}"
        _log.error(
            "not announced to Home Assistant, because this cannot be recorded: %s; trying again at the next start", why
        )
        return tuple(announcements)
    card = DeviceCard(
        mesh=config.device.mesh,
        device_id=config.device.id,
        model=model.name,
        synthetic=model.synthetic,
        version=__version__,
        status_interval_s=config.agent.status_interval_s,
    )
    return (*announcements, Announcement(topic, discovery_message(card), discovery_birth(wanted.prefix), BIRTH))


def _forgets(announced: Announced, topic: str) -> Callable[[], None]:
    def forget() -> None:
        try:
            announced.remove(topic)
        except OSError as error:  # it is taken back once more after the next start, which is harmless
            _log.warning("cannot record that %s was withdrawn: %s", topic, error)

    return forget
