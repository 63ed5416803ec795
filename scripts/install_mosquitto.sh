#!/usr/bin/env bash
# Installs the mosquitto broker where that needs no question: root, with apt-get. Never fails: without it the
# pip-only broker is used, which does for one host.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/usr/local/sbin"

if command -v mosquitto >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "No mosquitto here: the built-in iotcore broker will be used, and tests that need mosquitto are skipped." \
        "To have it: apt-get install mosquitto, as root."
    exit 0
fi
echo "Debian package mosquitto, the MQTT broker (20 seconds)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
install_it() { apt-get install --yes --quiet --no-install-recommends mosquitto >>"$log" 2>&1; }
if install_it || { apt-get update --quiet >>"$log" 2>&1 && install_it; }; then
    # the package starts a broker of its own on port 1883; ours are children of moamesh, on ports of their choice
    if [ -d /run/systemd/system ]; then
        systemctl disable --now mosquitto >>"$log" 2>&1 || true
    fi
else
    tail -n 3 "$log" >&2
    echo "mosquitto could not be installed: the built-in iotcore broker will be used."
fi
