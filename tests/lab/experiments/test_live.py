"""Part (c) with three real device processes, a real broker and telemetry files; and what is computed from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config import load_config
from edge_agent.fleet.device_config import write_device_config
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.lab.experiments.live_load import live_point, live_section
from edge_agent.lab.experiments.live_run import LiveLoad, run_live


@pytest.mark.broker
async def test_a_live_mesh_under_load_is_measured_by_its_own_telemetry():
    load = LiveLoad(
        devices=3, layers=1, fanout=1, service="deterministic:0.05", arrival_rate_hz=2.0, warm_up_s=1.0, measured_s=4.0
    )
    result = await run_live(load)
    assert [device.device_id for device in result.devices] == ["device-1", "device-2", "device-3"]
    assert result.sent > 0
    assert set(result.ends) == {"answered"}
    point = live_point(0.3, result)
    assert point.service_s >= 0.05  # an item never takes less than declared
    assert 0.0 < point.utilisation <= 1.0
    assert point.load == pytest.approx(point.service_s * 3 * point.arrival_rate_hz)
    assert len(point.series) >= 5


@pytest.mark.broker
@pytest.mark.long
async def test_the_quick_live_part_grows_above_one_and_not_below():
    steps: list[int] = []
    section = await live_section(quick=True, progress=lambda done, total: steps.append(done))
    assert steps == [1, 2]
    assert len(section.rows) == 2
    growth = [float(row[section.header.index("growth /s")]) for row in section.rows]
    predicted = [float(row[section.header.index("fluid limit")]) for row in section.rows]
    assert predicted[0] == 0.0 < predicted[1]
    assert growth[0] < growth[1]


def test_a_fleets_plan_can_set_what_its_devices_agents_do(tmp_path: Path):
    plan = FleetPlan(
        2, EngineKind.SYNTHETIC, layers=1, agent={"queue_capacity": 7, "deadline_s": None, "status_interval_s": 3.0}
    )
    agent = load_config(write_device_config(plan, 0, "mqtt://127.0.0.1:1", tmp_path)).agent
    assert (agent.queue_capacity, agent.deadline_s, agent.status_interval_s, agent.layers) == (7, None, 3.0, 1)
