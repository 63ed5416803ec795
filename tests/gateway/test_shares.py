"""A share of the gateway for each API key: one that opens all it can leaves room for the others, and is told."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from edge_agent.gateway.keys import add_key
from tests.gateway.programs import Mesh, eventually, gateway_of, mesh_of
from tests.support.patience import PATIENCE_S

PLACES = 8
ASKED = 16


@pytest.fixture(scope="module")
def patient_mesh(tmp_path_factory: pytest.TempPathFactory):
    """One device that is never done while a test looks."""
    with mesh_of(tmp_path_factory.mktemp("patient"), service="deterministic:600", status_interval_s=0.3) as running:
        yield running


def completion(client: httpx.Client, secret: str) -> httpx.Response:
    """Asks for a stream: its response begins when the device has the prompt. The answer is not waited for."""
    body = {"model": "local", "stream": True, "messages": [{"role": "user", "content": "why?"}]}
    headers = {"authorization": f"Bearer {secret}"}
    return client.send(client.build_request("POST", "/v1/chat/completions", json=body, headers=headers), stream=True)


def code(response: httpx.Response) -> str:
    if response.status_code == 200:
        return "open"
    assert response.headers["retry-after"] == "1"
    response.read()
    return str(response.json()["error"]["code"])


def test_one_key_does_not_get_all_the_places_and_another_finds_one(patient_mesh: Mesh, tmp_path: Path) -> None:
    alice, bob, carol = (add_key(tmp_path / "api-keys.json", name) for name in ("alice", "bob", "carol"))
    with (
        gateway_of(patient_mesh.broker, patient_mesh.mesh, tmp_path, "--max-requests", str(PLACES)) as gateway,
        httpx.Client(base_url=gateway.url, timeout=PATIENCE_S, limits=httpx.Limits(max_connections=None)) as client,
        ThreadPoolExecutor(ASKED) as pool,
    ):
        eventually(lambda: gateway.get("/readyz").status_code == 200, "the device is online")
        of_alice = list(pool.map(lambda _: completion(client, alice), range(ASKED)))
        assert Counter(map(code, of_alice)) == {"open": 6, "over_share": 10}
        of_bob = [completion(client, bob) for _ in range(3)]
        assert [code(one) for one in of_bob] == ["open", "open", "too_many_requests"]
        assert code(completion(client, carol)) == "too_many_requests"
        next(one for one in of_alice if one.status_code == 200).close()
        eventually(lambda: code(completion(client, alice)) == "over_share", "a place is free, and none for alice")
        assert code(completion(client, bob)) == "over_share", "nor for bob, who has his share"
        assert code(completion(client, carol)) == "open"
        assert gateway.get("/v1/models", headers={"authorization": f"Bearer {alice}"}).status_code == 200
