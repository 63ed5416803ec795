"""`python -m tests.hostile.guided FOLDER -max_total_time=600`: the codec fuzzed by what its Python code covers.

Needs `pip install atheris` beside what `make install` sets up; it is no dependency, since most of the codec's work is
done in Rust, where it sees nothing. FOLDER keeps what was found to lead further. The options are libFuzzer's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edge_agent.wire"]):
    from tests.hostile.bodies import Bodies
    from tests.hostile.check_codec import check


def main() -> None:
    """Fuzzes until libFuzzer ends; it prints and keeps the body that something does not hold of."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    bodies = Bodies("guided")
    for number in range(300):
        (folder / f"begin-{number}").write_bytes(bodies.next())
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
