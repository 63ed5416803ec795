"""What is written as TOML reads back as the same, whatever people have put into their settings."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from edge_agent.config import (
    AgentConfig,
    BrokerSection,
    DeviceSection,
    EngineSection,
    InfluxSection,
    SeedSection,
    TelemetrySection,
    load_config,
    write_config,
)
from edge_agent.config.model import NONE_TEXT
from edge_agent.config.write import to_toml
from edge_agent.core.settings import AgentSettings
from provisioning.mesh_settings import MeshSettings, read_settings, settings_text

letters = st.characters(exclude_categories=["Cs", "Cc"])  # controls are refused, but where a person may say anything
free_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda text: text != NONE_TEXT)
texts = st.text(letters, max_size=40).filter(lambda text: text != NONE_TEXT)
paths = st.text(letters, max_size=40).map(lambda text: Path("/", text))
ids = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
broker_urls = st.from_regex(r"mqtts?://[^\s/@?#]+", fullmatch=True, alphabet=letters)
http_urls = st.from_regex(r"https?://[^\s@?#]+", fullmatch=True, alphabet=letters)
numbers = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
configs = st.builds(
    AgentConfig,
    device=st.builds(DeviceSection, id=ids, mesh=ids, data_dir=st.none() | paths),
    broker=st.builds(
        BrokerSection,
        urls=st.lists(broker_urls, min_size=1, max_size=3, unique=True).map(tuple),
        local_port=st.none() | st.integers(1, 65535),
        username=texts,
        password_file=paths,
        mdns=st.booleans(),
    ),
    engine=st.builds(
        EngineSection,
        kind=st.just("openai"),
        base_url=http_urls,
        model=texts.filter(bool),
        family=texts,
        api_key=st.none() | texts.map(SecretStr),
        aggregation_factor=numbers,
        instruction=free_texts,
    ),
    agent=st.builds(AgentSettings, layers=st.integers(0, 3), deadline_s=st.none() | st.floats(1, 1e6)),
    telemetry=st.builds(TelemetrySection, folder=paths),
    seeds=st.lists(st.builds(SeedSection, device_id=ids, home_broker=broker_urls), max_size=2).map(tuple),
    influx=st.lists(st.builds(InfluxSection, url=http_urls, org=texts, username=texts), max_size=2).map(tuple),
)


@given(configs)
@settings(max_examples=settings().max_examples // 2)  # each loads a file
def test_settings_with_strange_texts_load_as_the_same(tmp_path_factory: pytest.TempPathFactory, config: AgentConfig):
    path = tmp_path_factory.getbasetemp() / "strange" / "agent.toml"
    write_config(config, path)
    assert load_config(path) == config


def test_each_list_is_written_as_tables_that_can_be_edited():
    seeds = tuple(SeedSection(device_id=name, home_broker="mqtt://h:1") for name in ("a", "b"))
    text = to_toml(AgentConfig(device=DeviceSection(id="x"), seeds=seeds))
    assert text == (
        '[device]\nid = "x"\n\n'
        '[[seeds]]\ndevice_id = "a"\nhome_broker = "mqtt://h:1"\n\n'
        '[[seeds]]\ndevice_id = "b"\nhome_broker = "mqtt://h:1"\n'
    )


@given(
    st.builds(
        MeshSettings,
        name=ids,
        brokers=st.lists(free_texts, min_size=1, max_size=3).map(tuple),
        claim_broker=free_texts,
        layers=st.none() | st.integers(0, 9),
        fanout=st.none() | st.integers(0, 9),
        app_url=free_texts,
        web_brokers=st.lists(texts, max_size=3).map(tuple),
        own_brokers=st.dictionaries(ids, free_texts, max_size=3),
    )
)
def test_a_mesh_with_strange_addresses_reads_as_the_same(mesh: MeshSettings):
    assert read_settings(tomllib.loads(settings_text(mesh))) == mesh
