"""What a command hands out about prompts, as plain objects for JSON. The same shape everywhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from edge_agent.cli.terminal import JsonObject
from edge_agent.client import AskTimeoutError, DeviceView
from edge_agent.core.errors import MoameshError, SettingsError
from edge_agent.core.marks import finish_reason, prompt_tokens_cut
from edge_agent.core.messages import Answer, PromptOptions, PromptRefusal, Provenance, Sampling


class AskOutcome(StrEnum):
    """How an attempt ended that brought no answer of the device; beside the outcomes of an answer."""

    REFUSED = "refused"
    NO_RECEIPT = "no_receipt"
    TIMEOUT = "timeout"
    DEVICE_DIED = "device_died"


class DeviceDiedError(MoameshError):
    """The device, a process of this host, died and nobody starts it again."""


End = Answer | PromptRefusal | MoameshError
"""How asking ended: an answer (with any outcome), a refusal, or the client's error."""


@dataclass(frozen=True, slots=True)
class AskResult:
    """A prompt and how it ended. `latency_s` is as the user saw it."""

    prompt: str
    device_id: str
    end: End
    latency_s: float
    prompt_id: str = ""
    """By which `moamesh answers` finds it later."""

    @property
    def answer(self) -> Answer | None:
        """The device's last word, if there was one."""
        return self.end if isinstance(self.end, Answer) else None

    @property
    def outcome(self) -> str:
        """One word for how it ended."""
        if isinstance(self.end, Answer):
            return self.end.outcome.value
        if isinstance(self.end, PromptRefusal):
            return AskOutcome.REFUSED.value
        if isinstance(self.end, DeviceDiedError):
            return AskOutcome.DEVICE_DIED.value
        return (AskOutcome.TIMEOUT if isinstance(self.end, AskTimeoutError) else AskOutcome.NO_RECEIPT).value

    @property
    def answered(self) -> bool:
        """Whether there is an answer text to use."""
        return self.outcome == "answered"

    @property
    def partial(self) -> bool:
        """Whether the answer is the best proposal instead of an aggregation; `detail` says why."""
        return isinstance(self.end, Answer) and self.end.partial

    @property
    def detail(self) -> str:
        """Why it did not go well; "" if it did."""
        if isinstance(self.end, PromptRefusal):
            return f"{self.end.reason.value}: {self.end.detail}"
        return self.end.detail if isinstance(self.end, Answer) else str(self.end)

    @property
    def retry_after_s(self) -> float | None:
        """After how many seconds asking again may help; `None` where the device did not say so."""
        return self.end.retry_after_s if isinstance(self.end, PromptRefusal) else None


def result_object(result: AskResult) -> JsonObject:
    """A result for JSON. `provenance` is null where no answer came back."""
    answer = result.answer
    return {
        "prompt": result.prompt,
        "prompt_id": result.prompt_id,
        "device_id": result.device_id,
        "outcome": result.outcome,
        "text": answer.text if answer else "",
        "detail": result.detail,
        "partial": answer.partial if answer else False,
        "finish_reason": str(finish_reason(answer)) if answer else None,
        "prompt_tokens_cut": prompt_tokens_cut(answer) if answer else 0,
        "retry_after_s": result.retry_after_s,
        "end_to_end_latency_s": answer.end_to_end_latency_s if answer else None,
        "latency_s": result.latency_s,
        "provenance": provenance_object(answer.provenance) if answer else None,
    }


def device_object(view: DeviceView, now: float) -> JsonObject:
    """A device as `status` and `demo` tell of it. `status` is null before its first figures."""
    return {
        "device_id": view.device_id,
        "state": view.state(now).value,
        "model": view.model,
        "synthetic": view.synthetic,
        "able": view.able,
        "problems": [asdict(problem) for problem in view.problems],
        "status": asdict(view.status) if view.status is not None else None,
    }


def provenance_object(provenance: Provenance) -> JsonObject:
    """Provenance for JSON: as it is, with the policies as an object."""
    return asdict(provenance) | {"policies": dict(provenance.policies)}


def prompt_options(
    *,
    layers: int | None = None,
    fanout: int | None = None,
    deadline_s: float | None = None,
    join: int | None = None,
    max_tokens: int,
    temperature: float,
    seed: int | None = None,
) -> PromptOptions:
    """Options from a command line.

    Raises:
        SettingsError: a value is out of range.
    """
    try:
        sampling = Sampling(max_output_tokens=max_tokens, temperature=temperature, seed=seed)
        return PromptOptions(layers=layers, fanout=fanout, deadline_s=deadline_s, join=join, sampling=sampling)
    except ValueError as error:
        raise SettingsError(str(error)) from None
