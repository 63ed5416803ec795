"""Writes every generated file. Run from the repository: `python -m monitoring`."""

from __future__ import annotations

from monitoring.files import FOLDER, generated

if __name__ == "__main__":
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(FOLDER.parent))
