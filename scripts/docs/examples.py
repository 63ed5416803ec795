"""One example of every message, turned into bytes by the codec that sends it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge_agent.core import messages as m
from edge_agent.core.states import ItemOutcome, Outcome
from edge_agent.wire import codec
from edge_agent.wire.topics import VERSION, type_name
from provisioning import jobs, signed
from provisioning import messages as certificates

_PROMPT_ID = "5f0c8a1e9b7d4c32a6e1f0d9c8b7a695"
_REQUEST_ID = "Qm1pYnVzLWxpYmVydGF0aXMtY2F1c2E"
_QUESTION = m.ChatMessage(m.Role.USER, "Why is the sky blue?")
_FINGERPRINT = "eetKoTYWWAHnvy0m"
_SAMPLING = m.Sampling(max_output_tokens=64)
_MODEL = "smollm2-135m"
_KITCHEN = m.PeerEntry("kitchen", "", _MODEL, "smollm2", 12, 340, 1, 1.42)
_ATTIC = m.PeerEntry("attic", "", _MODEL, "smollm2", 3, 77, 0, 1.38)
_OWN = m.Contribution("kitchen", _MODEL, 0.004, 1.31, 41, 58)
_PEER = m.Contribution("attic", _MODEL, 0.012, 1.44, 41, 61)
_LAST = m.Contribution("kitchen", _MODEL, 0.0, 1.87, 196, 64)
_PROVENANCE = m.Provenance(
    device_id="kitchen",
    layer_count=1,
    fanout=1,
    layers=((_OWN, _PEER),),
    aggregation=_LAST,
    substitutes=(m.Substitute(1, "attic", "cellar", "no receipt"),),
    missing=(),
    policies=(("peer_selection", "uniform"), ("join", "all")),
    messages_sent=2,
    messages_received=2,
)
_STATUS = m.DeviceStatus(
    device_id="kitchen",
    model=_MODEL,
    synthetic=False,
    interval_s=2.0,
    requests_waiting=1,
    requests_running=1,
    requests_waiting_mean=0.42,
    requests_waiting_predicted=0.51,
    queue_capacity=32,
    arrival_rate_hz=0.05,
    service_time_s_mean=1.42,
    service_time_scv=0.31,
    utilisation=0.61,
    offered_load=0.58,
    stability_margin=0.42,
    accepted=7,
    completed=21,
    rejected=0,
    expired=0,
    cancelled=1,
    failed=0,
    sessions_active=1,
    peers_alive=3,
)
_MESSAGES: tuple[m.Message, ...] = (
    m.Prompt(_PROMPT_ID, (_QUESTION,), m.PromptOptions(layers=1, fanout=1, deadline_s=120.0, sampling=_SAMPLING)),
    m.PromptCancel(_PROMPT_ID),
    m.AnswersQuery("q1", since_s=3_600.0, count_max=2),
    m.PromptReceipt(_PROMPT_ID, "kitchen", 1.4),
    m.PromptRefusal(_PROMPT_ID, "kitchen", m.RefusalReason.OVERLOADED, "the queue is full", 12.5),
    m.LayerProgress(_PROMPT_ID, 1, 1, ("kitchen", "attic"), ("kitchen",)),
    m.TokenChunk(_PROMPT_ID, 0, "Sunlight is"),
    m.Answer(_PROMPT_ID, "kitchen", Outcome.ANSWERED, "Sunlight is scattered.", "", 4.71, _PROVENANCE),
    m.AnswersPage(
        "q1",
        "kitchen",
        (
            m.AnswerSummary("9c1e", "phone", m.Standing.RUNNING, 1.9, "", 0),
            m.AnswerSummary(_PROMPT_ID, "0", m.Standing.ANSWERED, 312.4, "Sunlight is scattered.", 22),
        ),
        next=f"1790000000-5d0c11ab/AECTSgAAAAAAQJEwAAAAAAA=/0/{_PROMPT_ID}",
        whole_s=3_600.0,
    ),
    m.ProposalRequest(_REQUEST_ID, "kitchen", "", 1, (_QUESTION,), (), _SAMPLING, 60.0),
    m.RequestCancel(_REQUEST_ID, "kitchen"),
    m.RequestReceipt(_REQUEST_ID, "attic", None, 1, 1.4),
    m.ProposalResponse(_REQUEST_ID, ItemOutcome.COMPLETED, "Air scatters blue light most.", "", _PEER),
    m.ViewExchange((_KITCHEN, _ATTIC), reply_wanted=True),
    m.SignersWanted("kitchen", "", (_FINGERPRINT,)),
    m.SignersTold("attic", ("MIICFTCCAbugAwIBAgIU",)),  # shortened: a real one is 700 letters
    m.Presence(_KITCHEN, m.PresenceState.ONLINE, 32, "0.1.0"),
    _STATUS,
)

_SERIAL = "3f9a04c2d17be865"
_CERTIFICATE = (
    "-----BEGIN CERTIFICATE-----\nMIIBfTCC...\n-----END CERTIFICATE-----\n"  # shortened: a real one is 800 letters
)
_CRL = "-----BEGIN X509 CRL-----\nMIH6MIGi...\n-----END X509 CRL-----\n"
_CSR = "-----BEGIN CERTIFICATE REQUEST-----\nMIHQMHgC...\n-----END CERTIFICATE REQUEST-----\n"
_SIGNATURE = "MEUCIQDx+k0="
_CERTIFICATE_MESSAGES: tuple[certificates.Message, ...] = (
    certificates.ClaimRequest("c-7Jq2", _CSR, "Zm9yIGV4YW1wbGU="),
    certificates.RenewalRequest("r-81xK", _CSR, _SERIAL, _SIGNATURE),
    certificates.CertificateConfirmed(_SERIAL),
    certificates.CertificateIssued("c-7Jq2", _CERTIFICATE, _CERTIFICATE, (_SIGNATURE,), _CRL),
    certificates.CertificateRefused("c-7Jq2", certificates.RefusalReason.EXPIRED, "the claim of kitchen has expired"),
    certificates.RenewalDue(_SERIAL),
    certificates.TrustUpdate(_CERTIFICATE, (_SIGNATURE,)),
    certificates.RevocationList(_CRL),
)
_JOB = jobs.Job("layers-1", "home", "kitchen", 17, jobs.Action.SET, {"agent.layers": 1})
_REPORT = jobs.JobReport("layers-1", "kitchen", jobs.JobState.DONE, "agent.layers = 1; restarted")

_TEXT_PROMPT = {
    "v": VERSION,
    "type": "prompt",
    "id": "p1",
    "text": "Why is the sky blue?",
}


def all_examples() -> Mapping[str, list[dict[str, Any]]]:
    """Returns AsyncAPI message examples by the message's `type`."""
    bodies = {codec.TYPE_NAMES[type(one)]: codec.encode(one) for one in _MESSAGES}
    bodies |= {type_name(type(one)): certificates.encode(one) for one in _CERTIFICATE_MESSAGES}
    bodies |= {"job-report": jobs.encode(_REPORT).encode(), signed.TYPE: _signed_job()}
    examples = {name: [{"payload": json.loads(body)}] for name, body in bodies.items()}
    examples["prompt"][0] |= {"name": "mqtt5", "summary": "with response topic and correlation data as properties"}
    examples["prompt"].append({"name": "mqtt311", "summary": "from an MQTT 3.1.1 client", "payload": _TEXT_PROMPT})
    return examples


def _signed_job() -> bytes:
    # The form of `signed.sign`, without its key: a real signature would be another one each time.
    fields = {"payload": jobs.encode(_JOB), "certificate": _CERTIFICATE, "signature": _SIGNATURE}
    return json.dumps({"v": VERSION, "type": signed.TYPE, **fields}).encode()
