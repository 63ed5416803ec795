"""`moamesh simulate`: the core that ships, on a virtual clock."""

from __future__ import annotations

import typer

from edge_agent.cli import options as opt
from edge_agent.cli.groups import takes_groups
from edge_agent.cli.simulate import options as simopt


@takes_groups
def simulate(
    *,
    load: simopt.LoadOptions,
    seed: simopt.Seed = 1,
    broken: simopt.FaultOptions,
    plot: simopt.Plot = None,
    telemetry: simopt.Telemetry = None,
    json: opt.Json = False,
) -> None:
    """Simulate a mesh: figures under load beside what theory predicts, or faults by the seed.

    With --faults each seed draws a mesh and breaks it, up to the first broken promise; how to repeat that is printed.
    Exit status 3: a crash, 4: something happened that must not (safety), 5: something that must did not (liveness).
    """
    from edge_agent.cli.simulate.run import simulate_faults, simulate_load
    from edge_agent.lab.simulator.load.scenario import Scenario
    from edge_agent.lab.simulator.load.words import parse_burst, parse_capacity
    from edge_agent.lab.simulator.workload import read_arrivals
    from edge_agent.service_time import parse_service
    from edge_agent.speed_up import parse_speed_up

    faults, seeds = broken.faults, broken.seeds
    if faults is not None or seeds is not None or broken.without is not None:
        status = simulate_faults(
            faults or "all", seeds or f"{seed}", broken.without, broken.jobs, go_on=broken.go_on, json=json
        )
        raise typer.Exit(status)
    recorded = read_arrivals(load.arrivals, load.devices) if load.arrivals else None
    utilisation, rate_hz = load.utilisation, load.arrival_rate_hz
    if utilisation is None and rate_hz is None:
        utilisation, rate_hz = (None, recorded.rate_hz(load.devices)) if recorded else (0.8, None)
    scenario = Scenario(
        devices=load.devices,
        layers=load.layers,
        fanout=load.fanout,
        arrival_rate_hz=rate_hz,
        utilisation=utilisation,
        service=parse_service(load.service),
        aggregation_factor=load.aggregation_factor,
        slots=load.slots,
        speed_up=parse_speed_up(load.speed_up),
        slow_devices=load.slow_devices,
        slow_factor=load.slow_factor,
        prompts=load.prompts,
        warm_up_s=load.warm_up,
        queue_capacity=parse_capacity(load.capacity),
        network_delay_s=load.network_delay_s,
        peer_selection=load.policy,
        layer_plan=load.layer_plan,
        load_news_s=load.load_news_s,
        gossip=load.gossip,
        status=telemetry is not None,
        bursts=(parse_burst(load.burst),) if load.burst else (),
        workload=recorded,
        seed=seed,
    )
    raise typer.Exit(simulate_load(scenario, plot=plot, telemetry=telemetry, json=json))
