"""What is an address, and what is this machine alone."""

from __future__ import annotations

import pytest

from edge_agent.hosts import address_of, is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "0:0::1", "localhost", "kitchen.localhost"])
def test_what_stays_on_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.lan", "notlocalhost", "127.0.0.1.lan", ""])
def test_what_others_may_reach(host: str) -> None:
    assert not is_loopback(host)


def test_an_address_is_one_however_it_is_written_and_a_name_is_none() -> None:
    assert address_of("FD00:0::7") == address_of("fd00::7")
    assert address_of("fe80::1%eth0") == address_of("fe80::1")
    assert address_of("kitchen.local") is address_of("10.0.0") is address_of("") is None
