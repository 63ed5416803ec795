"""A request repeated with the same Idempotency-Key is the same prompt, and gets the same answer."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_agent.gateway.keys import add_key
from tests.gateway.programs import Gateway, Mesh, eventually, gateway_of
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker


def keyed(gateway: Gateway, key: str, text: str = "why?", **fields: Any) -> dict[str, Any]:
    response = gateway.ask(text, headers={"idempotency-key": key}, **fields)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_repeat_gets_the_same_answer_from_the_same_device(gateway: Gateway) -> None:
    first = keyed(gateway, "a")
    for _ in range(5):
        again = keyed(gateway, "a")
        assert again["id"] == first["id"]
        assert again["choices"] == first["choices"]
        assert again["moamesh"]["provenance"] == first["moamesh"]["provenance"]


def test_another_request_with_the_same_key_is_another_prompt(gateway: Gateway) -> None:
    ids = {
        keyed(gateway, "b")["id"],
        keyed(gateway, "c")["id"],
        keyed(gateway, "b", "why not?")["id"],
        keyed(gateway, "b", temperature=0.1)["id"],
        keyed(gateway, "b", model="moa-m1-k0")["id"],
        gateway.ask().json()["id"],
        gateway.ask().json()["id"],
    }
    assert len(ids) == 7


def test_a_repeat_may_be_a_stream(gateway: Gateway) -> None:
    whole = keyed(gateway, "d")["choices"][0]["message"]["content"]
    lines = gateway.ask(headers={"idempotency-key": "d"}, stream=True).text.splitlines()
    pieces = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces) == whole


def test_the_same_at_the_same_time_is_one_prompt(slow_gateway: Gateway) -> None:
    before = slow_gateway.figure("moamesh_device_accepted_total", device="device-1")
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(keyed, slow_gateway, "e") for _ in range(3)]
        answers = [one.result(PATIENCE_S) for one in asked]
    assert len({answer["id"] for answer in answers}) == 1
    assert len({answer["choices"][0]["message"]["content"] for answer in answers}) == 1
    eventually(
        lambda: slow_gateway.figure("moamesh_device_accepted_total", device="device-1") == before + 1,
        "the device accepted one",
    )


def test_a_client_that_comes_back_gets_the_answer_it_left(slow_gateway: Gateway) -> None:
    body = {"model": "local", "stream": True, "messages": [{"role": "user", "content": "come back"}]}
    headers = {"idempotency-key": "f"}
    cancelled = slow_gateway.figure("moamesh_device_cancelled_total", device="device-1")
    url = f"{slow_gateway.api}/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=PATIENCE_S) as response:
        first_id = json.loads(next(line for line in response.iter_lines() if line)[6:])["id"]
    again = keyed(slow_gateway, "f", "come back")
    assert again["id"] == first_id
    assert again["choices"][0]["message"]["content"]
    assert slow_gateway.figure("moamesh_device_cancelled_total", device="device-1") == cancelled


@pytest.mark.parametrize("options", [("--device", "device-2"), ()], ids=["one device", "any device"])
def test_a_repeat_after_a_restart_of_the_gateway_gets_the_same_answer(
    mesh: Mesh, tmp_path: Path, options: tuple[str, ...]
) -> None:
    answers = []
    for _ in range(2):
        with gateway_of(mesh.broker, mesh.mesh, tmp_path, *options) as gateway:
            answers.append(keyed(gateway, f"g{len(options)}"))
    assert answers[0]["id"] == answers[1]["id"]
    assert answers[0]["choices"] == answers[1]["choices"]
    told = [answer["moamesh"] | {"expected_wait_s": None} for answer in answers]  # of the receipt, not of the answer
    assert told[0] == told[1], "worked out once"


def test_the_key_of_one_caller_is_not_anothers(mesh: Mesh, tmp_path: Path) -> None:
    secrets = [add_key(tmp_path / "api-keys.json", name) for name in ("alice", "bob")]
    ids = []
    with gateway_of(mesh.broker, mesh.mesh, tmp_path) as gateway:
        for secret in secrets:
            gateway.headers = {"authorization": f"Bearer {secret}"}
            ids.append(keyed(gateway, "h")["id"])
    assert ids[0] != ids[1]


def test_a_key_out_of_all_proportion_is_refused(gateway: Gateway) -> None:
    response = gateway.ask(headers={"idempotency-key": "k" * 256})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "Idempotency-Key"
