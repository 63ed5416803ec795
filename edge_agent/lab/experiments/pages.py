"""Parts to a Markdown page with SVG files beside it, and to one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from edge_agent.core.errors import SettingsError
from edge_agent.lab.analysis.figures import svg, write_figure
from edge_agent.lab.experiments.sections import Section

_STYLE = """body{font:16px/1.55 system-ui,sans-serif;margin:2rem auto;max-width:66rem;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}.conclusion{font-weight:600}"""


def write_pages(folder: Path, title: str, sections: Sequence[Section]) -> tuple[Path, Path]:
    """Writes `report.md`, `report.html` and the plots; returns the first two.

    Raises:
        SettingsError: the folder cannot be written, or matplotlib is missing.
    """
    for section in sections:
        if section.panels:
            write_figure(folder / f"{section.key}.svg", section.panels, columns=section.columns)
    pages = folder / "report.md", folder / "report.html"
    try:
        pages[0].write_text(markdown(title, sections), encoding="utf-8")
        pages[1].write_text(html(title, sections), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write to {folder}: {error.strerror}") from None
    return pages


def markdown(title: str, sections: Sequence[Section]) -> str:
    """Returns the page; its plots are files beside it."""
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for paragraph in section.text:
            lines += [paragraph, ""]
        if section.conclusion:
            lines += [f"**{section.conclusion}**", ""]
        lines += [*_markdown_table(section), ""]
        if section.panels:
            lines += [f"![{section.title}]({section.key}.svg)", ""]
    return "\n".join(lines)


def html(title: str, sections: Sequence[Section]) -> str:
    """Returns the page with the plots in it."""
    head = '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    parts = [f"{head}<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"]
    for section in sections:
        parts.append(f"<h2>{escape(section.title)}</h2>")
        parts += [f"<p>{escape(paragraph)}</p>" for paragraph in section.text]
        if section.conclusion:
            parts.append(f'<p class="conclusion">{escape(section.conclusion)}</p>')
        parts.append(_html_table(section))
        if section.panels:
            parts.append(svg(section.panels, columns=section.columns))
    return "\n".join([*parts, "</body></html>\n"])


def _markdown_table(section: Section) -> list[str]:
    rule = "|".join(["---", *["---:"] * (len(section.header) - 1)])
    rows = ["| " + " | ".join(row) + " |" for row in section.rows]
    return ["| " + " | ".join(section.header) + " |", f"|{rule}|", *rows]


def _html_table(section: Section) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in section.header)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in section.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
