"""Responses to prompts, and how often each was preferred: read from a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, final

from pydantic import BaseModel, Field, ValidationError

from edge_agent.core.errors import SettingsError
from edge_agent.core.policies.response_features import ModelResponse, features
from edge_agent.core.settings import PARAMETERS_MAX

FILE_BYTES_MAX = 256 * 1024 * 1024  # AlpacaEval's half with five models has 5 MB
FAMILIES = ("llama", "qwen", "gemma", "mistral", "mixtral", "phi", "smollm", "granite", "deepseek", "falcon", "olmo")


class _Generator(BaseModel):
    name: str
    parameters_b: Annotated[float, Field(gt=0, le=PARAMETERS_MAX / 1e9)] | None = None
    family: str = ""


class _Response(BaseModel):
    generator: str
    output: str
    win_probability: Annotated[float, Field(ge=0, le=1)] | None = None


class _Example(BaseModel):
    instruction: str
    responses: list[_Response]
    baseline_length: Annotated[int, Field(ge=0)] | None = None


class _File(BaseModel):
    examples: list[_Example]
    generators: list[_Generator] = []
    source: str = ""


@final
@dataclass(frozen=True, slots=True)
class Example:
    """One prompt with its responses. All sequences are in the order of `models`.

    baseline_length: characters of the answer that each was compared with; `None` if the file does not say it.
    """

    models: tuple[str, ...]
    responses: tuple[ModelResponse, ...]
    win_probabilities: tuple[float, ...]
    """How often the response was preferred to the baseline's, 0 to 1."""
    features: dict[str, list[float]]
    baseline_length: int | None

    def only(self, kept: Sequence[int]) -> Example:
        """Returns the same prompt with these responses alone, compared with each other anew."""
        responses = tuple(self.responses[index] for index in kept)
        models = tuple(self.models[index] for index in kept)
        wins = tuple(self.win_probabilities[index] for index in kept)
        return Example(models, responses, wins, features(responses), self.baseline_length)


@final
@dataclass(frozen=True, slots=True)
class Preferences:
    """All prompts of a file that have at least two responses with a preference. `families` is by model."""

    examples: tuple[Example, ...]
    families: dict[str, str]
    source: str


def read_preferences(path: Path) -> Preferences:
    """Reads a JSON file: `examples`, each with `instruction` and `responses` (`generator`, `output`,
    `win_probability`); `generators` with `name` and, if known, `parameters_b` and `family`. Responses without a
    preference are left out.

    Raises:
        SettingsError: it can't be read, is not of this form or has no prompt with two preferences; one line.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise SettingsError(f"{path}: larger than {FILE_BYTES_MAX // 1024**2} MiB")
        file = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {where or 'the file'}: {first['msg']}") from None
    known = {one.name: one for one in file.generators}
    examples = [read for one in file.examples if (read := _example(one, known)) is not None]
    if not examples:
        raise SettingsError(f"{path}: no prompt has two responses with a win_probability")
    names = {model for example in examples for model in example.models}
    families = {name: (known[name].family if name in known else "") or family_of(name) for name in sorted(names)}
    return Preferences(tuple(examples), families, file.source)


def family_of(model: str) -> str:
    """Returns the model family that a name tells: the last one of `FAMILIES` in it, else the name itself.

    The last, since names of models that were trained on others' outputs begin with the others.
    """
    found = re.findall("|".join(FAMILIES), model.casefold())
    return str(found[-1]) if found else model


def _example(read: _Example, known: dict[str, _Generator]) -> Example | None:
    told = [one for one in read.responses if one.win_probability is not None and one.output.strip()]
    if len(told) < 2:
        return None
    responses = tuple(ModelResponse(one.output, _parameters(known.get(one.generator))) for one in told)
    return Example(
        tuple(one.generator for one in told),
        responses,
        tuple(one.win_probability or 0.0 for one in told),
        features(responses),
        read.baseline_length,
    )


def _parameters(generator: _Generator | None) -> int | None:
    return None if generator is None or generator.parameters_b is None else round(generator.parameters_b * 1e9)
