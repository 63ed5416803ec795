"""`make test-clients`: LiteLLM, and AlpacaEval's and lm_eval's own OpenAI paths, against a mesh with a real model.

Not collected by `make test`: these programs bring a gigabyte of packages (scripts/install_clients.sh).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.gateway.keys import add_key
from tests.gateway.programs import Gateway, eventually, gateway_of, mesh_of

CLIENTS = Path(__file__).parent / "clients"
RUN_S = 300.0  # for one program: they import for long
DEVICES = 2
QUESTIONS = [json.loads(line) for line in (CLIENTS / "questions.jsonl").read_text().splitlines()]


def clients_home() -> Path:
    if own := os.environ.get("MOAMESH_CLIENTS_HOME"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moamesh" / "clients"


def run(program: str, *arguments: str, folder: Path, **environment: str) -> str:
    """Runs a program of the clients' environment, where it reaches the gateway alone; returns what it printed."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "TQDM_DISABLE": "1"}
    command = [str(clients_home() / "bin" / program), *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        cwd=folder,
        env=os.environ | offline | quiet | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def served(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, str]]:
    """A gateway with a key in front of two devices with a real model."""
    folder = tmp_path_factory.mktemp("clients")
    key = add_key(folder / "api-keys.json", "evaluation")
    with (
        mesh_of(folder / "mesh", devices=DEVICES, engine="llama", models=[str(default_model)]) as mesh,
        gateway_of(mesh.broker, mesh.mesh, folder) as gateway,
    ):
        gateway.headers = {"authorization": f"Bearer {key}"}
        eventually(lambda: gateway.get("/readyz").json()["devices_online"] == DEVICES, "the devices are online")
        yield gateway, key


def test_litellm_chats_streams_and_knows_our_errors(served: tuple[Gateway, str], tmp_path: Path) -> None:
    gateway, key = served
    said = run("python", str(CLIENTS / "litellm_calls.py"), gateway.api, key, folder=tmp_path)
    got = json.loads(said.splitlines()[-1])
    print(json.dumps(got, indent=1, ensure_ascii=False))
    assert got["text"].strip()
    assert got["finish_reason"] in ("stop", "length")
    assert got["tokens"] > 0
    assert got["streamed"].strip()
    assert got["pieces"] > 3
    assert len(got["many"]) == 8
    assert all(text.strip() for text in got["many"])
    assert got["wrong_key"] == "AuthenticationError"
    assert got["no_model"] == "NotFoundError"
    assert got["too_long"] == "ContextWindowExceededError"
    assert got["image"] == "BadRequestError"


def test_alpaca_evals_own_openai_path_writes_outputs(served: tuple[Gateway, str], tmp_path: Path) -> None:
    gateway, key = served
    outputs = tmp_path / "model_outputs.json"
    asked = [question["question"] for question in QUESTIONS]
    before = gateway.figure("moamesh_gateway_prompts_total", outcome="answered")
    script = str(CLIENTS / "alpaca_eval_outputs.py")
    run("python", script, gateway.api, key, "moa-m1-k1", str(outputs), *asked, folder=tmp_path)
    rows = json.loads(outputs.read_text())
    print(outputs.read_text())
    assert [row["instruction"] for row in rows] == asked
    assert all(row["output"] and row["generator"] == "moa-m1-k1" for row in rows)
    assert gateway.figure("moamesh_gateway_prompts_total", outcome="answered") == before + len(asked)


def test_lm_evals_own_openai_path_runs_a_task(served: tuple[Gateway, str], tmp_path: Path) -> None:
    gateway, key = served
    for name in ("lm_eval_task.yaml", "questions.jsonl"):
        (tmp_path / name).write_bytes((CLIENTS / name).read_bytes())
    arguments = f"base_url={gateway.api}/chat/completions,model=moa-m1-k1,num_concurrent=4,max_retries=2"
    said = run(
        "lm_eval",
        *("run", "--model", "local-chat-completions", "--model_args", arguments, "--tasks", "lm_eval_task.yaml"),
        *("--apply_chat_template", "--log_samples", "--output_path", "out"),
        folder=tmp_path,
        OPENAI_API_KEY=key,
    )
    print(said)
    (samples,) = (tmp_path / "out").rglob("samples_*.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    assert len(rows) == len(QUESTIONS)
    assert all(row["filtered_resps"][0].strip() for row in rows)
    print([row["filtered_resps"][0] for row in rows])
    (results,) = (tmp_path / "out").rglob("results_*.json")
    assert 0.0 <= json.loads(results.read_text())["results"]["moamesh_questions"]["exact_match,none"] <= 1.0
