"""Runs simulations for `moamesh simulate`: progress on stderr, figures on stdout."""

from __future__ import annotations

from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge_agent.cli.exits import NOT_ANSWERED
from edge_agent.cli.simulate.view import print_campaign, print_fault_kinds, print_report
from edge_agent.cli.terminal import console, print_json
from edge_agent.lab.simulator.faults.ablations import check_safeguard
from edge_agent.lab.simulator.faults.campaign import check_jobs, parse_seeds, run_campaign
from edge_agent.lab.simulator.faults.kinds import BY_NAME_ONLY, EXPLANATIONS, FaultKind, parse_faults
from edge_agent.lab.simulator.load.picture import check_picture, write_picture
from edge_agent.lab.simulator.load.report import make_report
from edge_agent.lab.simulator.load.run import LoadRun
from edge_agent.lab.simulator.load.scenario import Scenario
from edge_agent.lab.simulator.load.telemetry import TelemetryWriter


def simulate_load(scenario: Scenario, *, plot: Path | None, telemetry: Path | None, json: bool) -> int:
    """Runs a scenario and prints its report; returns the exit status."""
    if plot is not None:
        check_picture(plot)
    run = LoadRun(scenario)
    writer = TelemetryWriter(run.cluster, telemetry) if telemetry is not None else None
    try:
        with _bar() as bar:
            task = bar.add_task("prompts", total=scenario.prompt_count)
            result = run.run(lambda done, total: bar.update(task, completed=done, total=total))
    finally:
        if writer is not None:
            writer.close()
    report = make_report(run, result)
    if plot is not None:
        write_picture(report, plot)
    if json:
        print_json(report.as_object())
    else:
        print_report(console(), report)
    return NOT_ANSWERED if report.violations else 0


def simulate_faults(
    faults: str, seeds: str, safeguard: str | None, jobs: int = 1, *, go_on: bool = False, json: bool
) -> int:
    """Runs fault seeds and prints what came of them; returns the exit status."""
    if faults == "list":
        _print_kinds(json=json)
        return 0
    allowed, wanted = parse_faults(faults), parse_seeds(seeds)
    check_jobs(jobs)
    if safeguard is not None:
        check_safeguard(safeguard)
    with _bar() as bar:
        task = bar.add_task("seeds", total=len(wanted))
        campaign = run_campaign(
            wanted,
            allowed,
            safeguard=safeguard,
            jobs=jobs,
            go_on=go_on,
            progress=lambda done: bar.update(task, completed=done),
        )
    if json:
        print_json(campaign.as_object())
    if not json or campaign.found is not None:
        print_campaign(console(stderr=json), campaign, faults, safeguard)
    return campaign.exit_code


def _print_kinds(*, json: bool) -> None:
    if json:
        print_json({kind.value: EXPLANATIONS[kind] for kind in FaultKind})
    else:
        print_fault_kinds(console(), EXPLANATIONS, BY_NAME_ONLY)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        transient=True,
    )
