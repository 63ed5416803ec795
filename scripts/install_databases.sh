#!/usr/bin/env bash
# Installs the database servers that the telemetry tests run, where that needs no question: root, with apt-get. Never
# fails: without them those tests are skipped by name.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/usr/local/sbin"

declare -A packages=([influxd]=influxdb [victoria-metrics]=victoria-metrics) # program: Debian's package
wanted=()
for program in "${!packages[@]}"; do
    command -v "$program" >/dev/null || wanted+=("${packages[$program]}")
done
if [ ${#wanted[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not here: ${wanted[*]}. Tests that need them are skipped. To have them: apt-get install ${wanted[*]}, as root."
    exit 0
fi
echo "Debian packages ${wanted[*]}, the databases that telemetry is tested against (30 seconds)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
install_it() { apt-get install --yes --quiet --no-install-recommends "${wanted[@]}" >>"$log" 2>&1; }
if install_it || { apt-get update --quiet >>"$log" 2>&1 && install_it; }; then
    # the packages start servers of their own; the tests start theirs themselves, on ports of their choice
    if [ -d /run/systemd/system ]; then
        systemctl disable --now "${wanted[@]}" >>"$log" 2>&1 || true
    fi
else
    tail -n 3 "$log" >&2
    echo "Could not be installed: ${wanted[*]}. Tests that need them are skipped."
fi
