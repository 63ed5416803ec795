"""How every client of ours names its session at a broker: `<mesh>.<who>.<what nobody can guess>`.

Whoever connects with another's client id throws that one out and takes its session: MQTT says so, and only some brokers
(ejabberd) count ids for each login apart. So an id ends in 80 random bits, or in as many that only the installation
which uses them can make. Where a session has to outlive its program the end is made from the installation's secret;
everywhere else it is drawn anew. The mesh and the name before it are for who reads a broker's log.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

SECRET_BYTES = 16  # an installation's, written as 32 hexadecimal digits
_END_DIGITS = 20  # 80 bits: nobody tries so many connections. The whole is at most 150 characters, as brokers are asked
_TAG_DIGITS = 8  # enough to tell two installations apart by eye


def new_secret() -> str:
    """Returns what only one installation is to know."""
    return secrets.token_hex(SECRET_BYTES)


def lasting(mesh: str, device: str, secret: str) -> str:
    """Returns the client id of a device at its home broker: the same after a restart, so that the broker can keep what
    arrives meanwhile, and known to nobody but this installation and that broker."""
    return f"{mesh}.{device}.{_derived(secret, f'session {mesh} {device}')[:_END_DIGITS]}"


def passing(mesh: str, who: str) -> str:
    """Returns a client id for one run or connection. `who` is who connects, and maybe what for."""
    return unguessable(f"{mesh}.{who}")


def unguessable(name: str) -> str:
    """Returns a client id that begins with `name`, never the same twice."""
    return f"{name}.{secrets.token_hex(_END_DIGITS // 2)}"


def install_tag(secret: str) -> str:
    """Returns what an installation is called where everybody reads it. The secret cannot be told from it, nor the
    client id."""
    return _derived(secret, "tag")[:_TAG_DIGITS]


def _derived(secret: str, what: str) -> str:
    return hmac.new(secret.encode(), f"moamesh {what}".encode(), hashlib.sha256).hexdigest()
