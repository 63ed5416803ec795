"""Proposers draw otherwise than the aggregator: a seed or no dice at all must not make them say the same."""

from __future__ import annotations

from edge_agent.core.chat import Sampling
from edge_agent.core.effects import StartInference
from edge_agent.core.messages import ProposalRequest
from edge_agent.core.role_sampling import proposal_sampling
from tests.core.mesh import Mesh


def test_each_device_and_layer_has_a_seed_of_its_own_that_comes_again() -> None:
    wish = Sampling(seed=7, temperature=0.0)
    seeds = {(layer, name): proposal_sampling(wish, layer, name).seed for layer in (1, 2) for name in ("a", "b")}
    assert len(set(seeds.values())) == 4
    assert seeds == {(layer, name): proposal_sampling(wish, layer, name).seed for layer, name in seeds}
    assert proposal_sampling(Sampling(seed=8), 1, "a").seed != seeds[1, "a"]


def test_without_dice_proposers_throw_them_but_the_same_ones_each_time() -> None:
    sampling = proposal_sampling(Sampling(temperature=0.0), 1, "a")
    assert sampling.temperature > 0.5
    assert sampling.seed is not None
    assert sampling == proposal_sampling(Sampling(temperature=0.0), 1, "a")


def test_a_user_who_wishes_dice_without_a_seed_gets_others_each_time_and_as_hot() -> None:
    assert proposal_sampling(Sampling(temperature=1.3), 1, "a") == Sampling(temperature=1.3)


def test_stops_bind_the_answer_alone() -> None:
    assert proposal_sampling(Sampling(stop=("###",)), 1, "a").stop == ()


def test_in_a_mesh_every_proposer_draws_for_itself_and_the_aggregator_as_was_wished() -> None:
    mesh = Mesh(4)
    wish = Sampling(seed=7, temperature=0.0, stop=("###",))
    mesh.ask("d0", layers=2, fanout=2, sampling=wish)
    mesh.run()
    asked = [message.sampling for _, _, message in mesh.sent if isinstance(message, ProposalRequest)]
    assert len({sampling.seed for sampling in asked}) == len(asked) == 4
    assert wish not in asked
    own = [effect.sampling for name, effect in mesh.effects if name == "d0" and isinstance(effect, StartInference)]
    assert (len(own), own[-1]) == (3, wish)
    assert wish not in own[:-1]
