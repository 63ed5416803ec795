"""The pairing link and the pictures of its code, read back by a reader of another maker (ZXing)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image

from edge_agent.core.errors import SettingsError
from edge_agent.operator.pairing_link import (
    Addresses,
    PairingLink,
    is_here,
    make_matrix,
    on_host,
    web_url_of,
    write_picture,
)

ADDRESSES = Addresses("http://192.168.1.5:8080", ("ws://192.168.1.5:9001",))
LINK = PairingLink(ADDRESSES, "home", "alice", "s" * 32, ("kitchen",))


def test_a_link_says_everything_behind_the_hash_where_no_server_sees_it() -> None:
    page, _, fragment = LINK.text().partition("#")
    assert page == "http://192.168.1.5:8080/"
    packed = fragment.removeprefix("pair=")
    assert "=" not in packed
    assert json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))) == {
        "v": 1,
        "mesh": "home",
        "brokers": ["ws://192.168.1.5:9001"],
        "user": "alice",
        "secret": "s" * 32,
        "devices": ["kitchen"],
    }
    assert "devices" not in json.loads(
        base64.urlsafe_b64decode(PairingLink(ADDRESSES, "home", "a", "s").text().partition("=")[2] + "==")
    )
    assert "ssss" not in repr(LINK)


def test_pictures_are_read_as_the_link_and_are_their_owners_alone(tmp_path: Path) -> None:
    png, svg = tmp_path / "code.png", tmp_path / "code.svg"
    write_picture(LINK.text(), png, "png")
    write_picture(LINK.text(), svg, "svg")
    with Image.open(png) as picture:
        assert [found.text for found in zxingcpp.read_barcodes(picture.convert("L"))] == [LINK.text()]
    assert svg.read_text().count("<svg") == 1
    assert {path.stat().st_mode & 0o777 for path in (png, svg)} == {0o600}
    with pytest.raises(SettingsError, match="can't be written"):
        write_picture(LINK.text(), tmp_path / "nowhere" / "code.png", "png")


def test_a_link_too_long_for_a_code_says_so() -> None:
    with pytest.raises(SettingsError, match="too long for a QR code"):
        make_matrix("x" * 3000)


@pytest.mark.parametrize(
    ("app", "broker", "words"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:9001", ("this computer only", "it never leaves this computer")),
        ("http://10.0.0.5:8080", "ws://10.0.0.5:9001", ("whoever reaches 10.0.0.5", "can read the secret, prompts")),
        ("http://pi.local:8080", "wss://pi.local:8885", ("whoever reaches pi.local", "the page is plain HTTP")),
        (
            "https://pi.local:8080",
            "wss://pi.local:8885",
            ("whoever reaches pi.local", "encrypted (TLS); the phone must trust"),
        ),
        ("http://10.0.0.5:8080", "ws://localhost:9001", ("this computer only", "unencrypted")),
    ],
)
def test_who_reaches_a_link_and_what_is_safe_about_it_is_said(app: str, broker: str, words: tuple[str, str]) -> None:
    addresses = Addresses(app, (broker,))
    assert words[0] in addresses.reach()
    assert words[1] in addresses.security()


def test_addresses_that_a_browser_would_refuse_are_refused_here() -> None:
    with pytest.raises(SettingsError, match="browsers let no page on https:// connect to ws://pi:9001"):
        Addresses("https://pi:8080", ("ws://pi:9001",))
    for app, brokers in (
        ("ftp://pi", ("ws://pi:1",)),
        ("http://pi/#pair=x", ("ws://pi:1",)),
        ("http://user:word@pi", ("ws://pi:1",)),
        ("http://pi", ("mqtt://pi:1",)),
        ("http://pi", ()),
        ("http://pi", ("ws://pi:1",) * 5),
        ("http://pi:99999", ("ws://pi:1",)),
    ):
        with pytest.raises(SettingsError, match=r"--app-url|--web-broker"):
            Addresses(app, brokers)


def test_hosts_are_put_into_urls_as_they_must_be() -> None:
    assert on_host("http://127.0.0.1:8080", "10.0.0.5") == "http://10.0.0.5:8080"
    assert on_host("ws://127.0.0.1:9001", "fd00::1") == "ws://[fd00::1]:9001"
    assert web_url_of("mqtts://kitchen.local:8883", 8885) == "wss://kitchen.local:8885"
    assert web_url_of("mqtts://[fd00::1]:8883", 8885) == "wss://[fd00::1]:8885"
    assert [is_here(f"http://{host}:1") for host in ("localhost", "127.0.0.9", "[::1]", "10.0.0.1", "pi")] == [
        True,
        True,
        True,
        False,
        False,
    ]
