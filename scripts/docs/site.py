"""The documentation site: lays out build/pages from docs/ and from the code, and has zensical make build/site of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.docs import (
    reference_cli,
    reference_http,
    reference_measurements,
    reference_messages,
    reference_settings,
)
from scripts.docs.markdown import ROOT, for_site, site_path

CONFIG = ROOT / "zensical.toml"
PAGES = ROOT / "build" / "pages"
SITE = ROOT / "build" / "site"
OWN_PAGES = Path(__file__).resolve().parent / "pages"  # those that make sense in the site alone
ASSETS = Path(__file__).resolve().parent / "assets"
LOGO = ROOT / "app" / "public" / "icon.svg"  # the app's: one mesh, one sign
SERVE_LOOK_S = 1.0  # how often `serve` looks for changed sources

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md")
"""Pages outside docs/ that the site holds too."""


def lay_out() -> None:
    """Makes build/pages anew. What would be the same stays untouched, so that a running server sees no change."""
    wanted = {PAGES / name: content for name, content in _contents()}
    for old in [path for path in PAGES.rglob("*") if path.is_file() and path not in wanted]:
        old.unlink()
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def build() -> int:
    """Makes build/site; returns zensical's exit status, which is not 0 where a link leads nowhere."""
    lay_out()
    shutil.rmtree(SITE, ignore_errors=True)
    builder = _zensical("build", "--strict", "--clean", stderr=subprocess.PIPE)
    said = builder.communicate()[1].decode(errors="replace")
    said = said.split("Traceback (most recent call last)")[0]  # it ends so over a mere dead link
    sys.stderr.write(said if sys.stderr.isatty() else _COLOUR.sub("", said))
    if builder.returncode == 0:
        print(f"Ready: {SITE / 'index.html'}")
    return builder.returncode


def serve() -> int:
    """Serves the site on loopback until Ctrl-C, made anew as its sources change; returns the exit status."""
    lay_out()
    server = _zensical("serve")
    seen = _sources()
    try:
        while server.poll() is None:
            time.sleep(SERVE_LOOK_S)
            if seen != (seen := _sources()):
                # a process of its own: this one has the old code; half a change may fail, and the next one mends it
                subprocess.run([sys.executable, "-m", "scripts.docs", "pages"], cwd=ROOT, check=False)
    except KeyboardInterrupt:
        server.terminate()
    return server.wait()


def _zensical(*arguments: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "zensical", *arguments, "--config-file", str(CONFIG)]
    return subprocess.Popen(command, cwd=ROOT, stderr=stderr)  # noqa: S603 - our own program, fixed arguments


def _contents() -> Iterator[tuple[str, bytes]]:
    """Every file under build/pages."""
    files = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in _documents()}
    files |= {f"docs/{path.relative_to(OWN_PAGES).as_posix()}": path.read_bytes() for path in OWN_PAGES.rglob("*.md")}
    files |= {f"docs/reference/{name}": text.encode() for name, text in _reference().items()}
    pages = {name: content.decode() for name, content in files.items() if name.endswith(".md")}
    for name, content in files.items():
        changed = for_site(name, pages, files).encode() if name in pages else content
        yield site_path(name), changed
    yield "assets/logo.svg", LOGO.read_bytes()
    for path in ASSETS.rglob("*"):
        if path.is_file():
            yield f"assets/{path.relative_to(ASSETS).as_posix()}", path.read_bytes()


def _documents() -> list[Path]:
    docs = [path for path in (ROOT / "docs").rglob("*") if path.is_file()]
    return docs + [ROOT / name for name in BESIDE]


def _reference() -> dict[str, str]:
    """The pages that are made from the code."""
    commands = {f"cli/{page.slug}.md": reference_cli.render(page) for page in reference_cli.pages()}
    return commands | {
        "cli/index.md": reference_cli.overview(),
        "settings.md": reference_settings.render(),
        "messages.md": reference_messages.render(),
        "measurements.md": reference_measurements.render(),
        "http-api.md": reference_http.render(),
    }


def _sources() -> dict[str, float]:
    """When each file that the site is made of was changed."""
    files = [*_documents(), *OWN_PAGES.rglob("*"), *ASSETS.rglob("*"), *(ROOT / "edge_agent").rglob("*.py"), CONFIG]
    return {str(path): os.stat(path).st_mtime for path in files if path.is_file()}
