"""The measurements that devices write, as Markdown: tags and fields off the code, meanings out of the glossary."""

from __future__ import annotations

import re
from pathlib import Path

from edge_agent.wire.measurements import FIELDS, TAGS

GLOSSARY = Path(__file__).resolve().parents[2] / "docs" / "GLOSSARY.md"
_ROW = re.compile(r"\|\s*(?P<word>[^|]+?)\s*\|\s*(?P<meaning>[^|]+?)\s*\|[^|]*\|")
_ABOUT = {
    "agent_queue": "Each interval (`status_interval_s`): the load of one device.",
    "agent_request": "Each item of an inference queue, when it ends.",
    "agent_session": "Each prompt, when it ends, at its origin.",
}
# What the glossary has no word for, because it is only a figure.
_MEANINGS = {
    "synthetic": "1: made by the synthetic engine with declared service times.",
    "interval_s": "Length of the interval.",
    "requests_waiting_mean": "Exact time-average of items waiting over the interval.",
    "requests_waiting_predicted": "What theory says of it at the measured load and squared variation, approximately.",
    "queue_capacity": "Places, waiting and running.",
    "service_rate_hz": "Items a second with every slot busy, as measured; 0 before that was seen.",
    "slots": "Items that the engine works on at once, at most.",
    "service_time_s_mean": "Mean service time.",
    "service_time_scv": "Squared variation of service times: 1 exponential, 0 constant.",
    "accepted": "Items that got a place, since the start.",
    "completed": "Inferences completed since the start.",
    "failed": "Inferences failed since the start.",
    "cancelled": "Items cancelled since the start.",
    "bad_input": "Messages that were none, since the start.",
    "able": "1: the device can infer.",
    "durable": "1: what it accepts is on disk before its receipt.",
    "sessions_active": "Prompts of its own under way.",
    "peers_alive": "Peers known and not suspected.",
    "time_to_first_token_s": "From the start of service to the first token.",
    "input_tokens": "Tokens of prompt and references.",
    "output_tokens": "Tokens generated.",
    "responses_expected": "(k+1) for each layer that was run.",
    "responses_joined": "Of those, the ones that came.",
    "substitutes": "Peers asked in the place of others.",
}


def render() -> str:
    """Returns the page.

    Raises:
        KeyError: a field has no meaning, neither in the glossary nor here.
    """
    meanings = {**_glossary(), **_MEANINGS}
    parts = [
        "# Measurements",
        "",
        "What a device measures of itself, as line protocol in files of its own and, with `[[influx]]`, in a database. "
        "Every field has one type for ever. An id of a prompt or request is never a tag. How to send and see them: "
        "[MONITORING.md](../MONITORING.md).",
    ]
    for measurement, fields in FIELDS.items():
        tags = ", ".join(f"`{tag}`" for tag in TAGS[measurement])
        parts += ["", f"## {measurement}", "", f"{_ABOUT[measurement]} Tags: {tags}.", ""]
        parts += ["| field | type | meaning |", "|---|---|---|"]
        parts += [f"| `{name}` | {kind.__name__} | {meanings[name]} |" for name, kind in fields.items()]
    return "\n".join(parts) + "\n"


def _glossary() -> dict[str, str]:
    """Words in the glossary's tables, without their marks, and what they mean."""
    found = {}
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        if match := _ROW.fullmatch(line):
            for word in match["word"].split(", "):
                found[word.strip("` ")] = match["meaning"]
    return found
