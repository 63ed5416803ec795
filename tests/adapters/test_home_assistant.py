"""Home Assistant: the announcement against its documentation, and real devices on a real, secured broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from broker.access import People
from broker.mosquitto import MosquittoBroker
from broker.probe_client import Credentials
from edge_agent.adapters.home_assistant import ANNOUNCED_FILE, Announced, DeviceCard, discovery_message
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.config.surfaces import HomeAssistantSection
from edge_agent.core.errors import SettingsError
from edge_agent.core.health import Part, Problem
from edge_agent.core.messages import Presence, PresenceState
from edge_agent.core.settings import AgentSettings
from edge_agent.fleet.device_process import DeviceProcess
from edge_agent.mqtt import TlsFiles, open_client
from edge_agent.ports import ModelCard
from edge_agent.runtime.announcing import announcements
from edge_agent.wire.codec import encode
from edge_agent.wire.topics import Channel, build, discovery_birth, discovery_config, discovery_filter, topic_filter
from tests.client.samples import presence, status
from tests.support.home_assistant import Entities, problems
from tests.support.polling import until
from tests.support.secured import HOST, SecuredMesh

CARD = DeviceCard("home", "kitchen", "smollm2", synthetic=False, version="1.2", status_interval_s=5.0)
TOPIC = discovery_config("home", "kitchen")


def told(device_id: str = "kitchen", state: PresenceState = PresenceState.ONLINE) -> Presence:
    return presence(device_id, state)


# --- the announcement -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("card", [CARD, replace(CARD, synthetic=True), replace(CARD, status_interval_s=None)])
def test_the_announcement_is_as_home_assistants_documentation_wants_it(card: DeviceCard) -> None:
    body = discovery_message(card)
    assert problems(TOPIC, body) == []
    assert len(body) < 16 * 1024


@pytest.mark.parametrize(
    ("breach", "says"),
    [
        ({"dev": {"name": "kitchen"}}, "the device has no identifiers"),
        ({"o": {}}, "the origin has no name"),
        ({"cmps": {}}, "no components"),
        ({"colour": 1}, "unknown at the top"),
        ({"cmps": {"a": {"p": "lamp", "uniq_id": "1", "stat_t": "t"}}}, "platform 'lamp'"),
        ({"cmps": {"a": {"p": "sensor", "stat_t": "t"}}}, "no unique_id"),
        ({"cmps": {"a": {"p": "sensor", "uniq_id": "1", "stat_t": "t/#"}}}, "no state_topic"),
        ({"cmps": {n: {"p": "sensor", "uniq_id": "1", "stat_t": "t"} for n in "ab"}}, "two components have one"),
        (
            {"cmps": {"a": {"p": "sensor", "uniq_id": "1", "stat_t": "t", "dev_cla": "duration", "unit_of_meas": "m"}}},
            "unit 'm' of a duration",
        ),
        ({"cmps": {"a": {"p": "sensor", "uniq_id": "1", "stat_t": "t", "dev_cla": "enum"}}}, "enum and options"),
        (
            {"cmps": {"a": {"p": "binary_sensor", "uniq_id": "1", "stat_t": "t", "stat_cla": "total"}}},
            "unknown options",
        ),
    ],
)
def test_the_check_itself_finds_what_is_wrong(breach: dict[str, object], says: str) -> None:
    body = json.dumps(json.loads(discovery_message(CARD)) | breach).encode()
    assert any(says in problem for problem in problems(TOPIC, body)), problems(TOPIC, body)


def test_sensors_show_what_the_device_tells_and_nothing_while_it_is_gone() -> None:
    seen = Entities()
    seen.take(TOPIC, discovery_message(CARD))
    assert set(seen.states(TOPIC).values()) == {"unknown", "unavailable"}
    seen.take(build("home", "kitchen", Channel.PRESENCE), encode(told()))
    seen.take(build("home", "kitchen", Channel.STATUS), encode(status("kitchen", waiting=3)))
    assert seen.states(TOPIC) == {
        "state": "online",
        "waiting": "3",
        "running": "1",
        "utilisation": "75.0",
        "margin": "20.0",
        "service_time": "1.5",
        "sessions": "1",
        "accepted": "7",
        "completed": "5",
        "rejected": "1",
        "failed": "0",
        "unable": "off",
        "trouble": "none",
        "expired": "0",
        "overloaded": "off",
    }
    unstable = replace(status("kitchen"), stability_margin=-0.1, service_time_s_mean=0.0)
    seen.take(build("home", "kitchen", Channel.STATUS), encode(unstable))
    assert seen.states(TOPIC)["overloaded"] == "on"
    assert seen.states(TOPIC)["service_time"] == "unknown"
    sick = replace(status("kitchen"), able=False, problems=(Problem(Part.ENGINE, "the model file is gone"),))
    seen.take(build("home", "kitchen", Channel.STATUS), encode(sick))
    assert seen.states(TOPIC)["unable"] == "on"
    assert seen.states(TOPIC)["trouble"] == "the model file is gone"
    for state in (PresenceState.STOPPED, PresenceState.OFFLINE):
        seen.take(build("home", "kitchen", Channel.PRESENCE), encode(told(state=state)))
        assert seen.states(TOPIC) == dict.fromkeys(seen.states(TOPIC), "unavailable") | {"state": state.value}


def test_a_synthetic_engine_says_so_and_devices_of_two_meshes_are_two() -> None:
    device = json.loads(discovery_message(replace(CARD, synthetic=True)))["dev"]
    assert device["mdl"] == "smollm2 (synthetic, no language model)"
    ids = {json.loads(discovery_message(replace(CARD, mesh=mesh)))["dev"]["ids"][0] for mesh in ("home", "work")}
    assert len(ids) == 2
    assert discovery_config("home", "kitchen") != discovery_config("work", "kitchen")


# --- what is remembered ---------------------------------------------------------------------------------------------


def config(folder: Path, **home_assistant: object) -> AgentConfig:
    return AgentConfig(
        device=DeviceSection(id="kitchen", mesh="home", data_dir=folder),
        engine=EngineSection(kind="synthetic", service="deterministic:0.05"),
        home_assistant=HomeAssistantSection.model_validate(home_assistant),
    )


def test_nothing_is_announced_and_no_file_is_made_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert announcements(config(tmp_path), ModelCard("m", "f", synthetic=True)) == ()
    assert not (tmp_path / ANNOUNCED_FILE).exists()


def test_what_was_announced_is_taken_back_when_switched_off_and_when_the_prefix_changes(tmp_path: Path) -> None:
    model = ModelCard("m", "f", synthetic=True)
    (first,) = announcements(config(tmp_path, discovery=True), model)
    assert (first.topic, first.wanted_on) == (TOPIC, discovery_birth())
    assert announcements(config(tmp_path, discovery=True), model) == (first,)
    gone, second = announcements(config(tmp_path, discovery=True, prefix="ha"), model)
    assert (gone.topic, gone.body) == (TOPIC, b"")
    assert second.topic == discovery_config("home", "kitchen", "ha")
    assert [one.topic for one in announcements(config(tmp_path), model)] == [TOPIC, second.topic]
    for one in announcements(config(tmp_path), model):
        assert one.body == b""
        assert one.on_delivered is not None
        one.on_delivered()
    assert announcements(config(tmp_path), model) == ()
    assert not (tmp_path / ANNOUNCED_FILE).exists()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"topics": 3}', b"\xff", b'{"topics": [' + b"1," * 70_000])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ANNOUNCED_FILE).write_bytes(content)
    assert Announced(tmp_path).topics() == ()
    Announced(tmp_path).add("a/b")
    assert Announced(tmp_path).topics() == ("a/b",)


def test_a_device_with_a_broker_of_its_own_says_why_it_cannot_be_announced(tmp_path: Path) -> None:
    own = config(tmp_path, discovery=True).model_copy(update={"broker": BrokerSection.model_construct(mode="own")})
    with pytest.raises(SettingsError, match=r"Home Assistant reads one broker(.*)discovery = false"):
        announcements(own, ModelCard("m", "f", synthetic=False))


# --- real devices on a secured broker -------------------------------------------------------------------------------


class Follower:
    """Home Assistant's own connection, with everything it reads."""

    def __init__(self) -> None:
        self.entities = Entities()
        self.got: list[tuple[str, bytes, bool]] = []

    async def read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            self.got.append((str(message.topic), message.payload, bool(message.retain)))
            self.entities.take(str(message.topic), message.payload)


