"""Makes what is made of the code: `python -m scripts.docs asyncapi | pages | build | serve`."""

from __future__ import annotations

import argparse
import sys

from scripts.docs import asyncapi, site


def main() -> int:
    """Does what was asked; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.docs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    page = commands.add_parser("asyncapi", help="write docs/asyncapi.yaml")
    page.add_argument("--check", action="store_true", help="only say, by exit status, whether it is what the code says")
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
    return _asyncapi(only_check=asked.check)


def _asyncapi(*, only_check: bool) -> int:
    text = asyncapi.render()
    if only_check:
        return int(not asyncapi.PAGE.exists() or asyncapi.PAGE.read_text(encoding="utf-8") != text)
    asyncapi.PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
