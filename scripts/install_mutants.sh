#!/usr/bin/env bash
# Installs cosmic-ray, whose operators `make mutants` draws from, in an environment of its own.
set -euo pipefail

home=${MOAMESH_MUTANTS_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/moamesh/mutants}
package="cosmic-ray==8.7.0"
stamp="$home/.installed"

if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$package" ]; then
    "${PYTHON:-python3}" -m venv --clear "$home" >&2
    "$home/bin/python" -m pip --disable-pip-version-check -qq install "$package" >&2
    echo "$package" >"$stamp"
fi
echo "$home/bin/python"
