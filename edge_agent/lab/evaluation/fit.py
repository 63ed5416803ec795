"""Fits the weights of `scored` on preferences: logistic regression on pairs of responses to one prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.lab.evaluation.preferences import Example

SIZED: tuple[str, ...] = ("size", "length", "length_squared", "odd_phrases", "repetition")
UNSIZED: tuple[str, ...] = ("length", "agreement", "repetition")
"""What is fitted with and without sizes: those features that gain in cross-validation (docs/lab/SELECTION.md)."""

RIDGE = 10.0
"""The penalty on squared weights of features that are divided by their standard deviation. From 1 to 30 the result is
the same within its error."""
SPREAD_MIN = 1e-9
"""A feature with a standard deviation below it tells nothing and gets the weight 0: that is rounding alone."""
STEPS_MAX = 50  # of Newton's method; it ends after six or so
CLOSE = 1e-9


def fit_weights(examples: Sequence[Example], names: Sequence[str]) -> dict[str, float]:
    """Returns the weight of each feature of `names`, by which the odds of being preferred are best explained.

    Model: P(i preferred to j) = 1 / (1 + exp(-(s_i - s_j))), with s the weighted sum of features (Bradley and Terry
    1952). Every pair counts once, whichever was preferred more often won; equals are left out.

    Raises:
        ValueError: no pair of responses differs in preference.
    """
    differences = np.concatenate([pairs(example, names) for example in examples])
    return weights_of(differences, names)


def weights_of(differences: NDArray[np.float64], names: Sequence[str]) -> dict[str, float]:
    """Returns the weights for rows of winner's features less loser's; raises as `fit_weights` does."""
    if not len(differences):
        raise ValueError("no two responses to a prompt differ in preference")
    scale = differences.std(axis=0)
    tells = scale > SPREAD_MIN
    scaled = np.where(tells, differences / np.where(tells, scale, 1.0), 0.0)
    weights = np.zeros(len(names))
    for _ in range(STEPS_MAX):
        won = 1 / (1 + np.exp(-scaled @ weights))
        gradient = scaled.T @ (1 - won) - RIDGE * weights
        curvature = (scaled * (won * (1 - won))[:, None]).T @ scaled + RIDGE * np.eye(len(names))
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(step).max() < CLOSE:
            break
    return {name: float(weight) for name, weight in zip(names, weights / np.where(tells, scale, 1.0), strict=True)}


def pairs(example: Example, names: Sequence[str]) -> NDArray[np.float64]:
    """Returns a row for each pair of responses that differ in preference: the winner's features less the loser's."""
    table = np.array([example.features[name] for name in names]).T
    wins = example.win_probabilities
    places = range(len(wins))
    rows = [table[one] - table[other] for one in places for other in places if wins[one] > wins[other]]
    return np.array(rows).reshape(len(rows), len(names))
