"""Nobody waits with a bound of their own: it would be too short on some machine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WAITS = {"timeout": 0, "wait_for": 1}
"""Calls whose argument at this place is a bound in seconds."""

LET_THROUGH = {
    "tests/adapters/test_synthetic.py": "what is cancelled there would take ten minutes",
    "tests/adapters/test_engine_faults.py": "its child is stopped and cannot answer",
    "tests/runtime/test_home.py": "nothing is to happen within it",
    "tests/runtime/test_engine_outcomes.py": "the time is over at once, on purpose",
    "tests/gateway/test_choice.py": "nothing is to happen within it",
    "tests/chaos/world.py": "one try of many, in a loop with the one bound",
    "tests/chaos/test_chaos.py": "the bound of one test in all, an hour",
}
"""Files with a bound that no machine is too slow for, and why."""


def own_bounds(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if not any(name in text for name in WAITS):
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = [word.value for word in node.keywords if word.arg == "timeout"]
            if name in WAITS and len(node.args) > WAITS[name]:
                given.append(node.args[WAITS[name]])
            if any(isinstance(one, ast.Constant) and isinstance(one.value, int | float) for one in given):
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:80]}"


def test_every_wait_has_the_one_bound_of_all() -> None:
    files = [path for path in (ROOT / "tests").rglob("*.py") if path.relative_to(ROOT).parts[1] != "flash"]
    found = [
        one for path in sorted(files) if str(path.relative_to(ROOT)) not in LET_THROUGH for one in own_bounds(path)
    ]
    assert found == [], "take PATIENCE_S of tests/support/patience.py"
