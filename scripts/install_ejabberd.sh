#!/usr/bin/env bash
# Installs ejabberd, the broker of `moamesh broker run --mode cluster` and of its tests, where that needs no question:
# root, with apt-get. Never fails: without it there is no cluster, and its tests are skipped.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/usr/local/sbin"

if command -v ejabberdctl >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "No ejabberd here: tests of clustered brokers are skipped. To have it: apt-get install ejabberd, as root."
    exit 0
fi
echo "Debian package ejabberd, an MQTT broker that clusters (a minute, 90 MB)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# the package would start a server of its own; ours are children of moamesh, on ports of their choice
RUNLEVEL=1
export RUNLEVEL
install_it() { apt-get install --yes --quiet --no-install-recommends ejabberd >>"$log" 2>&1; }
if install_it || { apt-get update --quiet >>"$log" 2>&1 && install_it; }; then
    if [ -d /run/systemd/system ]; then
        systemctl disable --now ejabberd >>"$log" 2>&1 || true
    fi
else
    tail -n 3 "$log" >&2
    echo "ejabberd could not be installed: tests of clustered brokers are skipped."
fi
