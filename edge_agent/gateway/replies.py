"""OpenAI's answers: whole, and in chunks. What made an answer stands beside it under `moamesh`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, final

from edge_agent import __version__
from edge_agent.core.marks import finish_reason, prompt_tokens_cut
from edge_agent.core.messages import Answer, Contribution
from edge_agent.gateway.inquiry import Inquiry
from edge_agent.gateway.reading import ParsedRequest

FINGERPRINT = f"moamesh-{__version__}"


@final
@dataclass(frozen=True, slots=True)
class Reply:
    """Makes the JSON of one completion. created: seconds since 1970."""

    asked: ParsedRequest
    inquiry: Inquiry
    created: int

    @property
    def completion_id(self) -> str:
        """The id that the client sees."""
        return f"chatcmpl-{self.inquiry.prompt.prompt_id}"

    def completion(self, answer: Answer) -> dict[str, Any]:
        """The whole answer."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": str(finish_reason(answer))}
        return (
            self._head("chat.completion")
            | {"choices": [choice], "usage": usage(answer)}
            | marks(answer)
            | {"moamesh": self.extension(answer)}
        )

    def chunk(self, delta: dict[str, Any]) -> dict[str, Any]:
        """A piece of a stream."""
        return self._chunk([self._choice(delta, None)])

    def last_chunk(self, answer: Answer) -> dict[str, Any]:
        """The piece that says why the text ends, and what made it."""
        last = self._chunk([self._choice({}, str(finish_reason(answer)))])
        return last | marks(answer) | {"moamesh": self.extension(answer)}

    def usage_chunk(self, answer: Answer) -> dict[str, Any]:
        """The piece with the tokens, which has no choice in it."""
        return self._chunk([]) | {"usage": usage(answer)}

    def extension(self, answer: Answer) -> dict[str, Any]:
        """What OpenAI's API has no word for."""
        receipt = self.inquiry.receipt
        return {
            "prompt_id": answer.prompt_id,
            "device": answer.device_id,
            "end_to_end_latency_s": answer.end_to_end_latency_s,
            "expected_wait_s": receipt.expected_wait_s if receipt is not None else None,
            "mesh_usage": mesh_usage(answer),
            "ignored": list(self.asked.ignored),
            "partial": answer.partial,
            "detail": answer.detail,
            "provenance": asdict(answer.provenance),
        }

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        usage_field = {"usage": None} if self.asked.include_usage else {}
        return self._head("chat.completion.chunk") | {"choices": choices} | usage_field

    def _choice(self, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.completion_id,
            "object": kind,
            "created": self.created,
            "model": self.asked.model,
            "system_fingerprint": FINGERPRINT,
        }


def marks(answer: Answer) -> dict[str, Any]:
    """What stands on the top level of an answer that is the best proposal instead of an aggregation, and why it is; and
    of one whose LLM was not shown the whole prompt."""
    partial = {"partial": True, "partial_reason": answer.detail} if answer.partial else {}
    cut = prompt_tokens_cut(answer)
    return partial | ({"prompt_tokens_cut": cut} if cut else {})


def usage(answer: Answer) -> dict[str, int]:
    """The tokens of the aggregation: of the text that the client reads, and of all that its LLM was given for it."""
    made = answer.provenance.aggregation
    read, written = (made.input_tokens, made.output_tokens) if made is not None else (0, 0)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def mesh_usage(answer: Answer) -> dict[str, int]:
    """The tokens of every inference that went into the answer, on whatever device."""
    every = list(_inferences(answer))
    return {
        "inferences": len(every),
        "input_tokens": sum(one.input_tokens for one in every),
        "output_tokens": sum(one.output_tokens for one in every),
    }


def _inferences(answer: Answer) -> Iterator[Contribution]:
    provenance = answer.provenance
    for layer in provenance.layers:
        yield from layer
    yield from (decision.work for decision in provenance.decisions if decision.work is not None)
    if provenance.aggregation is not None:
        yield provenance.aggregation
