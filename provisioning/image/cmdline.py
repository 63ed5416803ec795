"""The kernel's command line on a Raspberry Pi's boot partition (`cmdline.txt`): one line, words between blanks.

Only our own words are changed; what else stands there stays as it is.
"""

from __future__ import annotations

import re
from enum import StrEnum


class FirstBoot(StrEnum):
    """Who reads the seed."""

    CLOUD_INIT = "cloud-init"
    FIRSTRUN = "firstrun"


_OURS = re.compile(r"(?:^|(?<=\s))(ds=nocloud\S*|systemd\.run\S*|systemd\.unit=kernel-command-line\.target)(?:\s+|$)")
_FIRSTRUN = (
    "systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target"
)
# The firmware turns the memory controller off; without it the agent's memory limit would count for nothing.
_MEMORY_CONTROLLER = "cgroup_enable=memory"


def edit_cmdline(text: str, first_boot: FirstBoot, instance_id: str) -> str:
    """Returns the command line with what makes the system read the seed; what an earlier seed put there is replaced."""
    line, newline, rest = text.partition("\n")
    kept = _OURS.sub("", line).rstrip()
    words = [kept] if kept else []
    if _MEMORY_CONTROLLER not in kept.split():
        words.append(_MEMORY_CONTROLLER)
    words.append(f"ds=nocloud;i={instance_id}" if first_boot is FirstBoot.CLOUD_INIT else _FIRSTRUN)
    return " ".join(words) + newline + rest