@contextlib.asynccontextmanager
async def reading(client: aiomqtt.Client, *filters: str) -> AsyncIterator[Follower]:
    follower = Follower()
    for one in filters:
        await client.subscribe(one, qos=1)
    task = asyncio.create_task(follower.read(client))
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def mesh(tmp_path: Path) -> SecuredMesh:
    return SecuredMesh(tmp_path)


def files_of(mesh: SecuredMesh, credentials: Credentials) -> TlsFiles:
    return TlsFiles(str(mesh.ca), str(credentials.certificate), str(credentials.key), str(mesh.crl))


def write_device(mesh: SecuredMesh, folder: Path, port: int, *, discovery: bool) -> DeviceProcess:
    credentials = mesh.device("kitchen")
    written = AgentConfig(
        device=DeviceSection(id="kitchen", mesh=mesh.name, data_dir=folder / "data"),
        broker=BrokerSection(
            urls=(f"mqtts://{HOST}:{port}",),
            ca_file=mesh.ca,
            crl_file=mesh.crl,
            cert_file=credentials.certificate,
            key_file=credentials.key,
        ),
        engine=EngineSection(kind="synthetic", service="deterministic:0.05"),
        agent=AgentSettings(status_interval_s=0.3),
        home_assistant=HomeAssistantSection(discovery=discovery),
    )
    write_config(written, folder / "agent.toml")
    return DeviceProcess("kitchen", folder / "agent.toml", folder / "agent.log")


