"""What the doctor says of a device's broker: let in or not and why, what it leaves out, what lies in an inbox."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge_agent.config import load_config
from edge_agent.doctor.findings import Check, Finding
from edge_agent.doctor.home_broker import broker_checks
from edge_agent.wire import topics
from edge_agent.wire.topics import Channel
from tests.adapters.mqtt_devices import user
from tests.support.brokers import MosquittoWith, SayingBroker, connack
from tests.support.ports import free_ports

pytestmark = pytest.mark.broker


def settings(folder: Path, url: str) -> Path:
    file = folder / "agent.toml"
    file.write_text(f'[device]\nid = "kitchen"\ndata_dir = "{folder}/data"\n[broker]\nurls = ["{url}"]\n')
    return file


async def checks(folder: Path, url: str) -> list[Check]:
    return await asyncio.to_thread(broker_checks, load_config(settings(folder, url)))


OPEN = "lets everybody in, without a name"


def words(found: list[Check], finding: Finding) -> str:
    """All that was found of this kind, but for what is true of every open broker here."""
    return "\n".join(check.detail for check in found if check.finding is finding and OPEN not in check.detail)


async def test_a_broker_that_lets_everybody_in_is_said_to_once(tmp_path: Path) -> None:
    async with MosquittoWith(tmp_path) as broker:
        found = [check for check in await checks(tmp_path, f'{broker.url}", "{broker.url}') if OPEN in check.detail]
        assert [check.finding for check in found] == [Finding.NOTE]
    async with MosquittoWith(tmp_path, "allow_anonymous false") as strict:
        assert not [check for check in await checks(tmp_path, strict.url) if OPEN in check.detail]


@pytest.mark.parametrize(
    ("setting", "note"),
    [
        ("", ""),
        ("retain_available false", "keeps no retained messages"),
        ("max_qos 0", "takes QoS 0 only"),
        ("max_packet_size 65536", "takes packets of at most 65,536 bytes"),
        ("max_keepalive 10", "asks for a keep-alive every 10 s"),
    ],
)
async def test_what_a_broker_leaves_out_is_noted(setting: str, note: str, tmp_path: Path) -> None:
    async with MosquittoWith(tmp_path, setting) as broker:
        found = await checks(tmp_path, broker.url)
        assert words(found, Finding.OK) == f"{broker.url} lets kitchen in"
        assert not words(found, Finding.MISSING)
        assert (note in words(found, Finding.NOTE)) if note else not words(found, Finding.NOTE)


async def test_a_refusal_is_told_with_the_reason_and_the_way_out(tmp_path: Path) -> None:
    async with MosquittoWith(tmp_path, "allow_anonymous false") as broker:
        found = words(await checks(tmp_path, broker.url), Finding.MISSING)
        assert "not authorized (reason 135): check the user name and password" in found
    away = words(await checks(tmp_path, f"mqtt://127.0.0.1:{free_ports(1)[0]}"), Finding.MISSING)
    assert "nothing listens there" in away
    async with SayingBroker(connack(151)) as full:
        assert "quota exceeded (reason 151)" in words(await checks(tmp_path, full.url), Finding.MISSING)
    async with SayingBroker(connack(0), then=bytes([0x90, 8, 0, 1, 0, 135, 1, 1, 1, 1]), hang_up=False) as strict:
        refused = words(await checks(tmp_path, strict.url), Finding.MISSING)
        assert "kitchen/prompts/+ may not be read: not authorized (reason 135)" in refused


async def test_a_retained_message_in_an_inbox_is_found_with_the_command_that_clears_it(tmp_path: Path) -> None:
    prompts = topics.build("home", "kitchen", Channel.PROMPTS, "me")
    async with MosquittoWith(tmp_path) as broker, user(broker.url) as asker:
        await asker.publish(prompts, b"{}", retain=True)
        (check,) = [
            one for one in await checks(tmp_path, broker.url) if one.finding is Finding.NOTE and OPEN not in one.detail
        ]
        assert "a retained message lies in" in check.detail
        assert check.mend == f"mosquitto_pub -r -n -t {prompts}"
