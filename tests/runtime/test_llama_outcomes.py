"""Whatever a model process says or however it dies: each inference ends exactly once, and a process comes back.

The process is a real one that follows a script in the place of llama.cpp; its "model file" is the script.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.adapters.llama import LlamaEngine
from edge_agent.core.errors import EngineError
from edge_agent.core.events import InferenceCompleted, InferenceFailed
from tests.runtime.inferences import Driven, driven, request
from tests.support.polling import until
from tests.support.scripted_model import CLOSE, DONE, EXIT, HANG, KILL, READY, TEXT, write_script

STALL_S = 2.0  # for what hangs; all else is answered at once, and asked again if this machine is slower than that
NEVER_S = 600.0
DEEP = "[" * 100_000


def done(**changed: str) -> str:
    fields = {
        "id": "$ID",
        "input_tokens": "3",
        "output_tokens": "1",
        "input_tokens_cut": "0",
        "input_tokens_kept": "0",
        "finish_reason": '"stop"',
        **changed,
    }
    return '{"kind": "Done", ' + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


def failed(detail: str, retryable: str) -> str:
    return f'{{"kind": "Failed", "id": $ID, "detail": {detail}, "retryable": {retryable}}}'


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file whose process does everything well, until a test writes another script."""
    monkeypatch.setattr("edge_agent.adapters.llama.child.WORKER_MODULE", "tests.support.scripted_model")
    path = tmp_path / "model.gguf"
    write_script(path)
    return path


def engine_of(model: Path, stall_s: float = NEVER_S, reload_quiet_s: float = NEVER_S) -> LlamaEngine:
    return LlamaEngine(model, threads=1, stall_timeout_s=stall_s, reload_quiet_s=reload_quiet_s)


TROUBLE: dict[str, tuple[list[str], str]] = {
    "no JSON": (["{not json"], "no message"),
    "no object": (["[1]"], "no message"),
    "no UTF-8": (["\udcff\udcfe"], "no message"),
    "nested without end": ([DEEP], "no message"),
    "a line without end": (["x" * 5_000_000], "no message"),
    "an unknown kind": (['{"kind": "Hello", "id": $ID}'], "no message"),
    "no kind": (['{"id": $ID}'], "no message"),
    "a kind that is a list": (['{"kind": ["Done"], "id": $ID}'], "no message"),
    "a field too many": ([done(more="1")], "no message"),
    "a field too few": (['{"kind": "Done", "id": $ID}'], "no message"),
    "an id that is a list": (['{"kind": "Text", "id": [1], "text": "x"}'], "no message"),
    "an id that is null": (['{"kind": "Text", "id": null, "text": "x"}'], "no message"),
    "an id that is true": (['{"kind": "Text", "id": true, "text": "x"}'], "no message"),
    "an id of nobody": (['{"kind": "Text", "id": 999, "text": "x"}', DONE], "nothing is owed"),
    "an end for nobody": ([done(id="999"), DONE], "nothing is owed"),
    "text after the end of the one before": (['{"kind": "Progress", "id": 0, "output_tokens": 1}'], "nothing is owed"),
    "text that is a number": (['{"kind": "Text", "id": $ID, "text": 5}'], "no message"),
    "text that is null": (['{"kind": "Text", "id": $ID, "text": null}'], "no message"),
    "counts that are lists": ([done(input_tokens="[1]")], "no message"),
    "counts that are negative": ([done(output_tokens="-1")], "no message"),
    "counts that are booleans": ([done(output_tokens="true")], "no message"),
    "counts that are huge": ([done(input_tokens_cut="9" * 30)], "no message"),
    "a detail that is a list": ([failed("[1]", "true")], "no message"),
    "retryable is a text": ([failed('"x"', '"no"')], "no message"),
    "it loads twice": ([READY, DONE], "loads twice"),
    "it cancels by itself": (['{"kind": "Cancelled", "id": $ID}'], "gave up"),
    "it fails": ([failed('"because"', "true")], "because"),
    "it fails in two lines": ([failed('"be\\ncause \\u001b[31m"', "false")], "be cause"),
    "it exits at once": ([EXIT], "status 3"),
    "it exits after some text": ([TEXT, EXIT], "status 3"),
    "it is killed at once": ([KILL], "SIGKILL"),
    "it is killed after some text": ([TEXT, TEXT, KILL], "SIGKILL"),
    "it closes its output and lives on": ([TEXT, CLOSE, HANG], "closed its output"),
    "text without end": (['{"kind": "Text", "id": $ID, "text": "' + "x" * 100_000 + '"}'] * 4, "without end"),
}


@pytest.mark.parametrize(("steps", "reason"), TROUBLE.values(), ids=TROUBLE)
async def test_trouble_in_mid_inference_is_one_failure_with_its_reason_and_the_next_one_works(
    model: Path, steps: list[str], reason: str
) -> None:
    write_script(model, infer=steps)
    async with driven(engine_of(model)) as run:
        end = await run.end_of("#1")
        assert isinstance(end, InferenceFailed), end
        assert reason in end.detail
        assert end.detail.isprintable()
        assert "nobody foresaw" not in end.detail
        write_script(model)
        await run.can_infer()


HANGS: dict[str, list[str]] = {"at once": [HANG], "after some text": [TEXT, HANG]}


@pytest.mark.parametrize("steps", HANGS.values(), ids=HANGS)
async def test_a_hang_is_one_failure_and_a_process_comes_back(model: Path, steps: list[str]) -> None:
    write_script(model, infer=steps)
    async with driven(engine_of(model, STALL_S)) as run:
        end = await run.end_of("#1")
        assert isinstance(end, InferenceFailed)
        assert "no progress" in end.detail
        write_script(model)
        await run.can_infer()


