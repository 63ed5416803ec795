"""What is to be said on top of an answer, not only in its provenance."""

from __future__ import annotations

from edge_agent.core.messages import Answer, FinishReason


def finish_reason(answer: Answer) -> FinishReason:
    """Returns why the text of an answer ends; one in part was ended by a bound, of time or of what still works."""
    made = answer.provenance.aggregation
    if answer.partial:
        return FinishReason.LENGTH
    return made.finish_reason if made is not None else FinishReason.STOP


def prompt_tokens_cut(answer: Answer) -> int:
    """Returns how many tokens of prompt and references the LLM that made the answer was not shown."""
    made = answer.provenance.aggregation
    return made.input_tokens_cut if made is not None else 0
