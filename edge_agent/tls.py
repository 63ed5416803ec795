"""TLS contexts out of PEM files, and what goes wrong with them in one line that names the file and the reason.

OpenSSL says `[X509: NO_CERTIFICATE_OR_CRL_FOUND]` of a file it does not name, asks a terminal for a passphrase in the
middle of a service, and tells a machine without a clock to trust nobody. Everybody here who opens a TLS connection or
listener makes its context by this file, and asks it what an error means.

Knows the standard library alone, so that every room may use it.
"""

from __future__ import annotations

import datetime
import re
import ssl
from pathlib import Path

from edge_agent.files import read_file, read_if_there, reason

PEM_BYTES_MAX = 4 * 1024 * 1024  # a revocation list of tens of thousands of devices; beyond it something is wrong

_CERTIFICATE = "CERTIFICATE"
_LIST = "X509 CRL"
_KEY = re.compile(rb"-----BEGIN ((?:EC |RSA |ENCRYPTED )?PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
_WORDS = {_CERTIFICATE: "certificate", _LIST: "revocation list"}


class TlsFileError(ValueError):
    """A PEM file can't be used. One line that names it and says why."""


class ClosingSocket(ssl.SSLSocket):
    """Closes itself if its handshake fails, since paho leaves it open. For `SSLContext.sslsocket_class`."""

    def do_handshake(self, block: bool = False) -> None:
        """As in `ssl.SSLSocket`."""
        try:
            super().do_handshake(block)
            self.check_name()
        except BaseException:
            self.close()
            raise

    def check_name(self) -> None:
        """Raises what a wrong name is refused with; here OpenSSL has looked at it."""


def client_context(ca: str | None, certificate: str | None, key: str | None, revoked: str | None) -> ssl.SSLContext:
    """Returns a context that trusts `ca` (`None`: whom the system trusts) and shows `certificate` (`None`: nobody).

    revoked: a list of certificates no longer good; `None`, or a file that is not there yet, is none of them.

    Raises:
        TlsFileError: a file can't be used.
    """
    try:
        context = ssl.create_default_context(cadata=None if ca is None else _blocks(Path(ca), _CERTIFICATE).decode())
    except ssl.SSLError as error:
        raise TlsFileError(f"{ca}: a certificate in it is damaged ({_short(error)})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        load_identity(context, Path(certificate), Path(key or certificate))
    if revoked is not None and _content_if_there(Path(revoked)) is not None:
        check_revocations(Path(revoked))
        context.load_verify_locations(revoked)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    return context


def load_identity(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Has a context show a certificate, whose private key is in `key`; both may be one file.

    Raises:
        TlsFileError: a file can't be used, or they do not belong together; the context is as before.
    """
    blocks = _blocks(certificate, _CERTIFICATE)
    _check_key(key)
    try:
        ssl.create_default_context(cadata=blocks.decode())
    except ssl.SSLError as error:
        raise TlsFileError(f"{certificate}: its certificate is damaged ({_short(error)})") from None
    try:
        context.load_cert_chain(certificate, key, password=_never)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsFileError(f"{key}: its key does not belong to the certificate in {certificate}") from None
        raise TlsFileError(f"{key}: its private key is damaged ({_short(error)})") from None
    except OSError as error:  # it went away between two looks
        raise TlsFileError(f"{certificate}: {reason(error)}") from None


def check_revocations(path: Path) -> None:
    """Makes sure that a revocation list can be read: with a broken one neither broker nor device could go on.

    Raises:
        TlsFileError: it can't.
    """
    _blocks(path, _LIST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=str(path))
    except (ssl.SSLError, OSError) as error:
        raise TlsFileError(f"{path}: its revocation list is damaged ({_short(error)})") from None
    if not context.cert_store_stats()["crl"]:
        raise TlsFileError(f"{path}: holds no revocation list")


def check_authorities(path: Path) -> None:
    """Makes sure that a file holds certificates to trust.

    Raises:
        TlsFileError: it doesn't.
    """
    client_context(str(path), None, None, None)


def out_of_date(certificate: Path, now: datetime.datetime) -> str:
    """Returns what is wrong with a certificate's time by this machine's clock, in one line; "" if nothing is."""
    try:
        begins, ends = _validity(ssl.PEM_cert_to_DER_cert(_blocks(certificate, _CERTIFICATE, first=True).decode()))
    except (TlsFileError, ValueError, IndexError):
        return ""
    if begins <= now <= ends:
        return ""
    said = f"from {begins:%Y-%m-%d %H:%M} on" if now < begins else f"until {ends:%Y-%m-%d %H:%M}"
    late = f"its certificate is good {said}, and this machine's clock says {_clock(now)}"
    return f"{certificate}: {late}; {_mend(now < begins)}"


def say(error: BaseException, *, ca: str | None = None, certificate: str | None = None) -> str:
    """Returns what a failed TLS connection means, in one line; "" for an error that is not of TLS.

    ca: the file that says whom to trust, `None` for the system. certificate: the file that says who we are.
    """
    text = " ".join(str(error).split())
    now = datetime.datetime.now(datetime.UTC)
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return _not_trusted(getattr(error, "verify_message", "") or text, ca, now)
    if not isinstance(error, ssl.SSLError) and "SSL" not in text and "TLS" not in text:
        return ""
    if certificate is not None and (problem := out_of_date(Path(certificate), now)):
        return problem
    if "ALERT_CERTIFICATE_EXPIRED" in text or "alert certificate expired" in text:
        return f"the other side says that our certificate has expired ({certificate}), by its own clock"
    if "ALERT_CERTIFICATE_REVOKED" in text or "alert certificate revoked" in text:
        return f"the other side says that our certificate is revoked ({certificate})"
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return "the other side does not use TLS on this port"
    return f"TLS failed: {text}"


def _not_trusted(text: str, ca: str | None, now: datetime.datetime) -> str:
    why = text.partition("verify failed: ")[2].rpartition(" (")[0] or text
    lowered = why.lower()
    whom = "this system's authorities" if ca is None else f"the authority in {ca}"
    if "not yet valid" in lowered or "has expired" in lowered:
        early = "not yet valid" in lowered
        what = "revocation list" if "crl" in lowered else "certificate"
        state = "not good yet" if early else "no longer good"
        return f"its {what} is {state} by this machine's clock, which says {_clock(now)}; {_mend(early)}"
    if "mismatch" in lowered or "not valid for" in lowered or "names none of" in lowered or "may serve" in lowered:
        return f"its certificate is for another name ({why.rstrip('.')}); use a name in the certificate as URL"
    if "revoked" in lowered:
        return f"its certificate is revoked: {why}"
    return f"its certificate is not issued by {whom} ({why.rstrip('.')}); give its authority as the CA file"


def _mend(early: bool) -> str:
    return (
        "if that is behind, set the clock (timedatectl set-ntp true)"
        if early
        else "if that is ahead, set the clock (timedatectl set-ntp true), otherwise renew the certificate"
    )


def _clock(now: datetime.datetime) -> str:
    return f"{now:%Y-%m-%d %H:%M} UTC"


# --- files ------------------------------------------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    try:
        return read_file(path, PEM_BYTES_MAX)
    except OSError as error:
        raise TlsFileError(f"{path}: {reason(error)}") from None


def _content_if_there(path: Path) -> bytes | None:
    try:
        return read_if_there(path, PEM_BYTES_MAX)
    except OSError as error:
        raise TlsFileError(f"{path}: {reason(error)}") from None


def _blocks(path: Path, kind: str, *, first: bool = False) -> bytes:
    """Returns what of a PEM file is of one kind, at least one block."""
    content = _content(path)
    begin, end = f"-----BEGIN {kind}-----".encode(), f"-----END {kind}-----".encode()
    found = re.findall(re.escape(begin) + rb"[A-Za-z0-9+/=\s]+?" + re.escape(end), content)
    if not found:
        what = f"its {_WORDS[kind]} is cut off or damaged" if begin in content else f"holds no {_WORDS[kind]}"
        raise TlsFileError(f"{path}: {_not_pem(content) or what}")
    return b"\n".join(found[:1] if first else found) + b"\n"


def _check_key(path: Path) -> None:
    content = _content(path)
    found = _KEY.search(content)
    if found is None:
        what = "its private key is cut off or damaged" if b"PRIVATE KEY-----" in content else "contains no private key"
        raise TlsFileError(f"{path}: {_not_pem(content) or what}")
    if b"ENCRYPTED" in found[0]:
        raise TlsFileError(
            f"{path}: its private key is encrypted; a service can't ask for the passphrase: "
            "openssl pkey -in FILE -out PLAIN"
        )


def _not_pem(content: bytes) -> str:
    """Says what a file is that holds no PEM block at all; "" if it holds one."""
    if not content.strip():
        return "is empty"
    if not content.strip(b"\0"):
        return "contains only zero bytes, as after a power cut"
    if b"-----BEGIN " in content:
        return ""
    if content[:1] == b"\x30" and content[1:2] in (b"\x80", b"\x81", b"\x82", b"\x83"):
        return "is DER or PKCS#12, not PEM: openssl x509 -inform DER -in FILE -out PEM makes one of a certificate"
    return "is not PEM"


def _never() -> str:
    raise ssl.SSLError("encrypted")  # pragma: no cover - `_check_key` came first


def _short(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)


def _validity(der: bytes) -> tuple[datetime.datetime, datetime.datetime]:
    """Reads from when until when a certificate is good (RFC 5280, 4.1): the standard library has no function for it.

    Raises:
        ValueError, IndexError: it is no certificate.
    """
    _, at, _ = _element(der, 0)  # Certificate
    _, at, _ = _element(der, at)  # tbsCertificate
    tag, begin, end = _element(der, at)
    if tag == 0xA0:  # version
        _, begin, end = _element(der, end)
    for _ in range(2):  # serialNumber is read; signature, issuer
        _, begin, end = _element(der, end)
    _, begin, end = _element(der, end)  # validity
    tag, first, after = _element(der, begin)
    tag_end, second, last = _element(der, after)
    return _time(tag, der[first:after]), _time(tag_end, der[second:last])


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Returns an element's tag, where its content begins, and where it ends."""
    tag, length, begin = der[at], der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, begin = int.from_bytes(der[begin : begin + count], "big"), begin + count
    return tag, begin, begin + length


def _time(tag: int, text: bytes) -> datetime.datetime:
    value = text.decode("ascii")
    if tag == 0x17:  # UTCTime: two digits of the year, 1950 to 2049
        value = ("19" if value[:2] >= "50" else "20") + value
    return datetime.datetime.strptime(value, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC)
