from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.quick import starts_something

TESTS = Path(__file__).parent
SPAWNS = "import os\ndef test_a(): os.posix_spawn('/bin/true', ['true'], {})\ndef test_b(): pass\n"


def test_what_computes_is_quick_and_what_starts_something_is_not_though_only_by_a_helper() -> None:
    for name in ("core/test_queue.py", "wire/test_codec.py", "cli/test_summary.py"):
        assert not starts_something(TESTS / name), name
    starting = ("broker/test_embedded.py", "app/test_asking.py", "gateway/test_errors.py", "models/test_optimise.py")
    for name in (*starting, "docs/test_asyncapi.py"):
        assert starts_something(TESTS / name), name


def test_a_quick_test_that_starts_something_fails_and_says_where_to_look(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SPAWNS)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p tests.quick -p no:cacheprovider\n")
    command = [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "this test starts something; see tests/quick.py" in done.stdout
