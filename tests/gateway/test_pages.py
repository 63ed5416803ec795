"""What a browser loads: the app's files and how long they may be kept, what they ask first, the page about the API."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edge_agent import __version__
from tests.gateway.programs import Gateway, Mesh, gateway_of

pytestmark = pytest.mark.broker

WEB_BROKER = "wss://mesh.example:8885"


@pytest.fixture(scope="module")
def app_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as Vite lays them out."""
    folder = tmp_path_factory.mktemp("app") / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>app</title>")
    (folder / "sw.js").write_text("// service worker")
    (folder / "manifest.webmanifest").write_text("{}")
    (folder / "assets" / "index-B1a2C3d4.js").write_text("export const text = 'x';\n" * 200)
    (folder.parent / "secret.txt").write_text("not for the world")
    return folder


@pytest.fixture(scope="module")
def serving(mesh: Mesh, app_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with those files, for one device."""
    options = ("--app-dir", str(app_dir), "--web-broker", WEB_BROKER, "--device", "device-1")
    with gateway_of(mesh.broker, mesh.mesh, tmp_path_factory.mktemp("serving"), *options) as gateway:
        yield gateway


def test_files_with_a_hash_are_kept_for_ever_and_all_others_asked_about(serving: Gateway) -> None:
    hashed = serving.get("/assets/index-B1a2C3d4.js")
    assert hashed.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert hashed.headers["content-type"].startswith("text/javascript")
    for path in ("/", "/index.html", "/sw.js", "/manifest.webmanifest"):
        response = serving.get(path)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-cache"
        again = serving.get(path, headers={"if-none-match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cache-control"] == "no-cache"
    assert serving.get("/manifest.webmanifest").headers["content-type"].startswith("application/manifest+json")


def test_files_are_compressed_for_those_who_read_that(serving: Gateway, app_dir: Path) -> None:
    path = "/assets/index-B1a2C3d4.js"
    whole = (app_dir / path[1:]).read_bytes()
    with httpx.stream("GET", serving.url + path, headers={"accept-encoding": "gzip"}) as response:
        raw = b"".join(response.iter_raw())
    assert response.headers["content-encoding"] == "gzip"
    assert len(raw) < len(whole) / 5
    assert gzip.decompress(raw) == whole
    assert serving.get(path, headers={"accept-encoding": "identity"}).content == whole


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/../../secret.txt", "/..%2fsecret.txt", "/assets//etc/passwd"],
)
def test_nothing_outside_the_folder_is_served(serving: Gateway, path: str) -> None:
    raw = httpx.Client().build_request("GET", serving.url)
    raw.url = raw.url.copy_with(raw_path=path.encode())
    with httpx.Client() as client:
        response = client.send(raw)
    assert response.status_code in (400, 404)
    assert "not for the world" not in response.text


def test_where_no_app_is_built_the_page_says_how(mesh: Mesh, tmp_path: Path) -> None:
    empty = tmp_path / "later"
    with gateway_of(mesh.broker, mesh.mesh, tmp_path, "--app-dir", str(empty)) as gateway:
        page = gateway.get("/")
        assert page.status_code == 200
        assert "make app" in page.text
        assert page.headers["cache-control"] == "no-store"
        assert gateway.get("/assets/x.js").status_code == 404
        empty.mkdir()
        (empty / "index.html").write_text("<!doctype html><title>here</title>")
        assert "here" in gateway.get("/").text


def test_the_app_is_told_where_it_is(serving: Gateway, gateway: Gateway) -> None:
    about = serving.get("/about.json").json()
    assert about == {
        "moamesh": __version__,
        "mesh": "local",
        "device": "device-1",
        "web_broker": WEB_BROKER,
        "hint": "",
    }
    elsewhere = gateway.get("/about.json").json()
    assert (elsewhere["device"], elsewhere["web_broker"]) == (None, "")
    assert "install mosquitto" in elsewhere["hint"].lower()


def test_a_gateway_for_one_device_asks_no_other(serving: Gateway) -> None:
    assert serving.ask().json()["moamesh"]["device"] == "device-1"
    refused = serving.ask(moamesh={"device": "device-2"})
    assert refused.status_code == 400
    assert "device-1 only" in refused.json()["error"]["message"]


def test_the_api_page_loads_nothing_from_elsewhere_and_runs_no_script(serving: Gateway) -> None:
    page = serving.get("/docs")
    assert page.status_code == 200
    assert "<script" not in page.text
    assert "style=" not in page.text
    for link in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        assert link.startswith("/"), link
        assert serving.get(link).status_code == 200
    for word in ("/v1/chat/completions", "max_completion_tokens", "deadline_s", "/readyz"):
        assert word in page.text
    assert serving.get("/redoc").status_code == 404


def test_the_openapi_description_tells_the_errors_that_clients_get_and_no_other(serving: Gateway) -> None:
    told = serving.get("/openapi.json").json()["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert {"200", "400", "401", "404", "413", "429", "502", "503", "504", "default"} == set(told)
    schema = told["429"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    described = serving.get("/openapi.json").json()["components"]["schemas"]
    refused = serving.ask(model="no-such-model")
    assert refused.status_code == 404
    assert set(refused.json()) == set(described[schema]["required"]) == {"error"}
    detail = described[schema]["properties"]["error"]["$ref"].rpartition("/")[2]
    assert set(refused.json()["error"]) == set(described[detail]["required"])


def test_the_openapi_description_names_every_path_and_field(serving: Gateway) -> None:
    schema = serving.get("/openapi.json").json()
    assert {"/v1/models", "/v1/chat/completions", "/healthz", "/readyz", "/metrics", "/about.json"} <= set(
        schema["paths"]
    )
    body = schema["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].endswith("ChatCompletionRequest")
