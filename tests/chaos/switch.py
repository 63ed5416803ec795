"""A switch in this process, with a cable to each host that can be slow, lossy, or cut one way.

Each host's `eth0` is a TAP device whose frames come to us. That needs neither netem nor packet filters in the kernel,
which small kernels lack; who calls needs root and /dev/net/tun.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import struct
import subprocess
from dataclasses import dataclass

from tests.support.patience import PATIENCE_S

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
FRAME_BYTES_MAX = 2048  # an Ethernet frame of 1,514 bytes and a little
FRAMES_AT_ONCE = 64  # read from one host before the others get their turn
BROADCAST = 0x01  # this bit of the first byte of an address: to everybody
NETWORK = "10.77.0"


@dataclass
class Cable:
    """What happens to the frames of one host, each way. Change it at any time."""

    delay_s: float = 0.0
    loss: float = 0.0
    deaf: bool = False
    """Nothing reaches the host."""
    mute: bool = False
    """Nothing leaves the host."""


class Switch:
    """Hosts on one network, the first of them in this process's own namespace.

    Args:
        hosts: their names. Host n has the address `10.77.0.n`, numbered from 1.
        seed: of the losses.
    """

    def __init__(self, hosts: tuple[str, ...], seed: int) -> None:
        self.cables = {host: Cable() for host in hosts}
        self.forwarded = self.lost = 0
        self._hosts = hosts
        self._rng = random.Random(seed)
        self._taps: dict[str, int] = {}
        self._learned: dict[bytes, str] = {}

    def address(self, host: str) -> str:
        """The address of a host."""
        return f"{NETWORK}.{self._hosts.index(host) + 1}"

    def build(self) -> None:
        """Makes the namespaces (named as the hosts) and cables, and begins to forward on the running loop."""
        loop = asyncio.get_running_loop()
        for number, host in enumerate(self._hosts):
            tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            self._taps[host] = tap
            name = f"tap{number}"
            fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
            inside: tuple[str, ...] = ()
            if number:
                ip("netns", "add", host)
                ip("link", "set", name, "netns", host)
                inside = ("-n", host)
            ip(*inside, "link", "set", name, "name", "eth0")
            ip(*inside, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip(*inside, "link", "set", device, "up")
            loop.add_reader(tap, self._read, host, tap)

    def close(self) -> None:
        """Stops forwarding. The namespaces stay until this process's own one ends."""
        for tap in self._taps.values():
            asyncio.get_running_loop().remove_reader(tap)
            os.close(tap)
        self._taps.clear()

    def heal(self) -> None:
        """Every cable is as new."""
        self.cables.update((host, Cable()) for host in self._hosts)

    def _read(self, host: str, tap: int) -> None:
        for _ in range(FRAMES_AT_ONCE):
            try:
                frame = os.read(tap, FRAME_BYTES_MAX)
            except (BlockingIOError, OSError):  # nothing more, or the device goes down at the end
                return
            self._learned[frame[6:12]] = host
            to = self._learned.get(frame[:6])
            receivers = (
                [to] if to is not None and not frame[0] & BROADCAST else [one for one in self._hosts if one != host]
            )
            for receiver in receivers:
                self._carry(frame, host, receiver)

    def _carry(self, frame: bytes, sender: str, receiver: str) -> None:
        out, back = self.cables[sender], self.cables[receiver]
        if out.mute or back.deaf or any(one.loss and self._rng.random() < one.loss for one in (out, back)):
            self.lost += 1
        elif delay_s := out.delay_s + back.delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._write, receiver, frame)
        else:
            self._write(receiver, frame)

    def _write(self, receiver: str, frame: bytes) -> None:
        try:
            os.write(self._taps[receiver], frame)
            self.forwarded += 1
        except (BlockingIOError, OSError, KeyError):  # a full queue loses frames, as a switch does
            self.lost += 1


def ip(*arguments: str) -> None:
    """Runs `ip`."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=PATIENCE_S)
