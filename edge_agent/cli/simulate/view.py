"""Simulated runs for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_agent.lab.simulator.faults.campaign import Campaign
from edge_agent.lab.simulator.faults.kinds import FaultKind
from edge_agent.lab.simulator.load.report import Report
from edge_agent.lab.simulator.load.rows import report_rows, subtitle


def print_report(console: Console, report: Report) -> None:
    """Measured figures beside predicted ones, then how the run went."""
    result = report.result
    console.print(Text(subtitle(report), style="quiet"))
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("predicted", justify="right", style="quiet")
    for row in report_rows(report):
        table.add_row(*row)
    console.print(table)
    measured_s, scenario = result.measurement.duration_s, result.scenario
    rate = result.events / max(result.wall_s, 1e-9)
    console.print(
        Text(
            f"Predicted: {report.predicted.kind}. ± is half a 95 % interval, of 20 batch means. Measured over "
            f"{measured_s:.6g} simulated seconds after a warm-up of {scenario.warm_up:.6g}. {result.events} events in "
            f"{result.wall_s:.1f} s ({rate:,.0f} a second). Trace {result.trace_hash}.",
            style="quiet",
        )
    )
    if scenario.warm_up < scenario.warm_up_wanted and scenario.prompt_count < scenario.prompts_to_settle:
        console.print(
            Text(
                f"The mesh was still filling up when measuring began, so its figures lie below the predicted ones: "
                f"--prompts {scenario.prompts_to_settle} lets it settle first.",
                style="busy",
            )
        )
    for violation in report.violations:
        console.print(Text(f"violation: {violation}", style="bad"))


def print_fault_kinds(console: Console, explanations: Mapping[FaultKind, str], by_name: Collection[FaultKind]) -> None:
    """What may go wrong, by name."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for kind, text in explanations.items():
        table.add_row(Text(kind.value, style="name"), text + (" (not in `all`)" if kind in by_name else ""))
    console.print(table)


def print_campaign(console: Console, campaign: Campaign, faults: str, safeguard: str | None) -> None:
    """How many seeds held; of the first that did not, its trace and the command that repeats it."""
    found, tally = campaign.found, campaign.tally
    if found is None:
        first, last = campaign.seeds.start, campaign.seeds.stop - 1
        held = f"seeds {first} to {last} hold" if first != last else f"seed {first} holds"
        console.print(
            Text(
                f"{held}: {tally.accepted} accepted prompts, {tally.ended} ended, {tally.told} told, {tally.excused} "
                f"excused (their disk was lost), {tally.events} events, no violation",
                style="good",
            )
        )
        return
    for line in found.trace:
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"\nseed {found.seed}: {found.outcome}: {found.checker}", style="bad"))
    console.print(Text(found.detail), soft_wrap=True)
    console.print(Text(f"{found.plan}", style="quiet"), soft_wrap=True)
    if tally.seeds_run > 1 and (len(tally.broken) > 1 or any(broken.count > 1 for broken in tally.broken.values())):
        for broken in tally.broken.values():
            seeds = ", ".join(str(seed) for seed in broken.seeds)
            line = f"{broken.checker}: {broken.count} of {tally.seeds_run} seeds, first {seeds}"
            console.print(Text(line, style="quiet"))
    console.print(Text(f"trace {found.trace_hash}; {tally.seeds_run} seeds run", style="quiet"))
    extra = f" --without {safeguard}" if safeguard else ""
    console.print(Text(f"to repeat it: moamesh simulate --faults {faults} --seeds {found.seed}{extra}", style="name"))
