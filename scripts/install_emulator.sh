#!/usr/bin/env bash
# Installs what `make test-flash` boots an image with, for amd64 or arm64; needs root and apt-get if something is missing.
set -euo pipefail
arch=${1:?amd64 or arm64}
wanted=(mmdebstrap mtools fdisk dosfstools e2fsprogs xz-utils mosquitto)
case $arch in
amd64) wanted+=(qemu-system-x86) ;;
arm64) wanted+=(qemu-system-arm qemu-user-static binfmt-support arch-test gcc-aarch64-linux-gnu g++-aarch64-linux-gnu) ;;
*)
    echo "$arch: only amd64 and arm64" >&2
    exit 2
    ;;
esac
missing=()
for package in "${wanted[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "Not here: ${missing[*]}. To have them: apt-get install ${missing[*]}, as root." >&2
        exit 1
    fi
    echo "Debian packages for the emulator: ${missing[*]} (2 minutes)"
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get update --quiet >/dev/null
    apt-get install --yes --quiet --no-install-recommends "${missing[@]}" >/dev/null
fi
# programs of the other architecture are run by the kernel through qemu
if [ "$arch" = arm64 ] && [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
    mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    service binfmt-support start >/dev/null
fi
