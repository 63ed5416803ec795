"""Whole devices over a real broker, in one process, with an engine of declared service times."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from broker.embedded import EmbeddedBroker
from edge_agent.adapters.telemetry import read_points
from edge_agent.client import MeshClient
from edge_agent.core.messages import Answer, LayerProgress, PromptOptions, PromptReceipt, PromptRefusal, TokenChunk
from edge_agent.core.states import Outcome
from edge_agent.wire import topics
from edge_agent.wire.topics import Channel
from tests.adapters.mqtt_devices import user
from tests.support.brokers import any_broker, mosquitto
from tests.support.hosts import MESH, mesh_of, quick
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

__all__ = ["any_broker", "mosquitto"]


async def ask(client: MeshClient, device: str = "d0", begun: asyncio.Event | None = None, **options: object) -> Answer:
    wanted = PromptOptions(**options)  # type: ignore[arg-type]  # by name
    ended = await client.ask_to_end(
        device, "why?", wanted, timeout_s=PATIENCE_S, on_message=lambda _: begun.set() if begun else None
    )
    assert isinstance(ended, Answer), ended
    return ended


async def test_a_prompt_crosses_the_mesh_on_either_broker(any_broker: EmbeddedBroker, tmp_path: Path) -> None:
    async with mesh_of(4, any_broker.url, tmp_path), MeshClient(any_broker.url, MESH) as client:
        seen = [type(message) async for message in client.ask("d0", "why?", PromptOptions(layers=2, fanout=2))]
        assert seen[0] is PromptReceipt
        assert seen[-1] is Answer
        assert seen.count(LayerProgress) == 4
        assert TokenChunk in seen
        answer = await ask(client, layers=2, fanout=2)
        assert answer.outcome is Outcome.ANSWERED
        for layer in answer.provenance.layers:
            devices = {contribution.device_id for contribution in layer}
            assert len(devices) == 3
            assert "d0" in devices


async def test_twenty_prompts_at_once_are_all_answered(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    async with mesh_of(4, mosquitto.url, tmp_path), MeshClient(mosquitto.url, MESH) as client:
        answers = await asyncio.gather(*(ask(client, f"d{n % 4}", layers=2, fanout=2) for n in range(20)))
        assert all(answer.outcome is Outcome.ANSWERED for answer in answers)
        assert all(len(layer) == 3 for answer in answers for layer in answer.provenance.layers)


async def test_a_broker_restarted_under_load_costs_no_answer(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    options = {"service": "deterministic:0.15"}
    async with mesh_of(4, mosquitto.url, tmp_path, **options), MeshClient(mosquitto.url, MESH) as client:
        begun = [asyncio.Event() for _ in range(12)]
        asking = [
            asyncio.create_task(ask(client, f"d{n % 4}", begun[n], layers=2, fanout=2, deadline_s=PATIENCE_S))
            for n in range(12)
        ]
        await until(lambda: all(one.is_set() for one in begun), "all are under way")
        await mosquitto.restart()
        answers = await asyncio.gather(*asking)
        assert [answer.outcome for answer in answers] == [Outcome.ANSWERED] * 12


async def test_a_full_device_refuses_and_says_when_to_try_again(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    options = {
        "settings": quick(queue_capacity=2, principal_share=1.0),
        "service": f"deterministic:{PATIENCE_S}",
    }  # both places are kept
    async with mesh_of(1, mosquitto.url, tmp_path, **options), MeshClient(mosquitto.url, MESH) as client:
        local = PromptOptions(layers=0)
        asked = [asyncio.create_task(client.ask_to_end("d0", "why?", local, prompt_id=f"p{n}")) for n in range(5)]
        await until(lambda: sum(one.done() for one in asked) >= 3, "those beyond the two places")
        refusals = [one.result() for one in asked if one.done()]
        assert len(refusals) == 3
        for number in range(5):
            await client.cancel("d0", f"p{number}")
        await asyncio.gather(*asked)
        assert all(isinstance(refusal, PromptRefusal) for refusal in refusals)
        assert all(refusal.reason == "overloaded" and refusal.retry_after_s for refusal in refusals)


async def test_telemetry_on_disk_and_the_live_figures_are_the_same_numbers(
    mosquitto: EmbeddedBroker, tmp_path: Path
) -> None:
    async with mesh_of(2, mosquitto.url, tmp_path), MeshClient(mosquitto.url, MESH) as client:
        statuses = []
        await client.start_watching(lambda message, retained: statuses.append(message))
        await ask(client, layers=1, fanout=1)
        await until(lambda: sum(getattr(s, "completed", 0) >= 2 for s in statuses) >= 1, "a status after the answer")
    points = list(read_points(tmp_path / "d0-telemetry"))
    queue = [point for point in points if point.measurement == "agent_queue"]
    live = next(s for s in statuses if getattr(s, "device_id", "") == "d0" and getattr(s, "completed", 0) >= 2)
    assert any(
        point.fields["completed"] == live.completed and point.fields["utilisation"] == live.utilisation
        for point in queue
    )
    assert {point.measurement for point in points} == {"agent_queue", "agent_request", "agent_session"}


def prompt_body(**fields: object) -> bytes:
    body = {"v": 2, "type": "prompt", "prompt_id": "bad", "messages": [{"role": "user", "content": "why?"}], **fields}
    return json.dumps(body).encode()


BAD_PROMPTS = {
    "empty body": b"",
    "wrong UTF-8": b"\xff\xfe",
    "no object": b"[]",
    "wrong schema version": prompt_body(v=99),
    "no schema version": b'{"type":"prompt"}',
    "unknown field": prompt_body(layerz=2),
    "unknown option": prompt_body(options={"layerz": 2}),
    "negative M": prompt_body(options={"layers": -1}),
    "fractional M": prompt_body(options={"layers": 1.5}),
    "negative k": prompt_body(options={"fanout": -1}),
    "fractional k": prompt_body(options={"fanout": 0.5}),
    "deadline 0": prompt_body(options={"deadline_s": 0}),
    "empty prompt": prompt_body(messages=[{"role": "user", "content": ""}]),
    "no messages": prompt_body(messages=[]),
    "1 MB prompt": prompt_body(messages=[{"role": "user", "content": "x" * 2**20}]),
}


async def test_every_bad_prompt_is_refused_in_words_and_a_good_one_is_answered_meanwhile(
    mosquitto: EmbeddedBroker, tmp_path: Path
) -> None:
    answers = topics.build(MESH, "d0", Channel.ANSWERS, "me", "user")
    options = {"service": "deterministic:0.5"}
    async with mesh_of(1, mosquitto.url, tmp_path, **options) as (device,), user(mosquitto.url, answers) as one:
        async with MeshClient(mosquitto.url, MESH) as client:
            good = asyncio.create_task(ask(client, layers=0))
            for number, (name, body) in enumerate(BAD_PROMPTS.items(), start=1):
                await one.prompt(body, to="d0", response=answers)
                refusal = json.loads((await one.arrival(number)).payload)
                assert refusal["type"] == "prompt-refusal", name
                assert refusal["reason"] in {"invalid", "too_large", "unsupported_version"}, name
                assert 0 < len(refusal["detail"]) <= 200, name
                assert "\n" not in refusal["detail"], name
            assert (await good).outcome is Outcome.ANSWERED
        assert device.agent.counters.prompts_refused == len(BAD_PROMPTS)


async def test_a_response_topic_outside_the_devices_own_answers_is_refused_and_never_written_to(
    mosquitto: EmbeddedBroker, tmp_path: Path
) -> None:
    elsewhere = (
        topics.build(MESH, "d1", Channel.ANSWERS, "me", "user"),
        topics.build(MESH, "d0", Channel.ANSWERS, "user.alice", "user"),
        topics.build(MESH, "d1", Channel.PROPOSALS, "me"),
        "somewhere/else",
    )
    async with mesh_of(1, mosquitto.url, tmp_path) as (device,), user(mosquitto.url, *elsewhere) as one:
        for number, topic in enumerate(elsewhere, start=1):
            await one.prompt(prompt_body(), to="d0", response=topic)
            await until(lambda number=number: device.agent.counters.bad_input == number, "it is counted")
        async with MeshClient(mosquitto.url, MESH) as client:
            assert (await ask(client, layers=0)).outcome is Outcome.ANSWERED
        assert one.got == []
