"""What signed entries cost: bytes of gossip, and time to sign and to look at them. `python -m bench.entries`.

Gossip a second and device: with `gossip_interval_s` of 2 s a device sends half an exchange of its own and half a reply
a second, and hears as much.
"""

from __future__ import annotations

import tempfile
import timeit
from dataclasses import replace
from pathlib import Path

from edge_agent.adapters.notary import FileNotary, MemberFiles
from edge_agent.core.messages import PeerEntry, ViewExchange
from edge_agent.core.settings import AgentSettings
from edge_agent.wire.codec import decode, encode
from edge_agent.wire.statements import statement
from provisioning.authority import MeshAuthority

MESH = "home"
TIMES = 300


def main() -> None:
    """Prints one line for each figure."""
    settings = AgentSettings()
    interval = settings.gossip_interval_s or 1.0
    with tempfile.TemporaryDirectory() as folder:
        notary = _notary(Path(folder))
    entries = tuple(_entry(f"device-{number}") for number in range(settings.gossip_sample + 1))
    told = statement(MESH, entries[0])
    proof = notary.sign(told)
    name = entries[0].device_id
    signed = tuple(replace(entry, proof=proof) for entry in entries)
    before, after = (len(encode(ViewExchange(some, reply_wanted=True))) for some in (entries, signed))
    for what, size in (("unsigned", before), ("signed", after)):
        sent = size / interval * 2  # half an exchange and half a reply for each interval's half
        print(f"exchange of {len(entries)} entries, {what}: {size:,} bytes; {sent:,.0f} bytes a second and device")
    print(f"certificate, in each presence and once to who has not seen it: {len(notary.certificate())} bytes")

    def sign() -> None:
        notary._signed = (b"", "")
        notary.sign(told)

    def verify() -> None:
        notary._verified.clear()
        notary.judge(name, told, proof)

    body = encode(ViewExchange(signed, reply_wanted=True))
    sign_s, verify_s, known_s = _time(sign), _time(verify), _time(lambda: notary.judge(name, told, proof))
    statement_s, decode_s = _time(lambda: statement(MESH, entries[0])), _time(lambda: decode(body))
    print(f"sign {sign_s * 1e6:.0f} us, look at {verify_s * 1e6:.0f} us, at one seen before {known_s * 1e6:.1f} us")
    print(f"statement {statement_s * 1e6:.1f} us, decode the exchange {decode_s * 1e6:.0f} us")
    a_second = (sign_s + len(entries) * (verify_s + statement_s)) / interval * 2
    print(f"all of it at {interval:g} s between exchanges: {a_second:.3%} of one core")


def _notary(folder: Path) -> FileNotary:
    authority = MeshAuthority.create(folder / "ca", MESH)
    path = folder / "device-0.pem"
    path.write_bytes(authority.issue_device("device-0").combined_pem)
    return FileNotary(MESH, "device-0", MemberFiles(folder / "ca/ca.pem", folder / "ca/crl.pem", path, path))


def _entry(name: str) -> PeerEntry:
    model = "smollm2-135m-instruct-q8_0"
    return PeerEntry(name, "mqtts://192.168.178.42:8883", model, "smollm2", 1_795_000_000, 43_200, 2, 1.4217)


def _time(call: object) -> float:
    return min(timeit.repeat(call, number=TIMES, repeat=5)) / TIMES  # type: ignore[arg-type]  # callables of no result


if __name__ == "__main__":
    main()
