#!/bin/bash
# Builds a bootable Debian image laid out as Raspberry Pi OS is: partition table (MBR), a FAT partition "bootfs" with
# kernel, initrd and cmdline.txt, and an ext4 partition "rootfs". Nothing is mounted for it and no network is needed in
# it: cloud-init waits for a seed on the boot partition. For `make test-flash`; needs root, once.
#
#     scripts/build_test_image.sh amd64|arm64 OUT.img.xz
set -euo pipefail

arch=${1:?amd64 or arm64}
out=${2:?where the image goes}
boot_sectors=$((256 * 2048)) # room for the kernel (60 MB), a wheelhouse (20 MB) and the default model (98 MB)
boot_start=8192              # where Raspberry Pi OS has it
root_start=$((boot_start + boot_sectors))
root_megabytes=1500
case $arch in
amd64) kernel=linux-image-cloud-amd64 ;;
arm64) kernel=linux-image-cloud-arm64 ;;
*) echo "$arch: only amd64 and arm64" >&2; exit 2 ;;
esac
# python3-cffi-backend: without it cloud-init can't configure the host. libgomp1: llama.cpp.
packages=systemd-sysv,udev,dbus,$kernel,initramfs-tools,cloud-init,python3-cffi-backend,python3-venv,ca-certificates
# dosfstools: after a power cut the boot partition is checked, as on Raspberry Pi OS.
packages=$packages,iproute2,sudo,libgomp1,libstdc++6,dosfstools,e2fsprogs

work=$(mktemp -d "${TMPDIR:-/tmp}/moamesh-image.XXXXXX")
trap 'if mount | grep -q " $work/"; then echo "still mounted below $work, left alone" >&2; else rm -rf "$work"; fi' EXIT

echo "[1/3] Debian for $arch (2 minutes; 15 where each program has to be emulated)" >&2
mmdebstrap --quiet --mode=root --format=tar --variant=minbase --architectures="$arch" --include="$packages" \
	--aptopt='Acquire::Retries "3"' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	bookworm "$work/root.tar" </dev/null
mkdir "$work/root"
tar -C "$work/root" -xpf "$work/root.tar"
rm "$work/root.tar"

root=$work/root
: >"$root/etc/machine-id" # each device makes its own at first boot
echo raspberrypi >"$root/etc/hostname"
rm -f "$root/etc/resolv.conf"
cat >"$root/etc/fstab" <<-'END'
	LABEL=rootfs / ext4 defaults,noatime 0 1
	LABEL=bootfs /boot/firmware vfat defaults 0 2
END
mkdir -p "$root/boot/firmware"
# As Raspberry Pi OS tells cloud-init where its seed is.
printf 'datasource_list: [NoCloud, None]\ndatasource:\n  NoCloud:\n    fs_label: bootfs\n' \
	>"$root/etc/cloud/cloud.cfg.d/99_boot_partition.cfg"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf /lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"

echo "[2/3] partitions" >&2
image=$work/image
truncate -s $((root_start * 512 + root_megabytes * 1048576)) "$image"
sfdisk --quiet "$image" <<-END
	label: dos
	label-id: 0x6d6f616d
	start=$boot_start, size=$boot_sectors, type=c
	start=$root_start, type=83
END
# four sectors a cluster, as Raspberry Pi OS has; at 256 MiB that is still enough clusters for FAT32
mkfs.vfat -F 32 -s 4 -n bootfs --offset "$boot_start" "$image" $((boot_sectors / 2)) >/dev/null 2>&1
kernel_file=$(echo "$root"/boot/vmlinuz-*)
initrd_file=$(echo "$root"/boot/initrd.img-*)
echo "console=tty1 root=LABEL=rootfs rootfstype=ext4 fsck.repair=yes rootwait net.ifnames=0" >"$work/cmdline.txt"
# As Raspberry Pi OS with cloud-init has them: nothing but comments.
printf '#cloud-config\n' >"$work/user-data"
printf 'dsmode: local\n' >"$work/meta-data"
printf '# none yet\n' >"$work/network-config"
at=$image@@$((boot_start * 512))
mcopy -i "$at" "$kernel_file" ::kernel8.img
mcopy -i "$at" "$initrd_file" ::initramfs8
for name in cmdline.txt user-data meta-data network-config; do mcopy -i "$at" "$work/$name" "::$name"; done
rm -f "$root"/boot/vmlinuz-* "$root"/boot/initrd.img-* "$root"/vmlinuz* "$root"/initrd.img*
rm -rf "$root/var/cache/apt" "$root/var/lib/apt/lists"
mke2fs -q -t ext4 -L rootfs -d "$root" -E offset=$((root_start * 512)) "$image" ${root_megabytes}M

echo "[3/3] compressing" >&2
mkdir -p "$(dirname "$out")"
xz -1 -T2 -c "$image" >"$out.unfinished"
mv "$out.unfinished" "$out"
