"""Ways to choose one response for each prompt, and how good each choice is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import final

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.policies.scored import scores
from edge_agent.lab.evaluation.fit import SIZED, UNSIZED, fit_weights, pairs, weights_of
from edge_agent.lab.evaluation.preferences import Example

Choice = Callable[[Example], int]
"""Returns the index of the chosen response."""


@final
@dataclass(frozen=True, slots=True)
class WinRate:
    """In percent, with its standard error over prompts. `choices` are indices, one for each prompt that counted."""

    percent: float
    error: float
    choices: tuple[int, ...]


def win_rate(examples: Sequence[Example], choose: Choice) -> WinRate:
    """Returns how often the chosen responses were preferred to the baseline's."""
    return rate_of(examples, [choose(example) for example in examples])


def rate_of(examples: Sequence[Example], choices: Sequence[int]) -> WinRate:
    """Returns the same for choices that were made: an index for each example."""
    wins = [example.win_probabilities[index] for example, index in zip(examples, choices, strict=True)]
    error = stdev(wins) / math.sqrt(len(wins)) if len(wins) > 1 else math.nan
    return WinRate(100 * fmean(wins), 100 * error, tuple(choices))


def by_weights(weights: Mapping[str, float]) -> Choice:
    """Chooses the response with the highest weighted sum of features."""
    return lambda example: _highest(scores(example.features, weights))


def by_feature(name: str, sign: float = 1.0) -> Choice:
    """Chooses the response with the highest, or with a negative `sign` the lowest, value of one feature."""
    return lambda example: _highest([sign * value for value in example.features[name]])


def oracle(example: Example) -> int:
    """Chooses the response that was in fact preferred most: what no choice can exceed."""
    return _highest(example.win_probabilities)


def cross_validated(
    examples: Sequence[Example], folds: int, seeds: Sequence[int], without: tuple[str, ...] = ()
) -> list[list[int]]:
    """Returns, for each seed, the choice for each prompt by weights that were fitted without it.

    Prompts are dealt into `folds` at random by the seed; each fold is chosen from with weights fitted on the others.
    The responses of models in `without` are left out of the fit, and are there to be chosen.
    """
    learnt_from = [_less(example, without) for example in examples]
    rows = {names: [_rows(example, names) for example in learnt_from] for names in (UNSIZED, SIZED)}
    return [_one_deal(examples, rows, folds, seed) for seed in seeds]


def _one_deal(
    examples: Sequence[Example], rows: Mapping[tuple[str, ...], list[NDArray[np.float64]]], folds: int, seed: int
) -> list[int]:
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)  # noqa: S311 - a deal, nobody's secret
    chosen = [0] * len(examples)
    for fold in range(folds):
        out = set(order[fold::folds])
        for names, of_examples in rows.items():
            choosers = [index for index in out if ("size" in examples[index].features) is (names is SIZED)]
            if choosers:
                weights = weights_of(
                    np.concatenate([one for index, one in enumerate(of_examples) if index not in out]), names
                )
                for index in choosers:
                    chosen[index] = by_weights(weights)(examples[index])
    return chosen


def _rows(example: Example | None, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Pairs of an example that has these features, none of another."""
    if example is None or not all(name in example.features for name in names):
        return np.zeros((0, len(names)))
    return pairs(example, names)


def fit_both(examples: Sequence[Example]) -> tuple[dict[str, float], dict[str, float]]:
    """Returns weights without and with sizes; without any sizes in the file, the latter are empty."""
    sized = [one for one in examples if "size" in one.features]
    return fit_weights(examples, UNSIZED), fit_weights(sized, SIZED) if sized else {}


def _less(example: Example, models: tuple[str, ...]) -> Example | None:
    """The example without the responses of these models; `None` if there is nothing left to compare."""
    kept = [index for index, model in enumerate(example.models) if model not in models]
    if len(kept) == len(example.models):
        return example
    return example.only(kept) if len(kept) > 1 else None


def _highest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda index: (values[index], -index))
