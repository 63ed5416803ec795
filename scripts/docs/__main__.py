"""Makes what is made of the code: `python -m scripts.docs asyncapi | sequence | pages | build | serve`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scripts.docs import asyncapi, sequence, site


def main() -> int:
    """Does what was asked; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.docs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (
        ("asyncapi", "write docs/asyncapi.yaml"),
        ("sequence", "draw docs/img/prompt-sequence.svg: a prompt's way through the core, as a run goes it"),
    ):
        page = commands.add_parser(name, help=words)
        page.add_argument("--check", action="store_true", help="only say, by exit status, whether it is up to date")
    commands.add_parser("pages", help="lay out the site's pages in build/pages")
    commands.add_parser("build", help="make the documentation site in build/site; a dead link is an error")
    commands.add_parser("serve", help="show the site in a browser, made anew as its sources change")
    asked = parser.parse_args()
    if asked.command == "pages":
        site.lay_out()
        return 0
    if asked.command == "build":
        return site.build()
    if asked.command == "serve":
        return site.serve()
    if asked.command == "sequence":
        return _write(sequence.PICTURE, sequence.render(), only_check=asked.check)
    return _write(asyncapi.PAGE, asyncapi.render(), only_check=asked.check)


def _write(page: Path, text: str, *, only_check: bool) -> int:
    if only_check:
        return int(not page.exists() or page.read_text(encoding="utf-8") != text)
    page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
