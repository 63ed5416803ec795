"""What can be said of the responses of a layer without an LLM: numbers by name, for `scored`.

Each compares a response with the others to the same prompt, so that no number depends on what the prompt asks for.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import final

LOOKED_AT_CHARACTERS_MAX = 8_192  # of each text, where words are compared: bounds a layer of 17 long responses
SEQUENCE_WORDS = 4  # a sequence this long seldom comes twice unless a model repeats itself
REFUSAL_WITHIN_CHARACTERS = 300  # a refusal stands at the beginning

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
"""A word; where none are marked (Chinese, Japanese) each character counts as one."""

_REFUSAL = re.compile(r"\b(i'?m sorry|i am sorry|i cannot|i can'?t|i'?m unable|i am unable|as an ai)\b")


@final
@dataclass(frozen=True, slots=True)
class ModelResponse:
    """A response of a layer. `parameter_count` is its model's, `None` if the device did not say it."""

    text: str
    parameter_count: int | None = None


def features(responses: Sequence[ModelResponse]) -> dict[str, list[float]]:
    """Returns for each feature a number for each response, in their order.

    `size` is there only where the size of every model is known:

    - `size`: the model's parameters over those of the largest model among them, 0 to 1;
    - `length`: natural logarithm of the length in characters, less the median of these logarithms;
    - `length_squared`: its square;
    - `agreement`: mean cosine to the others, of words weighted by how few responses have them (TF-IDF; Salton and
      Buckley 1988), 0 to 1;
    - `odd_phrases`: how far the same mean, of pairs of words, lies below the median of the layer; 0 if it does not;
    - `repetition`: fraction of its sequences of four words that it has had before;
    - `refusal`: 1 if it begins as English refusals do, else 0.
    """
    words = [_WORD.findall(one.text[:LOOKED_AT_CHARACTERS_MAX].casefold()) for one in responses]
    phrases = _agreement([list(pairwise(one)) for one in words])
    usual = median(phrases) if phrases else 0.0
    logarithms = [math.log(max(1, len(one.text))) for one in responses]
    middle = median(logarithms) if logarithms else 0.0
    lengths = [one - middle for one in logarithms]
    found = {
        "length": lengths,
        "length_squared": [one * one for one in lengths],
        "agreement": _agreement(words),
        "odd_phrases": [max(0.0, usual - one) for one in phrases],
        "repetition": [_repetition(one) for one in words],
        "refusal": [
            float(_REFUSAL.search(one.text[:REFUSAL_WITHIN_CHARACTERS].casefold()) is not None) for one in responses
        ],
    }
    sizes = [one.parameter_count for one in responses if one.parameter_count]
    if sizes and len(sizes) == len(responses):
        found["size"] = [size / max(sizes) for size in sizes]
    return found


def _agreement(units: Sequence[Sequence[object]]) -> list[float]:
    """Returns for each response the mean cosine of its units to those of every other; 0 for one alone."""
    count = len(units)
    holders = Counter(unit for one in units for unit in set(one))
    rarity = {unit: math.log((1 + count) / (1 + held)) + 1 for unit, held in holders.items()}
    vectors = [_unit_vector(one, rarity) for one in units]
    sums = [0.0] * count
    for row, one in enumerate(vectors):
        for column in range(row):
            other = vectors[column]
            few, many = (one, other) if len(one) < len(other) else (other, one)
            cosine = sum(weight * many[unit] for unit, weight in few.items() if unit in many)
            sums[row] += cosine
            sums[column] += cosine
    return [one / max(1, count - 1) for one in sums]


def _unit_vector(units: Sequence[object], rarity: dict[object, float]) -> dict[object, float]:
    weights = {unit: (1 + math.log(times)) * rarity[unit] for unit, times in Counter(units).items()}
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return {unit: weight / length for unit, weight in weights.items()}


def _repetition(words: Sequence[str]) -> float:
    sequences = list(zip(*(words[start:] for start in range(SEQUENCE_WORDS)), strict=False))
    return 1 - len(set(sequences)) / len(sequences) if sequences else 0.0
