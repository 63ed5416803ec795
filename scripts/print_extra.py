"""Prints the requirements of one extra of pyproject.toml, so that they are written in one place only."""

import sys
import tomllib
from pathlib import Path

pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
extras = tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"]
print(*extras[sys.argv[1]])
