"""The app's types and shapes, and the values it is tested with, are what the device's own code says."""

from __future__ import annotations

from types import ModuleType

import pytest

from scripts import app_cases, app_types


@pytest.mark.parametrize("script", [app_types, app_cases], ids=lambda script: script.__name__.rpartition(".")[2])
def test_what_the_app_knows_of_the_code_is_what_the_code_says(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--check"]) == 0, capsys.readouterr().err
