"""Results as JSON, and options from a command line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.cli.results import AskResult, DeviceDiedError, device_object, prompt_options, result_object
from edge_agent.client import AskTimeoutError, DeviceView, NoReceiptError
from edge_agent.core.errors import MoameshError, SettingsError
from edge_agent.core.health import Part, Problem
from edge_agent.core.messages import PromptRefusal, RefusalReason
from tests.client.samples import answer, status


def test_an_answer_carries_its_layers_and_its_aggregation() -> None:
    fields = result_object(AskResult("why?", "device-1", answer(), 7.0))
    assert (fields["outcome"], fields["text"], fields["device_id"]) == ("answered", "because", "device-1")
    layers = fields["provenance"]["layers"]
    assert [[response["device_id"] for response in layer] for layer in layers] == [
        ["device-1", "device-2", "device-3"]
    ] * 2
    wanted = {"device_id", "model", "waiting_time_s", "service_time_s", "output_tokens"}
    assert wanted <= layers[0][0].keys()
    assert wanted <= fields["provenance"]["aggregation"].keys()
    assert (fields["provenance"]["substitutes"], fields["provenance"]["missing"]) == ((), ())
    assert fields["provenance"]["policies"] == {"peer_selection": "uniform"}


def test_a_partial_answer_says_so_and_a_device_tells_its_health() -> None:
    part = replace(answer(), partial=True, detail="at its deadline")
    fields = result_object(AskResult("why?", "device-1", part, 7.0))
    assert (fields["outcome"], fields["partial"], fields["detail"]) == ("answered", True, "at its deadline")
    assert result_object(AskResult("why?", "device-1", answer(), 7.0))["partial"] is False
    sick = replace(status("d"), able=False, problems=(Problem(Part.ENGINE, "gone"),))
    shown = device_object(DeviceView("d", None, sick, 0.0), 0.0)
    assert (shown["able"], shown["problems"]) == (False, [{"part": "engine", "detail": "gone"}])


def test_a_refusal_says_its_reason_and_has_no_provenance() -> None:
    refusal = PromptRefusal("p", "device-1", RefusalReason.OVERLOADED, "the queue is full", 2.0)
    fields = result_object(AskResult("why?", "device-1", refusal, 0.1))
    assert (fields["outcome"], fields["detail"]) == ("refused", "overloaded: the queue is full")
    assert fields["provenance"] is None


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NoReceiptError("gone"), "no_receipt"),
        (AskTimeoutError("late"), "timeout"),
        (DeviceDiedError("dead"), "device_died"),
    ],
)
def test_each_way_of_getting_lost_has_its_own_word(error: MoameshError, outcome: str) -> None:
    result = AskResult("why?", "device-1", error, 1.0)
    assert (result.outcome, result.detail, result.answered) == (outcome, str(error), False)


def test_options_out_of_range_are_the_users_error() -> None:
    with pytest.raises(SettingsError, match="deadline_s must be above 0"):
        prompt_options(deadline_s=0.0, max_tokens=10, temperature=0.5)
