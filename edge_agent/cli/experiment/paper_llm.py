"""Part (d) of the report on the paper: its table again, with language models on four device processes of this host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from edge_agent.cli.local.mesh import make_plan, shown_fleet
from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.prompts.batch import Pace
from edge_agent.cli.prompts.file import read_prompts
from edge_agent.cli.prompts.run import PromptsRun, run_prompts_over
from edge_agent.cli.prompts.summary import RunSummary
from edge_agent.cli.results import prompt_options
from edge_agent.core.stability import items_per_prompt
from edge_agent.lab.analysis.figures import Curve, Panel
from edge_agent.lab.experiments.machine import machine
from edge_agent.lab.experiments.sections import Section
from edge_agent.lab.experiments.table import ARRIVAL_RATE_HZ, DEVICES, ROWS, SERVICE_TIME_S, PaperRow

DEADLINE_S = 600.0  # above ρ = 1 prompts wait for each other; none is to be given up
ROWS_QUICK = 2


@dataclass(frozen=True, slots=True)
class LlmTable:
    """What to ask, and of whom; the AlpacaEval outputs of each row go into `out`."""

    console: Console
    out: Path
    prompts: Path
    limit: int
    max_tokens: int
    models: Sequence[str]

    def check(self) -> None:
        """Raises `SettingsError` if the prompts cannot be read: better now than after the other parts."""
        read_prompts(self.prompts, 1)

    async def section(self, *, quick: bool) -> Section:
        """Runs every row of the table on one mesh.

        Raises:
            SettingsError, ModelError, FleetError: the prompts, the model or the mesh are not there.
        """
        plan = make_plan(
            self.console, devices=DEVICES, engine="llama", models=self.models or None, service="exponential:1.0"
        )
        done = []
        rows = ROWS[:ROWS_QUICK] if quick else ROWS
        async with shown_fleet(self.console, plan) as fleet:
            address = MeshAddress(fleet.url, fleet.mesh)
            for row in rows:
                self.console.print(f"(d) {row.plan}: {self.limit} prompts")
                summary, _ = await run_prompts_over(
                    self.console,
                    address,
                    self._run(row),
                    devices_min=DEVICES,
                    status_interval_s=2 * plan.status_interval_s,
                    dies_with=fleet.until_died,
                )
                done.append((row, summary))
        return self._section(done)

    def _run(self, row: PaperRow) -> PromptsRun:
        options = prompt_options(
            layers=row.layers,
            fanout=row.fanout,
            deadline_s=DEADLINE_S,
            max_tokens=self.max_tokens,
            temperature=0.7,
            seed=None,
        )
        pace = Pace(rate_hz=DEVICES * ARRIVAL_RATE_HZ, seed=1)  # the same arrivals in every row
        return PromptsRun(read_prompts(self.prompts, self.limit), options, pace, self.out / self._output(row), False)

    def _output(self, row: PaperRow) -> str:
        return f"outputs-M{row.layers}-k{row.fanout}.json"

    def _section(self, done: Sequence[tuple[PaperRow, RunSummary]]) -> Section:
        numbers = [float(at) for at in range(1, len(done) + 1)]
        answered = sum(summary.answered for _, summary in done)
        asked = sum(summary.prompts for _, summary in done)
        models = sorted({model for _, summary in done for model in summary.models})
        return Section(
            key="d",
            title="(d) Live: language models on four devices",
            text=[
                f"Four device processes, {' and '.join(models)}, T = 0.7, at most {self.max_tokens} tokens a "
                f"response, {self.limit} prompts a row (AlpacaEval), Poisson with λ = {ARRIVAL_RATE_HZ} a second and "
                f"device as in the paper; {machine()}. Here too the load is above 1 for most rows: a transient. "
                "The paper's latencies are of 70B-class models: compare the order of the rows, not the seconds.",
                "Each row's answers are in AlpacaEval's form, for `alpaca_eval --model_outputs FILE`.",
            ],
            header=("", "latency s", "average queue", "α s", "ρ offered", "answered", "paper: s", "queue", "outputs"),
            rows=[self._cells(row, summary) for row, summary in done],
            panels=[
                Panel(
                    "latency over the mean service time of the row",
                    "row of the table",
                    "T/α",
                    [
                        Curve("measured", numbers, [_in_services(one) for _, one in done]),
                        Curve(
                            f"paper, α = {SERVICE_TIME_S:g} s",
                            numbers,
                            [row.latency_s / SERVICE_TIME_S for row, _ in done],
                            predicted=True,
                            colour=1,
                        ),
                    ],
                ),
                Panel(
                    "average queue",
                    "row of the table",
                    "items a device",
                    [
                        Curve("measured", numbers, [one.requests_waiting_mean or 0.0 for _, one in done]),
                        Curve("paper", numbers, [row.queue for row, _ in done], predicted=True, colour=1),
                    ],
                ),
            ],
            conclusion=f"{answered} of {asked} prompts answered.",
        )

    def _cells(self, row: PaperRow, summary: RunSummary) -> tuple[str, ...]:
        alpha = summary.service_time_s or 0.0
        return (
            row.plan,
            f"{summary.latency_mean_s or 0.0:.2f}",
            f"{summary.requests_waiting_mean or 0.0:.2f}",
            f"{alpha:.2f}",
            f"{alpha * items_per_prompt(row.layers, row.fanout) * ARRIVAL_RATE_HZ:.2f}",
            f"{summary.answered}/{summary.prompts}",
            f"{row.latency_s:.0f}",
            f"{row.queue:.2f}",
            self._output(row),
        )


def _in_services(summary: RunSummary) -> float:
    return (summary.latency_mean_s or 0.0) / summary.service_time_s if summary.service_time_s else 0.0
