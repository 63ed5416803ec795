"""Decisions that can be exchanged, each chosen by name and each tiny.

A policy is an object with one method, made once per device. It sees only its arguments: no clock, no state of the
agent, and randomness only where a stream is handed in. Third parties add their own by passing `extra` factories.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_agent.core.errors import SettingsError
from edge_agent.core.policies.adaptive import Adaptive
from edge_agent.core.policies.arguments import expect_none
from edge_agent.core.policies.budget import Budget
from edge_agent.core.policies.choices import Choices
from edge_agent.core.policies.early_stop import Agreement, EarlyStop, Never
from edge_agent.core.policies.join import Join, Quorum, WaitForAll
from edge_agent.core.policies.judge import Judge, JudgeStop
from edge_agent.core.policies.latency_threshold import LatencyThreshold
from edge_agent.core.policies.layer_plan import Fixed, LayerPlan
from edge_agent.core.policies.model_kinds import Diverse, SameModel
from edge_agent.core.policies.peer_selection import PeerSelection, Uniform
from edge_agent.core.policies.response_selection import AllResponses, Consensus, ResponseSelection
from edge_agent.core.policies.scored import Scored
from edge_agent.core.settings import AgentSettings

PolicyFactory = Callable[[str], object]
"""Makes a policy from the text between the brackets of its name: "2" in "quorum(2)", "" without brackets."""


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of one device, with their names for provenance."""

    peer_selection: PeerSelection
    response_selection: ResponseSelection
    join: Join
    early_stop: EarlyStop
    layer_plan: LayerPlan
    names: tuple[tuple[str, str], ...]


def _plain(name: str, make: Callable[[], object]) -> PolicyFactory:
    """A policy that takes no argument."""

    def factory(argument: str) -> object:
        expect_none(name, argument)
        return make()

    return factory


BUILT_IN: dict[str, dict[str, PolicyFactory]] = {
    "peer_selection": {
        "uniform": _plain("uniform", Uniform),
        "two-choices": _plain("two-choices", lambda: Choices(2)),
        "choices": Choices.from_argument,
        "latency-threshold": LatencyThreshold.from_argument,
        "budget": Budget.from_argument,
        "diverse": _plain("diverse", Diverse),
        "same-model": SameModel.from_argument,
    },
    "response_selection": {
        "all": _plain("all", AllResponses),
        "consensus": Consensus.from_argument,
        "judge": Judge.from_argument,
        "scored": Scored.from_argument,
    },
    "join": {"wait-for-all": _plain("wait-for-all", WaitForAll), "quorum": Quorum.from_argument},
    "early_stop": {
        "never": _plain("never", Never),
        "agreement": Agreement.from_argument,
        "judge": _plain("judge", JudgeStop),
    },
    "layer_plan": {"fixed": _plain("fixed", Fixed), "adaptive": Adaptive.from_argument},
}
"""Factories by kind and name."""

_METHODS = {
    "peer_selection": "select",
    "response_selection": "choose",
    "join": "is_joined",
    "early_stop": "stops",
    "layer_plan": "plan",
}


def make_policies(settings: AgentSettings, extra: Mapping[str, Mapping[str, PolicyFactory]] | None = None) -> Policies:
    """Makes the policies that `settings` names.

    Args:
        settings: `peer_selection`, `response_selection`, `join`, `early_stop` and `layer_plan` hold names, with an
            argument in brackets where the policy takes one.
        extra: further factories, by kind and name.

    Raises:
        SettingsError: a name is not known, or its argument is wrong.
    """
    made: dict[str, object] = {}
    names = []
    for kind, built_in in BUILT_IN.items():
        text = getattr(settings, kind)
        name, bracket, argument = text.partition("(")
        factories = {**built_in, **(extra or {}).get(kind, {})}
        if name not in factories or (bracket and not argument.endswith(")")):
            raise SettingsError(f"{kind}: no policy {text!r}; there are: {', '.join(sorted(factories))}")
        try:
            made[kind] = factories[name](argument[:-1])
        except ValueError as error:
            raise SettingsError(f"{kind}: {text!r}: {error}") from None
        if not callable(getattr(made[kind], _METHODS[kind], None)):
            raise SettingsError(f"{kind}: {text!r} is no such policy: it has no method {_METHODS[kind]!r}")
        names.append((kind, text))
    return Policies(**made, names=tuple(names))  # type: ignore[arg-type]  # factories are typed by their table row
