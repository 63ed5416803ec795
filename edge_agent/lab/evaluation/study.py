"""A response selection beside what else could be chosen, on one file of preferences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, final

from edge_agent.core.errors import SettingsError
from edge_agent.core.policies import make_policies
from edge_agent.core.settings import AgentSettings
from edge_agent.lab.evaluation.length_control import length_controlled
from edge_agent.lab.evaluation.preferences import Example, Preferences
from edge_agent.lab.evaluation.selections import Choice, WinRate, by_feature, cross_validated, oracle, rate_of, win_rate

FOLDS = 5
REPEATS = 10  # deals of the prompts into folds: the figure moves by about half a percent from deal to deal
CROSS_VALIDATED = "scored"


@final
@dataclass(frozen=True, slots=True)
class Row:
    """What one way to choose came to, in percent. `length_controlled` is `None` without lengths of the baseline."""

    name: str
    win_rate: float
    error: float
    length_controlled: float | None

    def as_object(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "name": self.name,
            "win_rate": round(self.win_rate, 2),
            "standard_error": round(self.error, 2),
            "length_controlled": None if self.length_controlled is None else round(self.length_controlled, 2),
        }


@final
@dataclass(frozen=True, slots=True)
class Study:
    """The policy's row, its rows with models left out of the fit, and what it is compared with."""

    policy: Row
    folds: int | None
    """How many folds it was fitted and scored on; `None` where nothing was fitted."""
    left_out: tuple[Row, ...]
    others: tuple[Row, ...]
    prompts: int
    source: str

    def as_object(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "policy": self.policy.name,
            **{name: value for name, value in self.policy.as_object().items() if name != "name"},
            "folds": self.folds,
            "repeats": REPEATS if self.folds else None,
            "prompts": self.prompts,
            "left_out_of_the_fit": [row.as_object() for row in self.left_out],
            "others": [row.as_object() for row in self.others],
            "source": self.source,
        }


def evaluate(
    preferences: Preferences, policy: str, seed: int = 1, progress: Callable[[int, int], None] = lambda done, all_: None
) -> Study:
    """Scores a response selection that keeps one response.

    `scored` is fitted on folds and scored on the rest of the prompts, `REPEATS` times; then again with each model and
    each model family left out of the fit. Any other policy is asked as it is. `progress(done, all)` is called between.

    Raises:
        SettingsError: there is no such policy, or it asks an LLM.
    """
    examples = preferences.examples
    fitted = policy == CROSS_VALIDATED
    groups = _left_out(preferences) if fitted else {}
    steps = 1 + len(groups)
    progress(0, steps)
    row = _cross(policy, examples, seed) if fitted else _row(policy, examples, win_rate(examples, _named(policy)))
    left_out = []
    for done, (name, models) in enumerate(groups.items(), 1):
        progress(done, steps)
        left_out.append(_cross(name, examples, seed, models))
    progress(steps, steps)
    return Study(
        row, FOLDS if fitted else None, tuple(left_out), tuple(_others(preferences)), len(examples), preferences.source
    )


def _cross(name: str, examples: Sequence[Example], seed: int, without: tuple[str, ...] = ()) -> Row:
    deals = cross_validated(examples, FOLDS, range(seed, seed + REPEATS), without)
    rows = [_row(name, examples, rate_of(examples, chosen)) for chosen in deals]
    controlled = [row.length_controlled for row in rows if row.length_controlled is not None]
    return Row(
        name,
        fmean(row.win_rate for row in rows),
        fmean(row.error for row in rows),  # of the prompts: the deals share them
        fmean(controlled) if controlled else None,
    )


def _named(policy: str) -> Choice:
    """The response selection of that name, keeping one response; its argument may be given or left out."""
    text = policy if policy.endswith(")") else f"{policy}(1)"
    try:
        selection = make_policies(AgentSettings(response_selection=text)).response_selection
    except SettingsError as error:
        raise SettingsError(f"--policy: {error}") from None
    if policy.startswith(("judge", "all")):
        raise SettingsError(f"--policy: {policy} does not choose one response without an LLM")
    return lambda example: selection.choose(example.responses)[0]


def _others(preferences: Preferences) -> list[Row]:
    examples = preferences.examples
    at_random = fmean(fmean(example.win_probabilities) for example in examples)
    rows = [
        Row("random", 100 * at_random, win_rate(examples, lambda example: 0).error, None),
        *(
            _row(name, examples, win_rate(examples, choose))
            for name, choose in (
                ("longest", by_feature("length")),
                ("consensus(1)", _named("consensus(1)")),
                ("most words in common", by_feature("agreement")),
            )
        ),
    ]
    sized = [example for example in examples if "size" in example.features]
    if sized:
        rows.append(_row("largest model", sized, win_rate(sized, by_feature("size"))))
    for model in preferences.families:
        those = [example for example in examples if model in example.models]
        rows.append(_row(model, those, rate_of(those, [example.models.index(model) for example in those])))
    rows.append(_row("best possible choice", examples, win_rate(examples, oracle)))
    return rows


def _row(name: str, examples: Sequence[Example], found: WinRate) -> Row:
    return Row(name, found.percent, found.error, length_controlled(examples, found.choices))


def _left_out(preferences: Preferences) -> dict[str, tuple[str, ...]]:
    """Names of what is left out of a fit, with its models: each model, and each family of several."""
    families = preferences.families
    groups: dict[str, tuple[str, ...]] = {f"without {model}": (model,) for model in families}
    for family in sorted(set(families.values())):
        models = tuple(model for model, of in families.items() if of == family)
        if len(models) > 1:
            groups[f"without the family {family}"] = models
    return groups
