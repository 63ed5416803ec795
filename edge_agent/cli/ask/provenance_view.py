"""What made an answer, as a small tree."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from rich.tree import Tree

from edge_agent.cli.terminal import safe_text
from edge_agent.core.marks import finish_reason, prompt_tokens_cut
from edge_agent.core.messages import Answer, Contribution, Decision, FinishReason, Provenance


def provenance_tree(answer: Answer) -> Tree:
    """Layers with their responses, then the aggregation; what is missing or substituted stands in its layer."""
    provenance = answer.provenance
    tree = Tree(_headline(answer))
    for number, layer in enumerate(provenance.layers, start=1):
        branch = tree.add(Text(f"layer {number}", style="label"))
        for contribution in layer:
            branch.add(_contribution(contribution, provenance.device_id))
        for substitute in provenance.substitutes:
            if substitute.layer == number:
                text = f"{substitute.device_id} stood in for {substitute.instead_of} ({substitute.reason})"
                branch.add(Text(text, style="busy"))
        for missing in provenance.missing:
            if missing.layer == number:
                branch.add(Text(f"{missing.device_id or 'one response'} missing: {missing.reason}", style="bad"))
        for decision in provenance.decisions:
            if decision.layer == number:
                branch.add(_decision(decision))
    if provenance.aggregation is not None:
        branch = tree.add(Text("aggregation" if provenance.layers else "answer", style="label"))
        branch.add(_contribution(provenance.aggregation, provenance.device_id))
    tree.add(_footer(provenance))
    return tree


def remarks(answer: Answer) -> Iterator[str]:
    """What a reader must know of an answer before who made it."""
    if not answer.partial and finish_reason(answer) is FinishReason.LENGTH:
        yield "cut off at its bound: --max-tokens allows more, up to what the model's context holds"
    if cut := prompt_tokens_cut(answer):
        yield f"the model was not shown all of it: {cut} tokens of prompt or references did not fit into its context"


def _headline(answer: Answer) -> Text:
    style = "good" if answer.outcome == "answered" else "bad"
    text = Text(answer.outcome.value, style=style)
    if answer.partial:
        text.append(" in part", style="busy")
        if answer.provenance.answer_from:
            text.append(f" (the proposal of {answer.provenance.answer_from})", style="busy")
    text.append(f" by {answer.device_id} in {answer.end_to_end_latency_s:.1f} s", style="default")
    if answer.detail:
        text.append(f": {safe_text(answer.detail)}", style="busy")
    return text


def _contribution(contribution: Contribution, origin: str) -> Text:
    text = Text(contribution.device_id, style="name")
    if contribution.device_id == origin:
        text.append(" (self)", style="quiet")
    synthetic = contribution.synthetic and not contribution.model.startswith("synthetic")
    text.append(
        f"  {'synthetic:' if synthetic else ''}{contribution.model}", style="busy" if contribution.synthetic else ""
    )
    text.append(
        f"  wait {contribution.waiting_time_s:.1f} s, run {contribution.service_time_s:.1f} s, "
        f"{contribution.input_tokens}→{contribution.output_tokens} tok",
        style="quiet",
    )
    if contribution.input_tokens_cut:
        text.append(f", {contribution.input_tokens_cut} cut", style="busy")
    if contribution.finish_reason is FinishReason.LENGTH:
        text.append(", ended by its bound", style="busy")
    return text


def _decision(decision: Decision) -> Text:
    """What a policy made of the layer, such as "judge: went on with device-2, no more layers"."""
    parts = [f"went on with {', '.join(decision.chosen)}"] if decision.chosen else []
    parts += ["no more layers"] if decision.stops else []
    parts += [safe_text(decision.detail)] if decision.detail else []
    if decision.work is not None:
        parts.append(f"run {decision.work.service_time_s:.1f} s")
    return Text(f"{decision.kind}: {', '.join(parts)}", style="busy" if decision.detail else "quiet")


def _footer(provenance: Provenance) -> Text:
    policies = ", ".join(name for _, name in provenance.policies)
    restarts = f" · resumed {provenance.restarts}x after a restart" if provenance.restarts else ""
    text = f"{provenance.messages_sent} messages sent, {provenance.messages_received} received{restarts} · {policies}"
    return Text(text, style="quiet")
