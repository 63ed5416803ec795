#!/usr/bin/env bash
# Installs what `make demo` needs and no more, without a compiler: the compiled llama.cpp where pip has it in its cache,
# else the prebuilt one. `moamesh demo` says which it is, and what compiling would gain. $1: the environment's Python.
set -euo pipefail
python=$1
here=$(dirname "$0")
pip() { "$python" -m pip --disable-pip-version-check -qq "$@"; }

# pip keeps the wheels that it has built. One for another Python or machine, or too old, does not install.
cached=$(pip cache list --format=abspath llama_cpp_python 2>/dev/null | tail -n 1 || true)
engine=llama-server
if [ -n "$cached" ] && pip install "$cached" "$("$python" "$here/print_extra.py" llama)" 2>/dev/null; then
    engine=llama
fi
echo "[2] Packages for the demo (half a minute)"
pip install --editable "$here/..[$engine,embedded-broker,gateway]"
