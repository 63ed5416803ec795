#!/usr/bin/env bash
# Says in one line what is missing to set up, and how to get it. $1: the Python to use. $2: `compiler` if llama.cpp is to
# be compiled.
set -euo pipefail
python=${1:-python3}

fail() {
    echo "make: $*" >&2
    exit 1
}

command -v "$python" >/dev/null ||
    fail "$python is missing: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old: Python 3.11 or newer is needed; choose one with make PYTHON=python3.12"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make environments: install its venv package (Debian: apt-get install python3-venv)"
[ "${2:-}" = compiler ] || exit 0
command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
    fail "no C++ compiler to compile llama.cpp with: install one (Debian: apt-get install g++; Fedora: dnf install gcc-c++)"