async def test_no_event_follows_a_cancel_whatever_the_process_says_then(model: Path) -> None:
    async with driven(engine_of(model)) as run:
        for number, steps in enumerate([steps for steps, _ in TROUBLE.values()]):
            write_script(model)
            await run.can_infer()
            write_script(model, infer=[TEXT, HANG, *steps])  # the hang ends with the cancel: what follows comes after
            item = f"cancelled {number}"
            run.driver.start(request(item))
            await until(lambda item=item: item in run.texts, "its first text")  # type: ignore[misc]  # bound now
            run.driver.cancel(item)
        write_script(model)
        await run.can_infer()
        assert [end for end in run.ends if end.item_id.startswith("cancelled")] == []


# --- loading anew -------------------------------------------------------------------------------------------------


def gone(model: Path) -> None:
    model.unlink()


def damaged(model: Path) -> None:
    model.write_bytes(b"\0" * 100)


def a_folder(model: Path) -> None:
    model.unlink()
    model.mkdir()


def restore(model: Path) -> None:
    if model.is_dir():
        model.rmdir()
    write_script(model)


def of_steps(*steps: str) -> Callable[[Path], None]:
    return lambda model: write_script(model, load=list(steps))


LOADS = {
    "the file is gone": gone,
    "the file is damaged": damaged,
    "a folder stands there": a_folder,
    "there is no memory for the cache": of_steps('{"kind": "LoadFailed", "detail": "no memory for the cache"}', EXIT),
    "the process exits": of_steps(EXIT),
    "the process is killed": of_steps(KILL),
    "the process says nonsense": of_steps("{"),
    "the process says nothing of use": of_steps(DONE.replace("$ID", "1")),
}


async def kill_child(run: Driven, engine: LlamaEngine) -> None:
    pid = engine.child_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: engine.child_pid != pid, "its end is noticed")


@pytest.mark.parametrize("spoil", LOADS.values(), ids=LOADS)
async def test_a_load_that_fails_is_told_refused_at_once_tried_again_and_taken_back(
    model: Path, spoil: Callable[[Path], None]
) -> None:
    engine = engine_of(model)
    async with driven(engine) as run:
        await run.can_infer()
        spoil(model)
        await kill_child(run, engine)
        detail = await run.health_heard(well=False)
        assert "tried again" in detail
        assert detail.isprintable()
        with pytest.raises(EngineError) as caught:  # the engine itself, not only its driver
            await engine.infer(request("direct"), None)
        assert not caught.value.retryable
        assert isinstance(await run.end_of("#1"), InferenceFailed)
        restore(model)
        await run.health_heard(well=True)
        assert isinstance(await run.end_of("#2"), InferenceCompleted)
        assert [bool(word) for word in run.health] in ([True, False], [True, True, False])


async def test_a_process_that_cannot_shut_itself_in_serves_and_that_is_said_once(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_door = "it may read every file that the agent may"
    write_script(model, load=[READY.replace('"open_doors": ""', f'"open_doors": "{open_door}"')])
    engine = engine_of(model)
    async with driven(engine) as run:
        await run.can_infer()
        await kill_child(run, engine)
        await until(lambda: engine.restarts == 1, "another process")
        await run.can_infer()
    assert caplog.text.count(open_door) == 1


async def test_a_reload_that_takes_long_is_told_and_what_waits_for_it_is_refused(model: Path) -> None:
    engine = engine_of(model, reload_quiet_s=0.2)
    async with driven(engine) as run:
        await run.can_infer()
        write_script(model, load=[HANG])
        await kill_child(run, engine)
        end = await run.end_of("#1")  # begun while it was still quiet, or just after
        assert isinstance(end, InferenceFailed)
        assert "loaded again" in await run.health_heard(well=False)


async def test_supervision_goes_on_after_a_defect_of_our_own(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(model)
    async with driven(engine) as run:
        await run.can_infer()
        with monkeypatch.context() as broken:

            def stumble(path: Path) -> int:
                raise KeyError("a defect")

            broken.setattr("edge_agent.engines.model_file.check_file", stumble)
            await kill_child(run, engine)
            assert "a defect" in await run.health_heard(well=False)
        await run.health_heard(well=True)
        assert isinstance(await run.end_of("#1"), InferenceCompleted)


async def test_a_model_that_kills_its_process_at_every_prompt_is_told_and_taken_back(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.runtime.engine_health.TRIAL_PAUSE_FIRST_S", 0.05)
    write_script(model, infer=[KILL])
    async with driven(engine_of(model)) as run:
        for number in range(2):
            assert isinstance(await run.end_of(f"#{number}"), InferenceFailed)
        assert "SIGKILL" in await run.health_heard(well=False)
        write_script(model)
        await run.health_heard(well=True)
        assert isinstance(await run.end_of("#3"), InferenceCompleted)


@pytest.mark.parametrize("spoil", LOADS.values(), ids=LOADS)
async def test_the_first_start_refuses_in_one_line(model: Path, spoil: Callable[[Path], None]) -> None:
    spoil(model)
    engine = engine_of(model)
    heard: list[str] = []
    engine.watch(heard.append)
    with pytest.raises(EngineError) as caught:
        await engine.start()
    assert not caught.value.retryable
    assert "\n" not in caught.value.detail
    assert heard == []