@pytest.mark.broker
async def test_home_assistant_shows_a_real_device_by_itself_and_forgets_it_when_it_is_switched_off(
    mesh: SecuredMesh, tmp_path: Path
) -> None:
    user = mesh.user("home-assistant")
    files = mesh.broker_files(tmp_path / "broker")
    listeners = files.config.listeners
    async with MosquittoBroker(files, lambda: mesh.people):
        client = open_client(
            f"mqtts://{HOST}:{listeners.passwords}",
            client_id="ha",
            username=user.username,
            password=user.password,
            tls=TlsFiles(str(mesh.ca)),
        )
        figures = [topic_filter("home", "+", channel) for channel in (Channel.PRESENCE, Channel.STATUS)]
        async with client, reading(client, discovery_filter(), *figures) as seen:
            device = write_device(mesh, tmp_path, listeners.devices, discovery=True)
            await device.start()
            try:
                await until(lambda: seen.entities.states(TOPIC).get("waiting") == "0", "the device with its figures")
                assert seen.entities.states(TOPIC)["state"] == "online"
                assert seen.entities.states(TOPIC)["overloaded"] == "off"
                (body,) = [body for topic, body, _ in seen.got if topic == TOPIC]
                assert problems(TOPIC, body) == []
                await device.kill()
                await until(lambda: seen.entities.states(TOPIC)["state"] == "offline", "the last will")
                assert seen.entities.states(TOPIC)["waiting"] == "unavailable"
                await device.wait()
                await device.start()
                await until(lambda: seen.entities.states(TOPIC)["state"] == "online", "its return")
                await device.stop()
                await until(lambda: seen.entities.states(TOPIC)["state"] == "stopped", "its farewell")

                device = write_device(mesh, tmp_path, listeners.devices, discovery=False)
                await device.start()
                await until(lambda: TOPIC not in seen.entities.configs, "taken back")
                await until(lambda: not (tmp_path / "data" / ANNOUNCED_FILE).exists(), "and forgotten")
            finally:
                await device.stop()
    assert "refused a message" not in (tmp_path / "agent.log").read_text()


