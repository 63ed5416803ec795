"""The report on the paper: its first bar, its pages, its command."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli.main import app
from edge_agent.lab.experiments.paper_sections import DEVIATION_MAX
from edge_agent.lab.experiments.sections import kept
from edge_agent.lab.experiments.stable import scenarios
from edge_agent.lab.experiments.table import ROWS
from edge_agent.lab.experiments.transient import SEEDS_QUICK, run_once, run_transient


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["experiment", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def test_every_latency_of_table_1_is_met_within_12_percent():
    rows = run_transient(SEEDS_QUICK, lambda done, total: None)
    assert [row.paper for row in rows] == list(ROWS)
    assert {row.paper.plan: row.deviation for row in rows if abs(row.deviation) > DEVIATION_MAX} == {}


def test_ten_prompts_at_one_device_each_are_worked_off_by_hand():
    # M = 0: devices are independent M/D/1 queues; with k = 0 no items of others ever wait here
    latency, queue, papers_way = run_once(0, 0, seed=1)
    assert 47.0 <= latency < 470.0
    assert 0.0 < queue < papers_way  # the paper's way counts who waits at the end of a service as if all along


def test_a_wider_fanout_does_all_of_the_work_at_all_of_the_devices():
    # M = 1, k = 3, n = 4: each device proposes for all 10 prompts, then aggregates its own; one stream of 47 s each
    latency, queue, _ = run_once(1, 3, seed=2)
    assert 10 * 47.0 < latency < 20 * 47.0
    assert queue > 2.0


def test_the_stable_regime_has_every_plan_of_the_table_at_every_load():
    plans = {(one.layers, one.fanout) for one in scenarios(quick=False) if one.devices == 4}
    assert plans == {(row.layers, row.fanout) for row in ROWS}
    loads = [one.utilisation or 0.0 for one in scenarios(quick=False)]
    assert (min(loads), max(loads)) == (0.3, 0.95)


@pytest.fixture(scope="module")
def quick_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    status, _, said = invoke("paper", "--quick", "--output", str(folder))
    assert status == 0, said
    return folder


@pytest.mark.long
def test_the_quick_report_has_both_simulated_parts_on_both_pages(quick_report: Path):
    page, text = (quick_report / "report.html").read_text(), (quick_report / "report.md").read_text()
    assert page.count("<svg") == 2
    for name in re.findall(r"\]\((\S+\.svg)\)", text):
        assert (quick_report / name).stat().st_size > 1_000
    for row in ROWS:
        assert f"| {row.plan} |" in text
    assert "Met: every latency" in text
    assert text.count("| n=4, M=1, k=2 |") == 2  # two loads


@pytest.mark.long
def test_a_later_part_joins_what_the_folder_has(quick_report: Path, tmp_path: Path):
    shutil.copy(quick_report / "part-b.json", tmp_path)
    assert invoke("paper", "--quick", "--part", "a", "--output", str(tmp_path))[0] == 0
    assert [section.key for section in kept(tmp_path, ("a", "b", "c", "d"))] == ["a", "b"]
    assert (tmp_path / "report.md").read_text().count("\n## (") == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("paper", "--part", "e", "--output", "{}"), "--part must be one of"),
        (("paper", "--part", "d", "--prompts", "{}/none.json", "--output", "{}"), "cannot read"),
        (("paper", "--part", "d", "--output", "{}"), "give --prompts FILE"),
        (("paper", "--output", "{}"), "give --prompts FILE"),  # all four parts, and before the first of them
        (("paper", "--part", "a", "--output", "{}/file/below"), "cannot write"),
        (("theory", "--output", "{}/file"), "cannot write"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(tmp_path: Path, arguments: tuple[str, ...], says: str):
    (tmp_path / "file").write_text("")
    status, _, said = invoke(*(argument.format(tmp_path) for argument in arguments))
    assert status == 2
    assert says in said
    assert said.count("\n") == 1


def test_a_damaged_part_is_named_before_the_work(tmp_path: Path):
    (tmp_path / "part-b.json").write_text("{}")
    status, _, said = invoke("paper", "--quick", "--part", "a", "--output", str(tmp_path))
    assert status == 2
    assert "part-b.json" in said
    assert not (tmp_path / "part-a.json").exists()
