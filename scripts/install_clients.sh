#!/usr/bin/env bash
# Installs the programs that `make test-clients` asks a mesh with, in an environment of their own: together they bring
# a gigabyte of packages, and some of them hold back what ours need.
set -euo pipefail

home=${MOAMESH_CLIENTS_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/moamesh/clients}
packages=("litellm==1.106.2" "alpaca_eval==0.6.6" "lm_eval[api]==0.4.13")
stamp="$home/.installed"

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "${packages[*]}" ]; then
    exit 0
fi
echo "LiteLLM, AlpacaEval and lm_eval in $home (2 minutes, 1 GB; once)"
"${PYTHON:-python3}" -m venv --clear "$home"
"$home/bin/python" -m pip --disable-pip-version-check -qq install "${packages[@]}"
echo "${packages[*]}" >"$stamp"
