#!/usr/bin/env bash
# Installs the programs that only tests need, where that needs no question: root, with apt-get. Never fails: without one
# of them the tests that need it are skipped by name. What the packages would start by themselves is not started, or is
# stopped: tests start their own, on ports of their choice.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/usr/local/sbin:/sbin"

# a file or program that shows that it is here, and Debian's package
needed=(
    "influxd influxdb"                   # the databases that telemetry is tested against
    "victoria-metrics victoria-metrics"
    "ejabberdctl ejabberd"               # the broker that clusters
    "ip iproute2"                        # devices that cross a network
    "openssl openssl"
    "/usr/lib/*/faketime/libfaketime.so.1 libfaketime"
    "sfdisk fdisk"                       # images as Raspberry Pi OS has them
    "mkfs.vfat dosfstools"
    "mke2fs e2fsprogs"
    "mcopy mtools"
    "/usr/lib/chromium/chromium-headless-shell chromium-headless-shell" # the app in a real browser, without its windows
    "mosquitto_pub mosquitto-clients"    # the commands that the documents show for a shell
    "jq jq"
)
services=(influxdb victoria-metrics ejabberd)

is_here() { command -v "$1" >/dev/null || compgen -G "$1" >/dev/null; }
wanted=()
for line in "${needed[@]}"; do
    read -r sign package <<<"$line"
    is_here "$sign" || wanted+=("$package")
done
if [ ${#wanted[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not here: ${wanted[*]}. Tests that need them are skipped. To have them: apt-get install ${wanted[*]}, as root."
    exit 0
fi
echo "Debian packages for tests: ${wanted[*]} (2 minutes)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
install_them() { apt-get install --yes --quiet --no-install-recommends "${wanted[@]}" >>"$log" 2>&1; }
if install_them || { apt-get update --quiet >>"$log" 2>&1 && install_them; }; then
    if [ -d /run/systemd/system ]; then
        for service in "${services[@]}"; do
            systemctl disable --now "$service" >>"$log" 2>&1 || true
        done
    fi
else
    tail -n 3 "$log" >&2
    echo "Could not be installed: ${wanted[*]}. Tests that need them are skipped."
fi
