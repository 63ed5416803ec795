"""What a page of docs/ needs on its way into the site: links that stay inside, formulas as MathML."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Container, Mapping
from pathlib import Path

from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"(?P<fence>```+|~~~+)")
_MATH = re.compile(r"^(?P<indent> *)```math\n(?P<tex>.*?)\n *```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])+)\]\((?P<target>[^()\s]+)\)")
_TITLE = re.compile(r"^# (?P<title>.+)$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z]+:|#")


def for_site(page: str, pages: Mapping[str, str], in_site: Container[str]) -> str:
    """Returns a page's text as the site takes it.

    Args:
        page: its path in the repository, such as `docs/THEORY.md`.
        pages: the texts of all pages by their paths.
        in_site: paths in the repository of everything that the site holds.

    A link to what is in the repository and not in the site (source code, say) becomes plain text: it would lead nowhere
    there. One to what is nowhere stays, and the build finds it. A link that is named like its file is named like its
    page instead.
    """
    folder = posixpath.dirname(page)
    here = posixpath.dirname(site_path(page)) or "."

    def link(match: re.Match[str]) -> str:
        text, (target, _, anchor) = match["text"], match["target"].partition("#")
        if _ELSEWHERE.match(match["target"]):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if path not in in_site:
            return text if (ROOT / path).exists() else match[0]
        if text == posixpath.basename(path) and (title := _TITLE.search(pages.get(path, ""))):
            text = title["title"]
        there = posixpath.relpath(site_path(path), here)
        return f"[{text}]({there}{'#' + anchor if anchor else ''})"

    return _outside_fences(_MATH.sub(_mathml, pages[page]), lambda line: _LINK.sub(link, line))


def site_path(path: str) -> str:
    """Returns where a file of the repository lies in the site."""
    return path.removeprefix("docs/")


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    lines, fence = [], ""
    for line in text.split("\n"):
        match = _FENCE.match(line.lstrip())
        if match and not fence:
            fence = match["fence"]
        elif match and line.strip() == fence:
            fence = ""
        elif not fence:
            line = change(line)
        lines.append(line)
    return "\n".join(lines)


def _mathml(match: re.Match[str]) -> str:
    formulas = [convert(line.strip(), display="block") for line in match["tex"].split(r"\\") if line.strip()]
    inner = "".join(f'<div class="formula">{formula}</div>' for formula in formulas)
    return f'{match["indent"]}<div class="formulas">{inner}</div>'
