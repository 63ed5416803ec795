"""The app's types and shapes say what the device's message classes say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_apps_messages_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/app_types.py", "--check"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
