"""The length-controlled win rate, as AlpacaEval 2 defines it (Dubois et al. 2024, arXiv 2404.04475)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from edge_agent.lab.evaluation.preferences import Example

PROBABILITY_MIN = 1e-4  # of a preference: its logarithm must be finite
RIDGE = 1e-3
STEPS_MAX = 100
CLOSE = 1e-9


def length_controlled(examples: Sequence[Example], choices: Sequence[int]) -> float | None:
    """Returns the win rate in percent that the choices would have if they were as long as what they were compared with.

    logit P(preferred) = t + f tanh((length - baseline's) / deviation) + g difficulty, fitted on the choices; then f's
    term is left out and the mean taken. AlpacaEval takes the difficulty of a prompt from all models of its leaderboard;
    here it is the mean logit of the responses in the file, less its mean. `None` without lengths of the baseline.
    """
    if any(example.baseline_length is None for example in examples):
        return None
    chosen = list(zip(examples, choices, strict=True))
    longer = np.array([len(one.responses[index].text) - (one.baseline_length or 0) for one, index in chosen], float)
    lengths = np.tanh(longer / (longer.std() or 1.0))
    difficulty = np.array([_mean_logit(example.win_probabilities) for example in examples])
    difficulty -= difficulty.mean()
    wins = np.array([one.win_probabilities[index] for one, index in chosen])
    table = np.stack([np.ones_like(lengths), lengths, difficulty], axis=1)
    found = np.zeros(3)
    for _ in range(STEPS_MAX):
        expected = 1 / (1 + np.exp(-table @ found))
        gradient = table.T @ (wins - expected) - RIDGE * found
        curvature = (table * (expected * (1 - expected))[:, None]).T @ table + RIDGE * np.eye(3)
        step = np.linalg.solve(curvature, gradient)
        found += step
        if np.abs(step).max() < CLOSE:
            break
    return float(100 * (1 / (1 + np.exp(-(found[0] + found[2] * difficulty)))).mean())


def _mean_logit(probabilities: Sequence[float]) -> float:
    bounded = [min(max(one, PROBABILITY_MIN), 1 - PROBABILITY_MIN) for one in probabilities]
    return fmean(math.log(one / (1 - one)) for one in bounded)
