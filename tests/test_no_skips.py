from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPS = {
    "a mark": "import pytest\n@pytest.mark.skip(reason='no broker here')\ndef test_a(): pass\n",
    "a call": "import pytest\ndef test_a(): pytest.skip('no broker here')\n",
    "a fixture": "import pytest\n@pytest.fixture\ndef f(): pytest.skip('no broker here')\ndef test_a(f): pass\n",
    "a module": "import pytest\npytest.skip('no broker here', allow_module_level=True)\n",
    "an import": "import pytest\npytest.importorskip('no_such_module', reason='no broker here')\n",
}
FINE = "import pytest\ndef test_a(): pass\n@pytest.mark.xfail(reason='known')\ndef test_b(): raise AssertionError\n"


def run_pytest(folder: Path, text: str, ci: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_one.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p tests.no_skips -p no:cacheprovider -ra\n")
    command = [sys.executable, "-m", "pytest", "--rootdir", str(folder), *options, str(folder)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"CI": ci}, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("how", "options"), [*((how, ()) for how in SKIPS), ("a call", ("-n", "2")), ("a module", ("-n", "2"))]
)
def test_a_skip_fails_in_ci_and_says_why(tmp_path, how, options):
    done = run_pytest(tmp_path, SKIPS[how], "true", *options)
    assert done.returncode in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED), done.stdout
    assert "nothing may be skipped with CI=true: " in done.stdout
    assert "no broker here" in done.stdout


def test_a_skip_is_only_listed_elsewhere(tmp_path):
    done = run_pytest(tmp_path, SKIPS["a call"], "")
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "no broker here" in done.stdout


def test_what_runs_in_ci_is_untouched(tmp_path):
    done = run_pytest(tmp_path, FINE, "true")
    assert done.returncode == pytest.ExitCode.OK, done.stdout
