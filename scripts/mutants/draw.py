"""Draws mutants of modules with cosmic-ray's operators: one JSON object a line. Runs in an environment of its own.

    python -m scripts.mutants.draw SEED COUNT FOLDER...

Type annotations are left alone: nothing runs them. The same seed draws the same mutants of the same sources.
"""

from __future__ import annotations

import difflib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code


def _operators() -> Iterator[tuple[str, Any]]:
    for name in sorted(cosmic_ray.plugins.operator_names()):
        operator = cosmic_ray.plugins.get_operator(name)
        if not operator.arguments():
            yield name, operator()


def _places(source: str) -> Iterator[tuple[str, Any, int, int]]:
    """Yields (operator's name, operator, occurrence, line) of all that could be mutated."""
    tree = get_ast(source)
    for name, operator in _operators():
        occurrence = 0
        for node in ast_nodes(tree):
            for start, _ in operator.mutation_positions(node):
                if not _is_of_type(node):
                    yield name, operator, occurrence, start[0]
                occurrence += 1


def _is_of_type(node: Any) -> bool:
    """Whether a node stands in an annotation, or is the `*` of a signature: nothing computes it."""
    child, parent = node, node.parent
    while parent is not None:
        if parent.type == "annassign" and child is parent.children[1]:
            return True
        if parent.type == "tfpdef" and child is parent.children[2]:
            return True
        if parent.type == "funcdef" and parent.annotation is child:
            return True
        if parent.type == "parameters" and child.type == "operator":
            return True
        child, parent = parent, parent.parent
    return False


def _is_for_readers(line: str) -> bool:
    """Whether a line changes nothing that a program does: for type checkers, or for memory."""
    return line.strip() == "@final" or "slots=True" in line


def draw(seed: int, count: int, folders: list[Path]) -> Iterator[dict[str, Any]]:
    """Yields mutants: path, operator, line, the change as a diff, and the whole mutated source."""
    sources = {path: path.read_text() for folder in folders for path in sorted(folder.rglob("*.py"))}
    every = [
        (path, *place)
        for path, source in sources.items()
        for place in _places(source)
        if not _is_for_readers(source.splitlines()[place[3] - 1])
    ]
    for path, name, operator, occurrence, line in random.Random(seed).sample(every, min(count, len(every))):
        source = sources[path]
        mutated = mutate_code(source, operator, occurrence) or source
        change = difflib.unified_diff(source.splitlines(), mutated.splitlines(), lineterm="", n=0)
        told = [text for text in change if text[:1] in "+-" and text[:3] not in ("+++", "---")]
        yield {"path": str(path), "operator": name, "line": line, "change": told, "source": mutated}


if __name__ == "__main__":
    for mutant in draw(int(sys.argv[1]), int(sys.argv[2]), [Path(text) for text in sys.argv[3:]]):
        print(json.dumps(mutant))
