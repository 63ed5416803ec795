"""Fixtures of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.databases import DatabaseServer, influxdb, running, victoria_metrics

__all__ = ["influxdb", "victoria_metrics"]


@pytest.fixture(params=["influxdb", "victoria-metrics"])
def database(request: pytest.FixtureRequest, tmp_path: Path):
    """Each kind of database in turn."""
    with running(DatabaseServer(request.param, tmp_path / request.param)) as server:
        yield server
