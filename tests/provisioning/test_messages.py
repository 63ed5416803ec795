from __future__ import annotations

import contextlib
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.wire.topics import Channel
from provisioning.errors import ProvisioningError
from provisioning.inventory import Inventory
from provisioning.messages import (
    CHANNEL_TYPES,
    CertificateConfirmed,
    CertificateIssued,
    ClaimRequest,
    Message,
    MessageError,
    RefusalReason,
    RenewalDue,
    RenewalRequest,
    RevocationList,
    TrustUpdate,
    decode,
    encode,
    refused,
    request_id_in,
)
from provisioning.revocation import parse
from provisioning.service import _is_online
from provisioning.trust import TrustBundle
from tests.hostile.check_codec import PEAK_BASE, PEAK_PER_BYTE

EXAMPLES: list[tuple[Channel, Message]] = [
    (Channel.CLAIMS, ClaimRequest("a", "csr", "cHJvb2Y=")),
    (Channel.CLAIMS, CertificateConfirmed("ab12")),
    (Channel.RENEWALS, RenewalRequest("a", "csr", "ab12", "c2ln")),
    (Channel.CERTIFICATES, CertificateIssued("a", "certificate", "bundle", ("eA==",), "crl")),
    (Channel.CERTIFICATES, refused("", RefusalReason.EXPIRED, "too\nlate" * 100)),
    (Channel.CERTIFICATES, RenewalDue("ab12")),
    (Channel.CERTIFICATES, TrustUpdate("bundle", ("eA==", "eQ=="))),
    (Channel.REVOCATIONS, RevocationList("crl")),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(("channel", "message"), EXAMPLES)
def test_what_is_written_is_read_on_its_channel_and_on_no_other(channel: Channel, message: Message) -> None:
    assert decode(encode(message), channel) == message
    for other in Channel:
        if type(message) not in CHANNEL_TYPES.get(other, ()):
            with pytest.raises(MessageError):
                decode(encode(message), other)


@given(st.binary(max_size=300), st.sampled_from(list(Channel)))
def test_bytes_never_raise_anything_else(body: bytes, channel: Channel) -> None:
    with contextlib.suppress(MessageError):
        decode(body, channel)
    assert isinstance(request_id_in(body), str)
    assert _is_online(body) in (True, False)
    with contextlib.suppress(ProvisioningError):
        TrustBundle.parse(body)
    with contextlib.suppress(ProvisioningError):
        parse(body)


@given(st.sampled_from(EXAMPLES), st.text(max_size=12), JSON)
def test_a_changed_field_is_read_strictly_or_refused(example: tuple[Channel, Message], key: str, value: object) -> None:
    channel, message = example
    fields = json.loads(encode(message))
    names = [*fields, key]
    for name in names:
        body = json.dumps(fields | {name: value}).encode()
        with contextlib.suppress(MessageError):
            assert encode(decode(body, channel)) is not None
        request_id_in(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"v":2,"type":"claim-request","request_id":"a","csr":"' + b"x" * 9_000 + b'","proof":"eA=="}',
        b'{"v":2,"type":"claim-request","request_id":"a\\n","csr":"x","proof":"eA=="}',
        b'{"v":2,"type":"claim-request","request_id":"a","csr":"\\ud800","proof":"eA=="}',
        b'{"v":1,"type":"claim-request","request_id":"a","csr":"x","proof":"eA=="}',
        b'{"v":true,"type":"claim-request","request_id":"a","csr":"x","proof":"eA=="}',
        b" " * (256 * 1024 + 1),
    ],
)
def test_the_odd_the_large_and_the_deep_are_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(MessageError) as raised:
        decode(body, Channel.CLAIMS)
    assert len(str(raised.value)) <= 200
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(("channel", "message"), EXAMPLES)
def test_what_is_refused_costs_what_its_bytes_cost(channel: Channel, message: Message) -> None:
    fields = json.loads(encode(message))
    head = {name: fields.pop(name) for name in ("v", "type")}
    bodies = [head | {"nobody knows it": [[]] * 20_000}]
    bodies += [head | fields | {name: [item] * 20_000} for name in fields for item in ({}, 1, [])]
    bodies += [head | {f"{number:x}": 0 for number in range(10_000)}]
    for body in (json.dumps(one).encode() for one in bodies):
        tracemalloc.start()
        with contextlib.suppress(MessageError):
            decode(body, channel)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= PEAK_BASE + PEAK_PER_BYTE * len(body), body[:200]


def test_a_file_that_is_no_inventory_is_said_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("inventory") / "inventory.sqlite3"
    path.write_bytes(b"not a database, but long enough to be looked at" * 40)
    with pytest.raises(ProvisioningError, match="is not a database, as after a power cut: put a copy back"):
        Inventory(path)
