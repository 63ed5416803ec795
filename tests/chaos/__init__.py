"""Chaos on real processes, and the soak: `make chaos` and `make soak`.

`python -m tests.chaos` runs a mesh of real processes in namespaces of its own, does to it what a seeded schedule says,
and looks at the end whether every promise was kept. `python -m tests.chaos.soak` runs the same mesh in peace for long
and looks whether anything grows. Both need root and Linux; tests of theirs are in `test_*.py` beside them.
"""
