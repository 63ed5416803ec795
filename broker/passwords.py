"""Passwords as mosquitto's password file holds them: salted PBKDF2-HMAC-SHA512.

mosquitto_passwd takes the password on its command line, where every process on the machine can read it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets

ITERATIONS = 1_000  # secrets here are 128 random bits, which nobody guesses; the broker does this at every connect
SALT_BYTES = 12  # what mosquitto 2.0 reserves
KEY_BYTES = 64

_HASH = re.compile(r"\$7\$([0-9]{1,7})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)")


def hash_password(password: str) -> str:
    """Returns `$7$iterations$salt$key`, with a new salt each time."""
    salt = secrets.token_bytes(SALT_BYTES)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS, KEY_BYTES)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def matches(password: str, password_hash: str) -> bool:
    """Whether this password was hashed to that; `False` for what is no such hash."""
    found = _HASH.fullmatch(password_hash)
    if found is None:
        return False
    try:
        salt, key = (base64.b64decode(part, validate=True) for part in found.groups()[1:])
    except binascii.Error:
        return False
    again = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, max(1, int(found[1])), len(key))
    return hmac.compare_digest(again, key)


def check_hash(password_hash: str) -> str:
    """Returns `password_hash` if it is one, so that nothing else gets into a broker's file.

    Raises:
        ValueError: it is not.
    """
    if _HASH.fullmatch(password_hash) is None:
        raise ValueError("a password hash must be $7$iterations$salt$key (PBKDF2-SHA512)")
    return password_hash