@pytest.mark.broker
async def test_a_device_announces_itself_and_nobody_else_and_only_in_a_mesh_that_opted_in(
    mesh: SecuredMesh, tmp_path: Path
) -> None:
    user, alice = mesh.user("home-assistant"), mesh.user("alice")
    garage = mesh.device("garage")
    files = mesh.broker_files(tmp_path / "broker")
    listeners = files.config.listeners
    ca = TlsFiles(str(mesh.ca))
    people_url, devices_url = (f"mqtts://{HOST}:{port}" for port in (listeners.passwords, listeners.devices))
    everybody = mesh.people

    async def try_all(say: bytes) -> None:
        """The garage and alice announce whom they like, and say that Home Assistant has started."""
        async with (
            open_client(devices_url, client_id="garage", tls=files_of(mesh, garage)) as device,
            open_client(people_url, client_id="a", username=alice.username, password=alice.password, tls=ca) as person,
        ):
            for one in (person, device):
                for topic in (TOPIC, discovery_birth(), discovery_config("home", "garage")):
                    await one.publish(topic, say, 1)

    async with MosquittoBroker(files, lambda: mesh.people) as broker:
        ha = open_client(people_url, client_id="ha", username=user.username, password=user.password, tls=ca)
        async with ha, reading(ha, discovery_filter()) as seen:
            await try_all(b'{"it": "opted in"}')
            await ha.publish(discovery_birth(), b"online", 1)
            await until(
                lambda: (discovery_birth(), b"online", False) in seen.got, f"Home Assistant's own birth: {seen.got}"
            )
            assert seen.got == [
                (discovery_config("home", "garage"), b'{"it": "opted in"}', False),
                (discovery_birth(), b"online", False),
            ]
        async with (
            open_client(devices_url, client_id="garage", tls=files_of(mesh, garage)) as device,
            reading(device, discovery_filter(), discovery_birth()) as heard,
            open_client(people_url, client_id="b", username=user.username, password=user.password, tls=ca) as ha,
        ):
            await ha.publish(discovery_config("home", "kitchen"), b'{"it": "of another"}', 1)
            await ha.publish(discovery_birth(), b"online", 1)
            await until(lambda: bool(heard.got), "the birth at a device")
            assert {topic for topic, _, _ in heard.got} == {discovery_birth()}

        before = broker.revision
        mesh.people = People(tuple(one for one in everybody.users if one.name != "home-assistant"))
        await until(lambda: broker.revision > before, "the broker took it over")
        async with (
            open_client(devices_url, client_id="o", tls=files_of(mesh, garage)) as device,
            reading(device, discovery_filter()) as heard,
        ):
            await try_all(b'{"it": "opted out"}')
            await device.publish(build("home", "garage", Channel.PRESENCE), b"{}", 1, retain=True)
            await device.subscribe(topic_filter("home", "+", Channel.PRESENCE), qos=1)
            await until(lambda: bool(heard.got), "something after it")
            assert b'{"it": "opted out"}' not in [body for _, body, _ in heard.got]


def test_the_operator_cannot_announce_itself_as_a_device(mesh: SecuredMesh, tmp_path: Path) -> None:
    mesh.user("home-assistant")
    mesh.broker_files(tmp_path / "broker").write(mesh.people)
    rules = (tmp_path / "broker" / "devices.acl").read_text()
    assert f"topic deny {discovery_config('home', 'operator')}" in rules
    mesh.people = People()
    mesh.broker_files(tmp_path / "other").write(mesh.people)
    assert "homeassistant" not in (tmp_path / "other" / "devices.acl").read_text()
