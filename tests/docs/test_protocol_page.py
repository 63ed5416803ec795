"""docs/PROTOCOL.md says what the code does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_generated_tables_are_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, "scripts/protocol_doc.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run: python scripts/protocol_doc.py"
