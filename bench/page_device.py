"""A device that notes when each piece of an answer leaves llama.cpp: `python -m bench.page_device --config FILE ...`.

An ordinary device but for its engine's wrapper. After each streamed inference it writes one JSON line to `--stamps`:
the milliseconds since 1970 of each piece, and the letters of the answer so far. At the same moments it publishes each
piece bare, by a client of its own, to `--echo-topic`: the peer that the app is compared with.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt

from edge_agent.config import load_config
from edge_agent.core.effects import StartInference
from edge_agent.management.run import run_device
from edge_agent.ports import Engine, InferenceResult, ModelCard
from edge_agent.runtime import assemble


class StampedEngine:
    """An engine whose streamed pieces are noted as they leave it."""

    def __init__(self, engine: Engine, stamps: Path, publish: Callable[[str], None]) -> None:
        self._engine = engine
        self._stamps = stamps
        self._publish = publish

    @property
    def card(self) -> ModelCard:
        """The engine's own."""
        return self._engine.card

    @property
    def slots(self) -> int:
        """The engine's own."""
        return self._engine.slots

    def watch(self, on_health: Callable[[str], None]) -> None:
        """As the engine's own."""
        self._engine.watch(on_health)

    async def start(self) -> None:
        """As the engine's own."""
        await self._engine.start()

    async def stop(self) -> None:
        """As the engine's own."""
        await self._engine.stop()

    async def infer(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        """As the engine's own, noting each piece before it is handed on."""
        if not request.stream or on_text is None:
            return await self._engine.infer(request, on_text)
        notes: list[tuple[float, int]] = []
        letters = 0

        def stamped(text: str) -> None:
            nonlocal letters
            at_ms = time.time() * 1e3
            letters += sum(character.isascii() and character.isalpha() for character in text)
            notes.append((at_ms, letters))
            on_text(text)
            self._publish(json.dumps({"start": len(notes) == 1, "text": text}))

        result = await self._engine.infer(request, stamped)
        with self._stamps.open("a", encoding="utf-8") as file:
            file.write(json.dumps(notes) + "\n")
        return result


def bare_publisher(url: str, topic: str) -> Callable[[str], None]:
    """Returns what publishes a body at QoS 1 over a connection of its own."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_socket_open = lambda _client, _data, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    address = urlsplit(url)
    client.connect(address.hostname or "", address.port or 1883)
    client.loop_start()
    return lambda body: client.publish(topic, body, qos=1)  # type: ignore[func-returns-value]  # nobody waits for it


def main() -> None:
    """Runs the device until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--stamps", type=Path, required=True)
    parser.add_argument("--echo-topic", required=True)
    arguments = parser.parse_args()
    publish = bare_publisher(load_config(arguments.config, {}).broker.urls[0], arguments.echo_topic)
    make_engine = assemble.make_engine
    assemble.make_engine = lambda section, device_id: StampedEngine(
        make_engine(section, device_id), arguments.stamps, publish
    )
    run_device(arguments.config, {})


if __name__ == "__main__":
    main()
