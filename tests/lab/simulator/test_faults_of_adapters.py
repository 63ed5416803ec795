"""What failed once around the core, and is withstood now: a seed shows each.

Every row was first seen failing on the core of before, or with its safeguard taken away, which is that core again. To
find the seed: `moamesh simulate --faults FAULTS --seeds 1..100 --without SAFEGUARD`.
"""

from __future__ import annotations

import pytest

from edge_agent.lab.simulator.faults.ablations import without
from edge_agent.lab.simulator.faults.kinds import parse_faults
from edge_agent.lab.simulator.faults.run import SeedOutcome, run_seed

SEEDS = range(1, 101)

SHOWN = [
    # an end that came while a device was down was handed to a transport that had not started, and told to nobody
    ("owed-until-connected", "transport,crash", "nothing stays owed"),
    # an engine that raised what no engine should left its one server occupied for ever
    ("engine-outcome", "exception", "every accepted prompt ends exactly once"),
    # a device whose model was gone went on accepting, and failed each prompt in a millisecond
    ("engine-health", "unable", "who cannot infer is not asked"),
    ("able-peers", "unable", "who cannot infer is not asked"),
    # nine honest responses of 32 KiB made a body that nobody takes; healthy peers were suspected for their silence
    ("reference-sizes", "sizes", "no message is dropped unheard for its size"),
    # a full disk's receipt said that the prompt was journalled
    ("not-durable", "journal,crash", "every accepted prompt ends exactly once"),
    # an item ran on after its deadline, and for a device that was gone
    ("running-deadline", "endless,loss", "no item runs past its deadline"),
    ("lost-origin", "crash,loss", "nobody works for a device that is gone"),
    # 256 other answers, and the same prompt was inferred a second time
    ("answers-kept", "repeats", "no prompt is worked on again, nor called gone, while its answer is kept"),
    # a card that takes seconds: what is said before the write ends
    ("journal-before-receipt", "card", "a durable receipt holds"),
    ("journal-before-answer", "card", "every accepted prompt ends exactly once"),
]


@pytest.mark.parametrize(("safeguard", "faults", "checker"), SHOWN, ids=[row[0] for row in SHOWN])
def test_a_seed_is_caught_without_its_safeguard_and_holds_with_it(safeguard: str, faults: str, checker: str) -> None:
    kinds = parse_faults(faults)
    with without(safeguard):
        caught = next((seed for seed in SEEDS if run_seed(seed, kinds).checker == checker), None)
    assert caught is not None, f"no seed of {SEEDS} was caught"
    held = run_seed(caught, kinds)
    assert held.outcome is SeedOutcome.HELD, f"seed {caught}: {held.checker}: {held.detail}"
    assert held.accepted - held.excused == held.ended == held.told


@pytest.mark.parametrize(
    "faults",
    ["transport,crash", "sizes,crash", "freeze,loss", "clone,crash", "retain,crash", "journal,crash", "card,crash"],
)
def test_the_first_seeds_of_a_kind_with_deaths_hold(faults: str) -> None:
    for seed in range(1, 7):
        result = run_seed(seed, parse_faults(faults))
        assert result.outcome is SeedOutcome.HELD, (
            f"--faults {faults} --seeds {seed}: {result.checker}: {result.detail}"
        )
