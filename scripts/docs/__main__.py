"""`python -m scripts.docs asyncapi` writes docs/asyncapi.yaml; with `--check` it exits with 1 if that page is stale."""

from __future__ import annotations

import argparse
import sys

from scripts.docs import asyncapi


def main() -> int:
    """Does what was asked; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.docs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    page = commands.add_parser("asyncapi", help="write docs/asyncapi.yaml")
    page.add_argument("--check", action="store_true", help="only say whether it is what the code says")
    asked = parser.parse_args()
    text = asyncapi.render()
    if asked.check:
        return int(not asyncapi.PAGE.exists() or asyncapi.PAGE.read_text(encoding="utf-8") != text)
    asyncapi.PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
