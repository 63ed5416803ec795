"""A file of prompts from start to table: on a local fleet, or on a mesh that is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from edge_agent.cli.local.mesh import shown_fleet
from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.prompts.run import PromptsRun, run_prompts_over
from edge_agent.cli.prompts.summary import RunSummary
from edge_agent.cli.prompts.view import load_markdown, load_table
from edge_agent.cli.results import AskResult
from edge_agent.cli.terminal import console as make_console
from edge_agent.cli.terminal import print_json
from edge_agent.fleet.plan import FleetPlan


async def run_and_report(
    console: Console,
    run: PromptsRun,
    plan: FleetPlan | None,
    address: MeshAddress | None,
    *,
    report: Path | None,
    json: bool,
) -> bool:
    """Runs and shows; exactly one of `plan` and `address` is given. Returns whether every prompt was answered."""
    if plan is not None:
        async with shown_fleet(console, plan) as fleet:
            where = MeshAddress(fleet.url, fleet.mesh)
            summary, results = await run_prompts_over(
                console,
                where,
                run,
                devices_min=plan.devices,
                status_interval_s=2 * plan.status_interval_s,
                dies_with=fleet.until_died,
            )
    elif address is not None:
        summary, results = await run_prompts_over(console, address, run)
    else:
        raise ValueError("neither a fleet nor a mesh")
    if report is not None:
        await asyncio.to_thread(report.write_text, load_markdown(summary, "A run of prompts"), encoding="utf-8")
    if json:
        print_json(summary.as_object())
    else:
        make_console().print(load_table(summary))
    _tell(console, run, summary, results)
    return all(result.answered for result in results)


def _tell(console: Console, run: PromptsRun, summary: RunSummary, results: list[AskResult]) -> None:
    kept = len(run.entries) - len(results)
    before = f", {kept} were answered before" if kept else ""
    good = summary.answered == summary.prompts
    console.print(
        f"{summary.answered} of {summary.prompts} prompts answered in {summary.duration_s:.0f} s{before}",
        style="good" if good else "bad",
    )
    for result in results:
        if not result.answered:
            console.print(f"  not answered ({result.outcome}): {result.prompt[:70]}", style="bad", soft_wrap=True)
    console.print(f"answers: {run.output}\nwhat made them: {run.provenance_path}", soft_wrap=True)
