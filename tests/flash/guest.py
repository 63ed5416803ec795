"""A device in qemu: boots a flashed image as a Raspberry Pi's firmware would, under software emulation."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioning.image.boot_partition import BootPartition
from provisioning.image.partitions import TABLE_BYTES_MAX, Partition, read_partitions

POLL_S = 0.2
CLOCK_AT_BOOT = "2001-01-01T00:00:00"  # a Raspberry Pi has no clock; this is as wrong as it gets
HOST_AS_SEEN_BY_GUEST = "10.0.2.2"  # qemu's user network; reaches this host's loopback


@dataclass(frozen=True)
class Machine:
    """How an architecture is emulated."""

    program: str
    options: tuple[str, ...]
    console: str
    power_button: bool


MACHINES = {
    "amd64": Machine("qemu-system-x86_64", ("-M", "pc", "-cpu", "max"), "ttyS0", True),
    # Debian's kernel for virtual arm64 machines has no driver for this one's button
    "arm64": Machine("qemu-system-aarch64", ("-M", "virt", "-cpu", "cortex-a72"), "ttyAMA0", False),
}


def image_partitions(image: Path) -> tuple[Partition, ...]:
    with image.open("rb") as file:
        return read_partitions(file.read(TABLE_BYTES_MAX))


class Guest:
    """One boot after the other of the same disk; `serial` is what the present or last one said."""

    def __init__(self, arch: str, disk: Path, folder: Path, cores: int = 2, memory_mb: int = 1024) -> None:
        self._machine = MACHINES[arch]
        self._disk = disk
        self._folder = folder
        self._cores = cores
        self._memory_mb = memory_mb
        self._log = folder / "serial.log"
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Guest]:
        """Boots; at the end of the block it is killed if it has not shut down."""
        self._start()
        try:
            yield self
        finally:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    def serial(self) -> str:
        """Everything that it has said on its serial console."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, timeout_s: float) -> None:
        """Waits until the serial console has said `text`."""
        end = time.monotonic() + timeout_s
        while text not in self.serial():
            assert self._process is not None
            assert self._process.poll() is None, f"qemu ended: {self.serial()[-2000:]}"
            assert time.monotonic() < end, f"{text!r} was not said in {timeout_s:g} s: {self.serial()[-3000:]}"
            time.sleep(POLL_S)

    def wait_until_off(self, timeout_s: float) -> None:
        """Waits until it has shut down or wants to reboot, which ends it too."""
        assert self._process is not None
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s:g} s: {self.serial()[-3000:]}") from None

    def shut_down(self, timeout_s: float) -> bool:
        """Presses the power button and waits until it is off; without a button pulls the plug. Says which."""
        assert self._process is not None
        if not self._machine.power_button:
            self.pull_the_plug()
            return False
        self._control("system_powerdown")
        self._process.wait(timeout_s)
        return True

    def pull_the_plug(self) -> None:
        """Ends it at once, as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        """What the firmware does: kernel, initrd and command line from the boot partition."""
        boot = BootPartition(self._disk, image_partitions(self._disk)[0])
        files = {}
        for name in ("kernel8.img", "initramfs8"):
            files[name] = self._folder / name
            files[name].write_bytes(boot.read(name))
        cmdline = boot.read("cmdline.txt").decode().strip()
        # the last console named is where systemd's own lines go
        cmdline = f"{cmdline} console={self._machine.console}"
        command = [
            *(shutil.which(self._machine.program) or self._machine.program, *self._machine.options),
            *("-accel", "tcg,thread=multi", "-smp", str(self._cores), "-m", str(self._memory_mb)),
            *("-display", "none", "-no-reboot", "-serial", f"file:{self._log}"),
            *("-monitor", "none", "-qmp", f"unix:{self._folder / 'qmp'},server=on,wait=off"),
            *("-rtc", f"base={CLOCK_AT_BOOT}", "-device", "virtio-rng-pci"),
            *("-drive", f"file={self._disk},format=raw,if=none,id=card", "-device", "virtio-blk-pci,drive=card"),
            *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"),
            *("-kernel", str(files["kernel8.img"]), "-initrd", str(files["initramfs8"]), "-append", cmdline),
        ]
        self._log.write_bytes(b"")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def _control(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(30.0)
            line.connect(str(self._folder / "qmp"))
            stream = line.makefile("rw", encoding="utf-8")
            stream.readline()
            for name in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": name}) + "\n")
                stream.flush()
                answer: dict[str, Any] = {}
                while "return" not in answer:
                    answer = json.loads(stream.readline())
