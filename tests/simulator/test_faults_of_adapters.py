"""What failed once around the core, and is withstood now: each with the seed that shows it.

Every row was first seen failing on the core of before, or with its safeguard taken away, which is that core again. To
repeat one: `moamesh simulate --faults FAULTS --seeds SEED --without SAFEGUARD`.
"""

from __future__ import annotations

import pytest

from edge_agent.simulator.faults.ablations import without
from edge_agent.simulator.faults.kinds import parse_faults
from edge_agent.simulator.faults.run import Verdict, run_seed

SHOWN = [
    # an end that came while a device was down was handed to a transport that had not started, and told to nobody
    ("owed-until-connected", "transport,crash", 43, "nothing stays owed"),
    # an engine that raised what no engine should left its one server occupied for ever
    ("engine-outcome", "exception", 4, "every accepted prompt ends exactly once"),
    # a device whose model was gone went on accepting, and failed each prompt in a millisecond
    ("engine-health", "unable", 1, "who cannot infer is not asked"),
    ("able-peers", "unable", 4, "who cannot infer is not asked"),
    # nine honest responses of 32 KiB made a body that nobody takes; healthy peers were suspected for their silence
    ("reference-sizes", "sizes", 5, "no message is dropped unheard for its size"),
    # a full disk's receipt said that the prompt was journalled
    ("not-durable", "journal,crash", 14, "every accepted prompt ends exactly once"),
    # an item ran on after its deadline, and for a device that was gone
    ("running-deadline", "endless,loss", 5, "no item runs past its deadline"),
    ("lost-origin", "crash,loss", 57, "nobody works for a device that is gone"),
    # 256 other answers, and the same prompt was inferred a second time
    ("answers-kept", "repeats", 1, "no prompt is worked on again while its answer is kept"),
    # a card that takes seconds: what is said before the write ends
    ("journal-before-receipt", "card", 1, "a durable receipt holds"),
    ("journal-before-answer", "card", 1, "every accepted prompt ends exactly once"),
]


@pytest.mark.parametrize(("safeguard", "faults", "seed", "checker"), SHOWN, ids=[row[0] for row in SHOWN])
def test_the_seed_is_caught_without_its_safeguard_and_holds_with_it(
    safeguard: str, faults: str, seed: int, checker: str
) -> None:
    kinds = parse_faults(faults)
    with without(safeguard):
        caught = run_seed(seed, kinds)
    assert (caught.checker, caught.verdict is Verdict.HELD) == (checker, False), caught.detail
    held = run_seed(seed, kinds)
    assert held.verdict is Verdict.HELD, f"{held.checker}: {held.detail}"
    assert held.accepted - held.excused == held.ended == held.told


@pytest.mark.parametrize(
    "faults",
    ["transport,crash", "sizes,crash", "freeze,loss", "clone,crash", "retain,crash", "journal,crash", "card,crash"],
)
def test_the_first_seeds_of_a_kind_with_deaths_hold(faults: str) -> None:
    for seed in range(1, 7):
        result = run_seed(seed, parse_faults(faults))
        assert result.verdict is Verdict.HELD, f"--faults {faults} --seeds {seed}: {result.checker}: {result.detail}"
