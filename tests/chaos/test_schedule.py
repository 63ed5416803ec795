"""The schedule is a function of its arguments, holds what it says, and leaves no kind out."""

from __future__ import annotations

from tests.chaos.schedule import MODEL, Kind, count_kinds, draw_schedule

DEVICES = ("d1", "d2", "d3")


def test_the_same_seed_draws_the_same_schedule_and_another_seed_another() -> None:
    assert draw_schedule(7, 50, DEVICES) == draw_schedule(7, 50, DEVICES)
    assert draw_schedule(7, 50, DEVICES) != draw_schedule(8, 50, DEVICES)


def test_there_are_as_many_kills_as_asked_for_and_of_every_kind_something() -> None:
    counted = count_kinds(draw_schedule(1, 1000, DEVICES))
    assert counted[Kind.KILL.value] == 1000
    assert all(counted.values())


def test_everybody_is_hit() -> None:
    schedule = draw_schedule(1, 1000, DEVICES, models=("d3",))
    killed = {fault.target for fault in schedule if fault.kind is Kind.KILL}
    assert killed == {*DEVICES, MODEL + "d3", "broker", "influxdb", "gateway", "mesh-serve"}
    cut = {fault.target for fault in schedule if fault.kind is Kind.MUTE}
    assert cut == {*DEVICES, "broker", "influxdb", "users"}


def test_disks_are_filled_and_clocks_set_at_devices_alone() -> None:
    for fault in draw_schedule(3, 300, DEVICES, models=("d3",)):
        if fault.kind in (Kind.FILL, Kind.CLOCK):
            assert fault.target in DEVICES
