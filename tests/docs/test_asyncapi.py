"""docs/asyncapi.yaml is what the code says, and what AsyncAPI's own tools take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_agent.adapters.home_assistant import DeviceCard, discovery_message
from edge_agent.wire import codec, topics
from edge_agent.wire.topics import TABLE, Channel
from provisioning import jobs, signed
from provisioning import messages as certificates
from scripts.docs import node
from scripts.docs.__main__ import main
from scripts.docs.asyncapi import PAGE
from tests.docs.asyncapi_document import document, operations, problems, validator

# What the parser may say, and why we leave it so.
EXPLAINED = {"asyncapi-latest-version": "3.0 is what generators and editors read today; 3.1 adds nothing used here"}
ERROR = 0


def examples() -> list[Any]:
    messages = document()["components"]["messages"]
    return [
        pytest.param(channel, example["payload"], id=f"{channel}-{name}")
        for channel in Channel
        for name in document()["channels"][channel]["messages"]
        for example in messages[name]["examples"]
    ]


def test_the_document_is_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["scripts.docs", "asyncapi", "--check"])
    assert main() == 0, "run: python -m scripts.docs asyncapi"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What the parser says of the document, and of one with a mistake in it."""
    broken = tmp_path_factory.mktemp("asyncapi") / "broken.yaml"
    broken.write_text(PAGE.read_text(encoding="utf-8").replace("action: receive", "action: read", 1), encoding="utf-8")
    return node.parse_asyncapi(PAGE, broken)


def test_the_asyncapi_parser_has_nothing_against_it_that_is_not_explained(said: list[Any]) -> None:
    assert said[0]["version"] == "3.0.0"
    diagnostics = said[0]["diagnostics"]
    assert [one for one in diagnostics if one["code"] not in EXPLAINED or one["severity"] == ERROR] == []


def test_the_parser_would_have_found_a_mistake(said: list[Any]) -> None:
    assert any(one["severity"] == ERROR for one in said[1]["diagnostics"])


@pytest.mark.parametrize(("channel", "payload"), examples())
def test_every_example_is_valid_and_read_by_the_codec_of_its_channel(channel: Channel, payload: Any) -> None:
    assert problems(channel, payload) == []
    body = json.dumps(payload).encode()
    if channel is Channel.PROMPTS:
        assert codec.decode_prompt(body).message
    elif channel is Channel.JOBS:
        assert payload["type"] == signed.TYPE
        assert jobs.decode_job(payload["payload"]).device_id == "kitchen"
    elif channel is Channel.JOB_REPORTS:
        assert jobs.decode_report(body.decode()).device_id == "kitchen"
    elif TABLE[channel].types:
        assert codec.decode(body, TABLE[channel].types)
    else:
        assert certificates.decode(body, channel)


@pytest.mark.parametrize("channel", list(Channel))
def test_every_channel_is_there_with_its_topic_quality_and_empty_binding(channel: Channel) -> None:
    told = document()["channels"][channel]
    ids = {name: name for name in told["parameters"]}
    assert topics.parse(told["address"].format(**ids)) is not None
    assert told["bindings"] == {"mqtt": {}}
    row = TABLE[channel]
    for operation in operations(channel):
        assert operation["bindings"]["mqtt"]["qos"] == row.qos
        if operation["action"] == "send":
            assert operation["bindings"]["mqtt"]["retain"] is row.retain
    assert operations(channel)


def test_a_device_sends_and_receives_just_what_the_topic_table_lets_it() -> None:
    told = {(one["action"], one["channel"]["$ref"].rpartition("/")[2]) for one in document()["operations"].values()}
    own = {"presence", "answers", "status", "claims", "renewals", "job-reports"}
    inbox = {"prompts", "certificates", "jobs"}
    both = {"proposals", "replies", "gossip", "revocations"}
    assert told == {
        *(("send", channel) for channel in own | both),
        *(("receive", channel) for channel in inbox | both | {"presence"}),
        ("send", "home-assistant-config"),
        ("receive", "home-assistant-status"),
    }


def test_what_a_device_announces_to_home_assistant_is_as_the_document_says() -> None:
    card = DeviceCard("home", "kitchen", "tiny", True, "1.0", 2.0)
    assert list(validator("home-assistant-device").iter_errors(json.loads(discovery_message(card)))) == []
    told = document()["channels"]["home-assistant-config"]["address"]
    assert told.format(mesh="home", device="kitchen") == topics.discovery_config("home", "kitchen")


def test_a_prompt_names_its_response_topic_and_its_answers() -> None:
    binding = document()["components"]["messages"]["prompt"]["bindings"]["mqtt"]
    assert binding["bindingVersion"] == "0.2.0"
    assert "/answers/" in binding["responseTopic"]["pattern"]
    reply = document()["operations"]["receivePrompts"]["reply"]
    assert reply["channel"] == {"$ref": "#/channels/answers"}
    assert {one["$ref"].rpartition("/")[2] for one in reply["messages"]} == set(
        document()["channels"]["answers"]["messages"]
    )
