"""What a client does not notice: a broker that is restarted, a device that is killed, in the middle of its answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.gateway.programs import Gateway, Mesh, eventually, gateway_of, mesh_of
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker

SERVICE = "deterministic:0.8"  # four pieces of 0.2 s: time for harm between the first and the last


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mesh, Gateway]]:
    """A device and a gateway of this file alone: what happens to them here would disturb others."""
    folder = tmp_path_factory.mktemp("harmed")
    with mesh_of(folder / "mesh", service=SERVICE) as mesh, gateway_of(mesh.broker, mesh.mesh, folder) as gateway:
        eventually(lambda: gateway.get("/readyz").status_code == 200, "the device is online")
        yield mesh, gateway


def streamed(gateway: Gateway, mesh: Mesh, order: str) -> tuple[str, list[str]]:
    """Asks, carries out the order after the first piece of text, and returns the text and the lines of the stream."""
    body = {"model": "local", "stream": True, "messages": [{"role": "user", "content": "why?"}]}
    lines: list[str] = []
    texts: list[str] = []
    url = f"{gateway.api}/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=PATIENCE_S) as response, ThreadPoolExecutor(1) as pool:
        harming = None
        for line in response.iter_lines():
            lines.append(line)
            if line.startswith("data: {"):
                choices = json.loads(line[6:]).get("choices", [])
                texts += [text for choice in choices if (text := choice["delta"].get("content"))]
                if texts and harming is None:
                    harming = pool.submit(mesh.harm, order)
        assert harming is not None
        harming.result(PATIENCE_S)
    return "".join(texts), lines


@pytest.mark.parametrize("order", ["restart-broker", "restart device-1"])
def test_a_stream_goes_on_to_its_end(harmed: tuple[Mesh, Gateway], order: str) -> None:
    mesh, gateway = harmed
    text, lines = streamed(gateway, mesh, order)
    assert text == "[synthetic] no language model: 0.800 s of declared service time (deterministic:0.8)"
    assert [line for line in lines if line][-1] == "data: [DONE]"
    assert not any('"error"' in line for line in lines)
    eventually(lambda: gateway.get("/readyz").status_code == 200, "all is well again")


@pytest.mark.parametrize("order", ["restart-broker", "restart device-1"])
def test_a_whole_answer_comes_once_all_the_same(harmed: tuple[Mesh, Gateway], order: str) -> None:
    mesh, gateway = harmed
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(gateway.ask, model="moa-m2-k0")
        eventually(lambda: gateway.figure("moamesh_gateway_in_flight") >= 2, "it is under way")
        mesh.harm(order)
        response = asked.result(PATIENCE_S)
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"]
    eventually(lambda: gateway.get("/readyz").status_code == 200, "all is well again")
