"""One command of `moamesh` in each file. At the top of a file only what `--help` needs is imported."""
