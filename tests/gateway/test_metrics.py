"""The figures for Prometheus, read as Prometheus reads them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.programs import Gateway, eventually

pytestmark = pytest.mark.broker


def figures(gateway: Gateway) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = gateway.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_requests_are_counted_by_path_and_status_and_timed(gateway: Gateway) -> None:
    answered = key("moamesh_gateway_requests_total", path="/v1/chat/completions", status="200")
    refused = key("moamesh_gateway_requests_total", path="/v1/chat/completions", status="404")
    other = key("moamesh_gateway_requests_total", path="other", status="404")
    timed = key("moamesh_gateway_request_seconds_count", path="/v1/chat/completions")
    before = figures(gateway)
    gateway.ask()
    gateway.ask(stream=True)
    gateway.ask(model="none")
    gateway.get("/a-path-of-the-clients-own-choice")
    after = figures(gateway)
    assert after[answered] == before.get(answered, 0) + 2
    assert after[refused] == before.get(refused, 0) + 1
    assert after[other] == before.get(other, 0) + 1
    assert after[timed] == before.get(timed, 0) + 3
    assert after[key("moamesh_gateway_in_flight")] == 1  # this very look
    assert not any("choice" in value for _, labels in after for _, value in labels)


def test_prompts_and_tokens_are_counted(gateway: Gateway) -> None:
    def count(name: str, **labels: str) -> float:
        return figures(gateway).get(key(name, **labels), 0.0)

    prompts = count("moamesh_gateway_prompts_total", outcome="answered")
    tokens = count("moamesh_gateway_mesh_tokens_total", direction="output")
    made = gateway.ask(model="moa-m1-k2").json()["moamesh"]["mesh_usage"]
    assert count("moamesh_gateway_prompts_total", outcome="answered") == prompts + 1
    assert count("moamesh_gateway_mesh_tokens_total", direction="output") == tokens + made["output_tokens"]


def test_the_mesh_is_shown_as_its_devices_tell_it(gateway: Gateway) -> None:
    now = figures(gateway)
    assert now[key("moamesh_gateway_broker_connected")] == 1
    assert key("moamesh_gateway_messages_dropped_total") in now
    for device in ("device-1", "device-2", "device-3"):
        assert now[key("moamesh_device_online", device=device)] == 1
        assert key("moamesh_device_stability_margin", device=device) in now
        assert now[key("moamesh_device_able", device=device)] == 1
        assert (
            key("moamesh_device_bad_input_total", device=device) in now
        )  # other tests of this mesh may have sent some
    accepted = key("moamesh_device_accepted_total", device="device-2")
    before = now[accepted]
    gateway.ask(moamesh={"device": "device-2"})
    eventually(lambda: figures(gateway)[accepted] > before, "the device's next status tells of it")
