"""What the operator answers, also to those whom no broker's access rules stop."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from edge_agent.wire.topics import Channel
from provisioning.messages import (
    CertificateConfirmed,
    CertificateIssued,
    CertificateRefused,
    ClaimRequest,
    Message,
    RefusalReason,
    RenewalDue,
    encode,
)
from provisioning.registrar import CERTIFICATES_A_MONTH_MAX, DUE_INTERVAL, Registrar
from tests.provisioning.home import Home, in_days


def refusal(message: Message) -> tuple[RefusalReason, str]:
    assert isinstance(message, CertificateRefused)
    return message.reason, message.detail


def test_an_expired_claim_is_refused(home: Home) -> None:
    invitation = home.invite("kitchen")
    request = home.store("kitchen", invitation).claim_request(invitation.secret)
    answer = home.answer("kitchen", Channel.CLAIMS, request, days=8.0)
    assert refusal(answer) == (RefusalReason.EXPIRED, "the claim of kitchen has expired; invite it again")


def test_a_claim_used_in_time_is_answered_again_after_it_expired(home: Home) -> None:
    invitation = home.invite("kitchen")
    store = home.store("kitchen", invitation)
    first = home.answer("kitchen", Channel.CLAIMS, store.claim_request(invitation.secret), days=6.9)
    again = home.answer("kitchen", Channel.CLAIMS, store.claim_request(invitation.secret), days=7.5)
    assert isinstance(first, CertificateIssued)
    assert isinstance(again, CertificateIssued)
    assert first.certificate == again.certificate
    with home.mesh.inventory(clock=lambda: in_days(7.5).timestamp()) as inventory:
        assert [claim.device_id for claim in inventory.open_claims()] == ["kitchen"]


def test_a_confirmed_claim_is_burnt(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    invitation = home.invite("kitchen")
    store = home.store("kitchen", invitation)
    issued = home.answer("kitchen", Channel.CLAIMS, store.claim_request(invitation.secret))
    assert isinstance(issued, CertificateIssued)
    serial = f"{store.accept(issued).serial_number:x}"
    with home.mesh.inventory() as inventory:
        registrar = Registrar(home.authority, inventory)
        assert registrar.handle("kitchen", Channel.CLAIMS, encode(CertificateConfirmed("abc"))) == []
        assert inventory.claim("kitchen") is not None
        assert registrar.handle("kitchen", Channel.CLAIMS, encode(CertificateConfirmed(serial))) == []
        assert inventory.claim("kitchen") is None
    answer = home.answer("kitchen", Channel.CLAIMS, store.claim_request(invitation.secret))
    assert refusal(answer)[0] is RefusalReason.USED
    assert "claim cannot be used again" in caplog.text
    assert invitation.secret not in caplog.text


def test_a_wrong_secret_is_refused_and_leaves_the_claim_as_it_was(home: Home) -> None:
    invitation = home.invite("kitchen")
    store = home.store("kitchen", invitation)
    wrong = home.answer("kitchen", Channel.CLAIMS, store.claim_request("a guess"))
    assert refusal(wrong)[0] is RefusalReason.WRONG_PROOF
    assert isinstance(home.answer("kitchen", Channel.CLAIMS, store.claim_request(invitation.secret)), CertificateIssued)


def test_a_proof_of_one_request_is_none_of_another(home: Home) -> None:
    invitation = home.invite("kitchen")
    store, other = home.store("kitchen", invitation), home.store("garage")
    overheard = store.claim_request(invitation.secret)
    forged = replace(overheard, csr=other.claim_request("whatever").csr)
    assert refusal(home.answer("kitchen", Channel.CLAIMS, forged))[0] is RefusalReason.WRONG_PROOF
    assert refusal(home.answer("garage", Channel.CLAIMS, overheard))[0] is RefusalReason.NOT_INVITED


def test_an_earlier_invitation_is_void(home: Home) -> None:
    first = home.invite("kitchen")
    second = home.invite("kitchen")
    store = home.store("kitchen", first)
    assert refusal(home.answer("kitchen", Channel.CLAIMS, store.claim_request(first.secret)))[0] is (
        RefusalReason.WRONG_PROOF
    )
    assert isinstance(home.answer("kitchen", Channel.CLAIMS, store.claim_request(second.secret)), CertificateIssued)


def test_what_can_not_be_read_is_refused_with_its_id(home: Home) -> None:
    answer = home.answer("kitchen", Channel.CLAIMS, b'{"v":2,"type":"claim-request","request_id":"abc","csr":7}')
    assert isinstance(answer, CertificateRefused)
    assert (answer.request_id, answer.reason) == ("abc", RefusalReason.BAD_REQUEST)
    assert refusal(home.answer("kitchen", Channel.RENEWALS, encode(ClaimRequest("a", "b", "c"))))[0] is (
        RefusalReason.BAD_REQUEST
    )


def test_a_renewal_that_the_live_certificate_did_not_sign_is_refused(home: Home) -> None:
    kitchen, garage = home.joined("kitchen"), home.joined("garage")
    certificate = kitchen.certificate()
    assert certificate is not None
    stolen = replace(garage.renewal_request(), serial=f"{certificate.serial_number:x}")
    assert refusal(home.answer("kitchen", Channel.RENEWALS, stolen))[0] is RefusalReason.WRONG_PROOF
    assert refusal(home.answer("kitchen", Channel.RENEWALS, garage.renewal_request()))[0] is RefusalReason.BAD_REQUEST


def test_a_revoked_or_expired_member_can_not_renew(home: Home) -> None:
    kitchen = home.joined("kitchen")
    late = home.answer("kitchen", Channel.RENEWALS, kitchen.renewal_request(), days=91.0)
    assert refusal(late)[0] is RefusalReason.EXPIRED
    home.mesh.revoke("kitchen", home.authority)
    assert refusal(home.answer("kitchen", Channel.RENEWALS, kitchen.renewal_request()))[0] is RefusalReason.REVOKED


def test_a_renewal_is_repeated_for_the_same_key_and_a_flood_is_stopped(home: Home) -> None:
    kitchen = home.joined("kitchen")
    first = home.answer("kitchen", Channel.RENEWALS, kitchen.renewal_request())
    again = home.answer("kitchen", Channel.RENEWALS, kitchen.renewal_request())
    assert isinstance(first, CertificateIssued)
    assert isinstance(again, CertificateIssued)
    assert first.certificate == again.certificate
    for _ in range(CERTIFICATES_A_MONTH_MAX - 2):
        (kitchen.folder / "pending.key").unlink()
        issued = home.answer("kitchen", Channel.RENEWALS, kitchen.renewal_request())
        assert isinstance(issued, CertificateIssued)
    (kitchen.folder / "pending.key").unlink()
    reason, detail = refusal(home.answer("kitchen", Channel.RENEWALS, kitchen.renewal_request()))
    assert reason is RefusalReason.TROUBLE  # asking again later helps
    assert detail == f"kitchen got 6 certificates in 30 days; the next: {in_days(30.0).date()}"
    assert isinstance(home.answer("kitchen", Channel.RENEWALS, kitchen.renewal_request(), days=30.1), CertificateIssued)


def test_a_device_whose_clock_does_not_know_is_told_to_renew(home: Home) -> None:
    kitchen = home.joined("kitchen")
    assert not kitchen.renewal_due(in_days(59.0))
    assert kitchen.renewal_due(in_days(61.0))
    certificate = kitchen.certificate()
    assert certificate is not None
    days = 59.0
    with home.mesh.inventory() as inventory:
        registrar = Registrar(home.authority, inventory, now=lambda: in_days(days))
        assert registrar.due() == []
        days = 61.0
        assert [outgoing.message for outgoing in registrar.due()] == [RenewalDue(f"{certificate.serial_number:x}")]
        assert registrar.due() == []
        days += DUE_INTERVAL.total_seconds() / 86_400.0 + 0.01
        assert len(registrar.due()) == 1


def test_the_renewed_certificate_keeps_the_addresses_the_operator_gave(home: Home) -> None:
    kitchen = home.store("kitchen")
    kitchen.adopt(home.mesh.enrol("kitchen", home.authority, ["10.1.2.3"]))
    issued = home.answer("kitchen", Channel.RENEWALS, kitchen.renewal_request())
    assert isinstance(issued, CertificateIssued)
    assert "10.1.2.3" in str(kitchen.accept(issued).extensions)
