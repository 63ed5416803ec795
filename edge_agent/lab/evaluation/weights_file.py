"""The module that holds `scored`'s weights, written by `moamesh evaluate --fit`."""

from __future__ import annotations

import datetime
import textwrap
from typing import Any

from edge_agent.core.errors import SettingsError
from edge_agent.lab.evaluation.preferences import Preferences
from edge_agent.lab.evaluation.selections import fit_both
from edge_agent.lab.evaluation.study import FOLDS, evaluate

DIGITS = 3  # of a weight: what follows is far below its error
WIDTH = 115  # of a line of the module


def fitted(preferences: Preferences, today: datetime.date | None = None) -> dict[str, Any]:
    """Returns the weights fitted on all prompts, with what they come from and how good they are on prompts not seen.

    Raises:
        SettingsError: no model of the file has a known size, which the weights with sizes need.
    """
    without, sized = fit_both(preferences.examples)
    if not sized:
        raise SettingsError("the fit needs models of known size: give generators their parameters_b")
    study = evaluate(preferences, "scored")
    return {
        "with_sizes": _rounded(sized),
        "without_sizes": _rounded(without),
        "date": (today or datetime.datetime.now(datetime.UTC).date()).isoformat(),
        "source": preferences.source,
        "prompts": study.prompts,
        "models": list(preferences.families),
        "win_rate": round(study.policy.win_rate, 1),
        "standard_error": round(study.policy.error, 1),
        "folds": FOLDS,
    }


def module_text(found: dict[str, Any]) -> str:
    """Returns the source of `edge_agent/core/policies/scored_weights.py`."""
    folds = found["folds"]
    origin = f"Fitted on {found['date']}: {found['prompts']} prompts, responses of {', '.join(found['models'])}. "
    source = " ".join(found["source"].replace('"', "'").split()).rstrip(".") or "not stated"
    quality = (
        f"Chosen by weights that were fitted on {folds - 1} of {folds} folds, responses to the others were preferred "
        f"to the baseline's in {found['win_rate']} % (standard error {found['standard_error']})."
    )
    about = "\n\n".join(textwrap.fill(one, WIDTH) for one in (origin, f"Source: {source}.", quality))
    return (
        f'"""The weights of `scored`, written by `moamesh evaluate FILE --fit --output` this file.\n\n{about}\n"""\n\n'
        f"{_constant('WITH_SIZES', found['with_sizes'])}\n{_constant('WITHOUT_SIZES', found['without_sizes'])}"
    )


def _constant(name: str, weights: dict[str, float]) -> str:
    rows = "".join(f'    "{feature}": {weight},\n' for feature, weight in weights.items())
    return f"{name} = {{\n{rows}}}\n"


def _rounded(weights: dict[str, float]) -> dict[str, float]:
    return {name: round(weight, DIGITS) for name, weight in weights.items()}
