"""Who may ask, from where, and how much: keys, host names, other pages, bounds, headers."""

from __future__ import annotations

import json
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from edge_agent.gateway.guards import CSP
from edge_agent.gateway.keys import add_key, remove_key
from tests.gateway.programs import SEVERAL, Gateway, Mesh, eventually, gateway_of, refused
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker

ORIGIN = "https://chat.example"


def test_without_keys_it_starts_on_loopback_only(tmp_path: Path) -> None:
    keys_file = tmp_path / "none.json"
    options = ("--broker", "mqtt://127.0.0.1:1", "--port", "0", "--keys-file", str(keys_file))
    for host in ("0.0.0.0", "::", socket.gethostname()):
        assert "moamesh gateway key add" in refused("gateway", *options, "--host", host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.1:9", "[::1]:8080", "192.168.1.4", "LOCALHOST:1"])
def test_without_keys_addresses_and_own_names_are_served(gateway: Gateway, host: str) -> None:
    assert gateway.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_without_keys_another_name_is_refused_as_dns_rebinding(gateway: Gateway, host: str) -> None:
    for path in ("/v1/models", "/", "/about.json"):
        response = gateway.get(path, headers={"host": host})
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "wrong_host"


def test_a_page_elsewhere_cannot_send_a_prompt_without_being_asked(gateway: Gateway) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"):
        response = httpx.post(
            f"{gateway.api}/chat/completions", content=b"{}", headers={"content-type": content_type}, timeout=PATIENCE_S
        )
        assert response.status_code == 415
        assert response.json()["error"]["code"] == "not_json"


def test_only_listed_pages_may_call_the_api(mesh: Mesh, tmp_path: Path) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    with gateway_of(mesh.broker, mesh.mesh, tmp_path, "--cors-origin", ORIGIN) as gateway:
        url = f"{gateway.api}/chat/completions"
        allowed = httpx.options(url, headers={"origin": ORIGIN, **asks})
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in allowed.headers
        refused = httpx.options(url, headers={"origin": "https://evil.example", **asks})
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers
        answered = gateway.ask(headers={"origin": ORIGIN})
        assert answered.headers["access-control-allow-origin"] == ORIGIN


def test_no_page_elsewhere_is_allowed_by_default(gateway: Gateway) -> None:
    for origin in (ORIGIN, "null", gateway.url):
        assert "access-control-allow-origin" not in gateway.get("/v1/models", headers={"origin": origin}).headers


@pytest.mark.parametrize("path", ["/", "/v1/models", "/docs", "/nothing", "/about.json", "/metrics", "/healthz"])
def test_every_response_has_the_security_headers(gateway: Gateway, path: str) -> None:
    headers = gateway.get(path).headers
    assert headers["content-security-policy"] == CSP
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


def test_a_models_words_are_sent_as_json(gateway: Gateway) -> None:
    whole = gateway.ask("<script>alert(1)</script>")
    assert (whole.status_code, whole.headers["content-type"]) == (200, "application/json")
    streamed = gateway.ask("<script>alert(1)</script>", stream=True)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    assert all(json.loads(line)["object"] == "chat.completion.chunk" for line in lines[:-1])


def test_the_policy_allows_no_script_but_our_own() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in CSP.split(";"))
    assert rules["script-src"] == rules["style-src"] == rules["default-src"] == "'self'"
    assert rules["object-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["connect-src"] == "'self' ws: wss:"
    assert "unsafe" not in CSP


def test_with_keys_the_api_and_the_figures_need_one_and_nothing_else_does(mesh: Mesh, tmp_path: Path) -> None:
    keys_file = tmp_path / "api-keys.json"
    secret = add_key(keys_file, "alice")
    with gateway_of(mesh.broker, mesh.mesh, tmp_path) as gateway:
        for path in ("/v1/models", "/metrics", "/v1/nothing"):
            missing = gateway.get(path)
            assert missing.status_code == 401
            assert missing.headers["www-authenticate"] == "Bearer"
            assert missing.json()["error"]["code"] == "missing_api_key"
        for wrong in ("Bearer", "Basic abc", f"Bearer {secret}x", f"Bearer {secret[:-1]}", secret):
            assert gateway.get("/v1/models", headers={"authorization": wrong}).status_code == 401
        assert gateway.get("/v1/models", headers={"authorization": f"bearer {secret}"}).status_code == 200
        for path in ("/", "/healthz", "/readyz", "/about.json", "/docs", "/openapi.json"):
            assert gateway.get(path).status_code in (200, 503)
        elsewhere = {"host": "mesh.example", "authorization": f"Bearer {secret}"}
        assert gateway.get("/v1/models", headers=elsewhere).status_code == 200, "who has a key may use any name"

        bob = add_key(keys_file, "bob")  # without a restart
        assert gateway.get("/v1/models", headers={"authorization": f"Bearer {bob}"}).status_code == 200
        remove_key(keys_file, "alice")
        remove_key(keys_file, "bob")
        for gone in (secret, bob):
            assert gateway.get("/v1/models", headers={"authorization": f"Bearer {gone}"}).status_code == 401
        assert gateway.get("/v1/models").status_code == 401, "without any key left it is not open"


def test_too_many_headers_are_refused(gateway: Gateway) -> None:
    many = {f"x-{number}": "1" for number in range(101)}
    assert gateway.get("/v1/models", headers=many).status_code == 431
    assert gateway.get("/v1/models", headers={"x-a": "a" * 33_000}).status_code == 431


def test_a_body_over_the_bound_is_refused_also_where_its_length_is_not_told(gateway: Gateway) -> None:
    def pieces():  # without a length: sent in chunks
        for _ in range(40):
            yield b"x" * 65_536

    response = httpx.post(
        f"{gateway.api}/chat/completions",
        content=pieces(),
        headers={"content-type": "application/json"},
        timeout=PATIENCE_S,
    )
    assert response.status_code == 413


def test_requests_beyond_the_bound_are_told_to_come_again(slow_mesh: Mesh, tmp_path: Path) -> None:
    with gateway_of(slow_mesh.broker, slow_mesh.mesh, tmp_path, "--max-requests", "1") as gateway:
        eventually(lambda: gateway.get("/readyz").status_code == 200, "the device is online")
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(gateway.ask, model="moa", moamesh=SEVERAL)
            eventually(
                lambda: gateway.figure("moamesh_device_requests_running", device="device-1") > 0, "the first runs"
            )
            second = gateway.ask()
            assert second.status_code == 429
            assert second.json()["error"]["code"] == "too_many_requests"
            assert second.headers["retry-after"] == "1"
            assert first.result(PATIENCE_S).status_code == 200
        assert gateway.ask().status_code == 200, "the place is free again"


def test_a_request_that_stops_half_way_costs_nobody_anything(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as half:
        half.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        half.sendall(b"Content-Length: 1000\r\n\r\n{")
        assert gateway.ask().status_code == 200
        assert not select.select([half], [], [], 0)[0], "others were answered before it was given up"
    assert gateway.ask().status_code == 200
