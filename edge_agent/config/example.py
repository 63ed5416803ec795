"""Prints the annotated example, docs/agent.toml: `python -m edge_agent.config.example > docs/agent.toml`.

Made from the code, comments included, so that it is complete and cannot grow stale. The values are tomli-w's; it has
no comments, so what stands between them is ours.
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

from edge_agent.config.influx import InfluxSection
from edge_agent.config.model import LISTS, section_types
from edge_agent.config.sections import Section
from edge_agent.config.write import to_lines
from edge_agent.core.settings import AgentSettings

EXAMPLE_ID = "kitchen"
_HEAD = """\
# One device's settings: `moamesh agent --config agent.toml`. Every key, with its default; only [device] id is needed.
# MOAMESH_<SECTION>__<KEY> in the environment counts over this file (MOAMESH_AGENT__LAYERS=1), and a flag over both.
# "none" stands for no value, where a key allows it. Relative paths count from this file's folder.
# Made by `python -m edge_agent.config.example`: change the code, not this file.
"""
_GROUP = re.compile(r"    # (?P<text>.+)")
_SETTING = re.compile(r"    (?P<name>\w+): [^=#]+= [^#]*?(?:\s+# (?P<text>.+))?")


def make_example() -> str:
    """Returns the text of docs/agent.toml."""
    parts = [_HEAD]
    for name, kind in section_types().items():
        if name in LISTS:
            continue
        parts.append(_agent_section() if kind is AgentSettings else _section(name, kind))
    parts.append(
        "# Devices to ask first who else is there, one table each; needed where brokers are not shared.\n"
        "# [[seeds]]\n"
        '# device_id = "pantry"\n'
        '# home_broker = "mqtt://192.168.1.20:1883"\n'
    )
    parts.append(_influx_table())
    return "\n".join(parts)


def _section(name: str, kind: type[Section]) -> str:
    lines = [f"# {(kind.__doc__ or '').splitlines()[0]}", f"[{name}]"]
    for key, field in kind.model_fields.items():
        value = EXAMPLE_ID if field.is_required() else field.default
        lines.append(f"# {field.description}")
        lines.append(_line(key, value))
    return "\n".join([*lines, ""])


def _line(key: str, value: Any) -> str:
    """A key with its value in one line; tomli-w gives each item of a list a line of its own."""
    first, *items = (line.strip() for line in to_lines({key: value}).splitlines())
    return f"{first}{' '.join(items).removesuffix(', ]')}]" if items else first


def _influx_table() -> str:
    """`[[influx]]` as a comment: with the table in force, there would be a database."""
    lines = [
        "# Databases that measurements are sent to, one table each. The files of [telemetry] are kept in any case."
    ]
    lines.append("# [[influx]]")
    for key, field in InfluxSection.model_fields.items():
        value = "http://192.168.1.20:8086" if field.is_required() else field.default
        lines.append(f"## {field.description}")
        lines.append(f"# {_line(key, value)}")
    return "\n".join([*lines, ""])


def _agent_section() -> str:
    """`[agent]` with the comments of the dataclass's own source."""
    lines = ["# How the device behaves.", "[agent]"]
    defaults = AgentSettings()
    source = inspect.getsource(AgentSettings).split("    def ")[0]
    for line in source.splitlines():
        if match := _GROUP.fullmatch(line):
            lines += ["", f"## {match['text']}"]
        elif match := _SETTING.fullmatch(line):
            comment = f"  # {match['text']}".replace("None:", '"none":') if match["text"] else ""
            lines.append(_line(match["name"], getattr(defaults, match["name"])) + comment)
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(make_example())
