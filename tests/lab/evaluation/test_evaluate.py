"""`moamesh evaluate`: a file of preferences in, win rates and weights out. The preferences here follow a known law."""

from __future__ import annotations

import json
import math
import random
import runpy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_agent.cli.main import app
from edge_agent.core.policies import scored_weights
from edge_agent.lab.evaluation.fit import SIZED, UNSIZED, fit_weights
from edge_agent.lab.evaluation.preferences import family_of, read_preferences
from edge_agent.lab.evaluation.selections import fit_both

MODELS = {"Tiny-Llama-1B": 1.0, "Mid-Llama-3B": 3.0, "Some-Qwen-7B": 7.0, "Odd-Gemma-9B": 9.0}
WORDS = [f"word{number}" for number in range(400)]


def law(size: float, length: float) -> float:
    """The score that decides here: large models and long responses are preferred."""
    return 3.0 * size + 2.0 * length


def preferences(path: Path, prompts: int = 150, sizes: bool = True, **changes: Any) -> Path:
    """Writes a file in which responses are random words and the preferences follow `law`."""
    rng = random.Random(5)
    examples = []
    for number in range(prompts):
        counts = {model: rng.randint(40, 160) for model in MODELS}
        texts = {model: " ".join(rng.choices(WORDS, k=count)) for model, count in counts.items()}
        middle = sorted(math.log(len(text)) for text in texts.values())
        usual = (middle[1] + middle[2]) / 2
        worth = {model: law(MODELS[model] / 9, math.log(len(text)) - usual) for model, text in texts.items()}
        noise = {model: rng.gauss(0, 0.3) for model in MODELS}
        wins = {model: 1 / (1 + math.exp(2 - worth[model] - noise[model])) for model in MODELS}
        responses = [{"generator": model, "output": texts[model], "win_probability": wins[model]} for model in MODELS]
        examples.append({"instruction": f"say {number}", "responses": responses, "baseline_length": 700})
    generators = [{"name": name, **({"parameters_b": size} if sizes else {})} for name, size in MODELS.items()]
    path.write_text(json.dumps({"examples": examples, "generators": generators, "source": "a law", **changes}))
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return preferences(tmp_path_factory.mktemp("evaluate") / "preferences.json")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_scored_beats_every_model_where_size_and_length_decide(file: Path) -> None:
    said = json.loads(run(file, "--json").stdout)
    others = {row["name"]: row["win_rate"] for row in said["others"]}
    assert said["policy"] == "scored"
    assert (said["folds"], said["prompts"]) == (5, 150)
    assert max(others[model] for model in MODELS) == others["Odd-Gemma-9B"] == others["largest model"]
    assert others["largest model"] + 1 < said["win_rate"] < others["best possible choice"]
    assert others["random"] < others["longest"] < said["win_rate"]
    left_out = {row["name"]: row["win_rate"] for row in said["left_out_of_the_fit"]}
    assert set(left_out) == {f"without {model}" for model in MODELS} | {"without the family llama"}
    assert min(left_out.values()) > others["longest"]


def test_the_length_controlled_win_rate_takes_away_what_length_alone_has_won(file: Path) -> None:
    rows = {row["name"]: row for row in json.loads(run(file, "--json").stdout)["others"]}
    longest = rows["longest"]
    assert longest["length_controlled"] < longest["win_rate"] - 1


def test_a_policy_that_is_not_fitted_is_scored_as_it_is(file: Path) -> None:
    said = json.loads(run(file, "--policy", "consensus", "--json").stdout)
    others = {row["name"]: row["win_rate"] for row in said["others"]}
    assert (said["folds"], said["left_out_of_the_fit"]) == (None, [])
    assert said["win_rate"] == others["consensus(1)"]


def test_people_get_tables(file: Path) -> None:
    done = run(file)
    assert done.exit_code == 0
    for text in ("scored", "best possible choice", "Odd-Gemma-9B", "length-controlled", "150 prompts"):
        assert text in done.stdout


def test_the_fit_finds_the_law_and_ignores_what_does_not_vary(file: Path) -> None:
    examples = read_preferences(file).examples
    weights = fit_weights(examples, ("size", "length", "refusal"))
    assert weights["size"] / weights["length"] == pytest.approx(1.5, rel=0.2)
    assert weights["refusal"] == 0.0
    assert fit_weights([one.only((2, 3)) for one in examples], SIZED)["odd_phrases"] == 0.0


def test_without_sizes_the_weights_without_sizes_are_fitted_and_used(tmp_path: Path) -> None:
    path = preferences(tmp_path / "plain.json", 60, sizes=False)
    without, sized = fit_both(read_preferences(path).examples)
    assert (tuple(without), sized) == (UNSIZED, {})
    said = json.loads(run(path, "--json").stdout)
    assert "largest model" not in {row["name"] for row in said["others"]}
    refused = run(path, "--fit")
    assert refused.exit_code != 0
    assert "parameters_b" in refused.output


def test_the_fit_writes_the_module_that_the_policy_reads(file: Path, tmp_path: Path) -> None:
    written = tmp_path / "scored_weights.py"
    assert run(file, "--fit", "--output", written).exit_code == 0
    made, ours = runpy.run_path(str(written)), vars(scored_weights)
    assert "a law" in made["__doc__"]
    for name in ("WITH_SIZES", "WITHOUT_SIZES"):
        assert tuple(made[name]) == tuple(ours[name])
    assert json.loads(run(file, "--fit").stdout)["with_sizes"] == made["WITH_SIZES"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file"),
        ("{}", "examples: Field required"),
        ('{"examples": []}', "no prompt has two responses"),
        ('{"examples": [{"instruction": "a", "responses": [{"generator": "m", "output": 1}]}]}', "responses.0.output"),
        (
            '{"examples": [{"instruction": "", "responses": [{"generator": "", "output": "", "win_probability": 2}]}]}',
            "win_probability",
        ),
        ('{"examples": [], "generators": [{"name": "m", "parameters_b": -1}]}', "parameters_b"),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text(text)
    done = run(tmp_path / "file.json")
    assert done.exit_code == 2
    assert words in done.output
    assert done.output.strip().count("\n") <= 2  # a terminal of 80 columns wraps the line


@pytest.mark.parametrize(("policy", "words"), [("nobody", "no policy"), ("judge", "without an LLM"), ("all", "all")])
def test_what_cannot_choose_one_response_is_refused(policy: str, words: str, file: Path) -> None:
    done = run(file, "--policy", policy)
    assert done.exit_code == 2
    assert words in done.output


@pytest.mark.parametrize(
    ("model", "family"),
    [("FuseChat-Llama-3.2-1B", "llama"), ("Qwen2.5-7B", "qwen"), ("Mistral-to-Gemma", "gemma"), ("own", "own")],
)
def test_a_family_is_read_from_a_models_name(model: str, family: str) -> None:
    assert family_of(model) == family
