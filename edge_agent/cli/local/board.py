"""What is known of the prompts under way: fed by their messages, read by the views. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.cli.prompts.batch import Job
from edge_agent.cli.results import AskResult
from edge_agent.cli.terminal import safe_text
from edge_agent.core.messages import DeviceToUser, LayerProgress, PromptReceipt, TokenChunk

TEXT_SHOWN_MAX = 4_000  # characters of a streaming answer that are kept for show; the answer itself has them all


@dataclass(slots=True)
class SessionRow:
    """One prompt as it is shown."""

    job: Job
    stage: str = "sending"
    text: str = ""
    result: AskResult | None = None

    def take(self, message: DeviceToUser) -> None:
        """Notes one message."""
        match message:
            case PromptReceipt(expected_wait_s=wait_s):
                self.stage = "accepted" if wait_s is None else f"accepted, about {wait_s:.0f} s to wait"
            case LayerProgress():
                self.stage = layer_stage(message)
            case TokenChunk(index=index, text=text):
                self.stage = "aggregating"
                self.text = (safe_text(text) if index == 0 else self.text + safe_text(text))[-TEXT_SHOWN_MAX:]

    def end(self, result: AskResult) -> None:
        """Notes how it ended."""
        self.result = result
        self.stage = result.outcome
        if result.answer is not None and result.answer.text:
            self.text = safe_text(result.answer.text)[:TEXT_SHOWN_MAX]
        elif result.detail:
            self.text = safe_text(result.detail)[:TEXT_SHOWN_MAX]


class Board:
    """The rows of a batch, in its order."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.rows = [SessionRow(job) for job in jobs]
        self._by_number = {row.job.number: row for row in self.rows}

    def take(self, job: Job, message: DeviceToUser) -> None:
        """Notes a message about a prompt."""
        self._by_number[job.number].take(message)

    def end(self, job: Job, result: AskResult) -> None:
        """Notes the end of a prompt."""
        self._by_number[job.number].end(result)

    @property
    def ended(self) -> int:
        """How many prompts have ended."""
        return sum(row.result is not None for row in self.rows)


def layer_stage(progress: LayerProgress) -> str:
    """One line on where a session stands."""
    where = f"layer {progress.layer}/{progress.layer_count}"
    if not progress.joined:
        peers = ", ".join(progress.asked)
        return f"{where}, asks {peers}" if peers else f"{where}, alone"
    return f"{where}, {len(progress.joined)} joined"
