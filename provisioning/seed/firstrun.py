"""The seed for Raspberry Pi OS before Trixie: a script that `systemd.run=` in `cmdline.txt` has run at the first boot.

It runs before the network is up and reboots afterwards. Files stand in it as base64, so that no character of them can
mean anything to the shell. `$MOAMESH_ROOT` in its environment is put before every path, for tests.
"""

from __future__ import annotations

import base64
import shlex
import textwrap

from provisioning.seed.contents import Login, SeedContents
from provisioning.seed.layout import UNITS, device_files
from provisioning.seed.network_files import network_manager_files

_HEAD = """\
#!/bin/bash
# moamesh seed
# Each step is tried, whatever became of the one before: a device with half a network can still be reached.
set -u
root=${MOAMESH_ROOT-}
umask 077
exec >>"$root/var/log/moamesh-firstrun.log" 2>&1

put() { # PATH MODE, content as base64 on stdin
	(umask 022 && mkdir -p "$root$(dirname "$1")")
	base64 -d >"$root$1.new" && chmod "$2" "$root$1.new" && mv "$root$1.new" "$root$1"
}
"""
_TAIL = """\
systemctl daemon-reload
rm -f "$root/boot/firmware/firstrun.sh"
sed -i 's/ systemd\\.run[^ ]*//g; s/ systemd\\.unit=kernel-command-line\\.target//g' "$root/boot/firmware/cmdline.txt"
sync
exit 0
"""
_NETWORK_FOLDER = "/etc/NetworkManager/system-connections"


def firstrun_script(contents: SeedContents) -> bytes:
    """Returns `firstrun.sh`."""
    parts = [_HEAD, _hostname(contents.host)]
    parts += [_put(str(file.path), file.mode, file.content) for file in device_files(contents)]
    parts += [
        _put(f"{_NETWORK_FOLDER}/{name}", 0o600, text.encode())
        for name, text in network_manager_files(contents.network).items()
    ]
    if (wifi := contents.network.wifi) is not None:
        parts.append(f"raspi-config nonint do_wifi_country {shlex.quote(wifi.country)}\nrfkill unblock wifi\n")
    if contents.login is not None:
        parts.append(_login(contents.login))
    # the wizard that asks for a first user would wait at a screen that nobody has
    parts.append("systemctl disable userconfig.service\n")
    parts.append("".join(f"systemctl enable {unit}\n" for unit in UNITS))
    parts.append(_TAIL)
    return "\n".join(parts).encode()


def _hostname(name: str) -> str:
    quoted = shlex.quote(name)
    return (
        f'echo {quoted} >"$root/etc/hostname"\nchmod 644 "$root/etc/hostname"\n'
        f"sed -i '/^127\\.0\\.1\\.1/d' \"$root/etc/hosts\"\n"
        f"printf '127.0.1.1\\t%s\\n' {quoted} >>\"$root/etc/hosts\"\n"
    )


def _login(login: Login) -> str:
    name = shlex.quote(login.name)
    keys = "".join(f"{key}\n" for key in login.ssh_keys).encode()
    folder = f"/home/{login.name}/.ssh"
    return (
        f"id -u {name} || useradd --create-home --shell /bin/bash {name}\n"
        f"for group in adm sudo video; do usermod -a -G $group {name}; done\n"
        + _put(f"{folder}/authorized_keys", 0o600, keys)
        + f'chmod 700 "$root"{shlex.quote(folder)}\nchown -R {name}:{name} "$root"{shlex.quote(folder)}\n'
        + _put(f"/etc/sudoers.d/90-{login.name}", 0o440, f"{login.name} ALL=(ALL) NOPASSWD:ALL\n".encode())
        + "systemctl enable ssh\n"
    )


def _put(path: str, mode: int, content: bytes) -> str:
    encoded = "\n".join(textwrap.wrap(base64.b64encode(content).decode(), 100))
    return f"put {shlex.quote(path)} {mode:04o} <<'END'\n{encoded}\nEND\n"
