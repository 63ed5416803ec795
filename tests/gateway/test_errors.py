"""Every way in which a request is not answered, over HTTP: its status, and OpenAI's shape of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.programs import Gateway, Mesh, eventually, gateway_of
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker


def error_of(response: httpx.Response, status: int, code: str | None) -> dict[str, Any]:
    """The error, after a look at its shape."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert "\n" not in error["message"]
    return error


def post(gateway: Gateway, content: bytes, **headers: str) -> httpx.Response:
    headers = {"content-type": "application/json", **headers}
    return httpx.post(f"{gateway.api}/chat/completions", content=content, headers=headers, timeout=PATIENCE_S)


def test_what_is_no_json_is_said(gateway: Gateway) -> None:
    error_of(post(gateway, b"{"), 400, "invalid_json")
    error_of(post(gateway, b"\xff\xfe"), 400, "invalid_json")
    error_of(post(gateway, b"[1]"), 400, "invalid_value")
    error_of(post(gateway, b""), 400, "invalid_value")


def test_fields_of_the_wrong_kind_are_named(gateway: Gateway) -> None:
    assert error_of(gateway.ask(messages="hi"), 400, "invalid_value")["param"] == "messages"
    assert error_of(gateway.ask(messages=[]), 400, "invalid_value")["param"] == "messages"
    assert error_of(gateway.ask(temperature=3), 400, "invalid_value")["param"] == "temperature"
    assert error_of(gateway.ask(max_tokens=0), 400, "invalid_value")["param"] == "max_tokens"
    assert error_of(gateway.ask(moamesh={"layer": 2}), 400, "invalid_value")["param"] == "moamesh.layer"
    assert error_of(gateway.ask(moamesh={"layers": 9}), 400, "invalid_value")["param"] == "moamesh.layers"


def test_an_unknown_model_path_and_method_are_said_in_the_same_shape(gateway: Gateway) -> None:
    error_of(gateway.ask(model="gpt-4o"), 404, "model_not_found")
    error_of(gateway.get("/v1/models/none"), 404, "model_not_found")
    error_of(gateway.get("/v1/embeddings"), 404, None)
    error_of(gateway.get("/v1/chat/completions"), 405, None)


def test_a_device_that_nobody_knows_is_not_found(gateway: Gateway) -> None:
    error = error_of(gateway.ask(moamesh={"device": "attic"}), 404, "device_not_found")
    assert error["param"] == "moamesh.device"
    error_of(gateway.ask(moamesh={"device": "At tic"}), 400, "invalid_value")


def test_a_device_of_ones_choice_is_asked(gateway: Gateway) -> None:
    for name in ("device-1", "device-3"):
        assert gateway.ask(moamesh={"device": name}).json()["moamesh"]["device"] == name


def test_the_devices_own_refusal_is_passed_on(gateway: Gateway) -> None:
    assistant_last = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "I"}]
    assert "last message" in error_of(gateway.ask(messages=assistant_last), 400, "invalid_prompt")["message"]
    error_of(gateway.ask(text="   "), 400, "invalid_prompt")


def test_a_prompt_too_large_for_the_mesh_is_refused_before_it_costs_the_connection(gateway: Gateway) -> None:
    error_of(gateway.ask("x" * 140_000), 400, "context_length_exceeded")  # over what a device takes
    error_of(gateway.ask("x" * 300_000), 400, "context_length_exceeded")  # over what a broker passes on
    error_of(gateway.ask("x" * 1_100_000), 413, "body_too_large")
    assert gateway.ask().status_code == 200


def test_a_text_that_utf8_cannot_hold_is_refused(gateway: Gateway) -> None:
    body = {"model": "local", "messages": [{"role": "user", "content": "\ud800"}]}
    response = post(gateway, json.dumps(body).encode())
    assert response.status_code == 400, response.text


def test_an_expired_prompt_is_a_gateway_timeout_that_clients_do_not_repeat(slow_gateway: Gateway) -> None:
    response = slow_gateway.ask(moamesh={"deadline_s": 0.2})
    error = error_of(response, 504, "expired")
    assert "deadline" in error["message"]
    assert response.headers["x-should-retry"] == "false"


def test_an_expired_stream_ends_with_the_error(slow_gateway: Gateway) -> None:
    response = slow_gateway.ask(stream=True, moamesh={"deadline_s": 0.2})
    assert response.status_code == 200
    *_, error, done = [line for line in response.text.splitlines() if line.startswith("data: ")]
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "expired"
    assert done == "data: [DONE]"


@pytest.fixture
def lonely(mesh: Mesh, tmp_path: Path) -> Iterator[Gateway]:
    """A broker with devices of another mesh than the gateway's."""
    with gateway_of(mesh.broker, "empty", tmp_path) as gateway:
        yield gateway


def test_without_a_device_there_is_nobody_to_ask(lonely: Gateway) -> None:
    gateway = lonely
    eventually(lambda: gateway.get("/readyz").json()["broker_connected"], "the broker is connected")
    response = gateway.ask()
    error = error_of(response, 503, "no_device")
    assert "'empty'" in error["message"]
    assert int(response.headers["retry-after"]) >= 1
    assert gateway.get("/readyz").status_code == 503
    assert gateway.get("/healthz").json()["status"] == "ok"


def test_without_a_broker_the_gateway_lives_and_says_so(tmp_path: Path) -> None:
    with gateway_of("mqtt://127.0.0.1:1", "home", tmp_path) as gateway:
        assert gateway.get("/healthz").status_code == 200
        assert gateway.get("/readyz").json() == {
            "ready": False,
            "broker_connected": False,
            "devices_online": 0,
            "devices_able": 0,
            "devices_unable": {},
        }
        error_of(gateway.ask(), 503, "broker_unreachable")
