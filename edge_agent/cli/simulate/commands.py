"""`moamesh simulate`: the core that ships, on a virtual clock."""

from __future__ import annotations

import typer

from edge_agent.cli import options as opt
from edge_agent.cli.simulate import options as simopt


def simulate(
    devices: simopt.Devices = 20,
    layers: simopt.Layers = 2,
    fanout: simopt.Fanout = 2,
    utilisation: simopt.Utilisation = None,
    arrival_rate_hz: simopt.ArrivalRateHz = None,
    arrivals: simopt.Arrivals = None,
    burst: simopt.Burst = None,
    prompts: simopt.Prompts = None,
    warm_up: simopt.WarmUp = None,
    capacity: simopt.Capacity = "unbounded",
    service: simopt.Service = "exponential:1.0",
    aggregation_factor: simopt.AggregationFactor = 1.0,
    slow_devices: simopt.SlowDevices = 0,
    slow_factor: simopt.SlowFactor = 3.0,
    network_delay_s: simopt.NetworkDelayS = 0.0,
    policy: simopt.Policy = "uniform",
    layer_plan: simopt.LayerPlan = "fixed",
    load_news_s: simopt.LoadNewsS = 0.0,
    gossip: simopt.Gossip = False,
    seed: simopt.Seed = 1,
    faults: simopt.Faults = None,
    seeds: simopt.Seeds = None,
    without: simopt.Without = None,
    jobs: simopt.Jobs = 1,
    go_on: simopt.GoOn = False,
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

    if faults is not None or seeds is not None or without is not None:
        raise typer.Exit(simulate_faults(faults or "all", seeds or f"{seed}", without, jobs, go_on=go_on, json=json))
    recorded = read_arrivals(arrivals, devices) if arrivals else None
    if utilisation is None and arrival_rate_hz is None:
        utilisation, arrival_rate_hz = (None, recorded.rate_hz(devices)) if recorded else (0.8, None)
    scenario = Scenario(
        devices=devices,
        layers=layers,
        fanout=fanout,
        arrival_rate_hz=arrival_rate_hz,
        utilisation=utilisation,
        service=parse_service(service),
        aggregation_factor=aggregation_factor,
        slow_devices=slow_devices,
        slow_factor=slow_factor,
        prompts=prompts,
        warm_up_s=warm_up,
        queue_capacity=parse_capacity(capacity),
        network_delay_s=network_delay_s,
        peer_selection=policy,
        layer_plan=layer_plan,
        load_news_s=load_news_s,
        gossip=gossip,
        status=telemetry is not None,
        bursts=(parse_burst(burst),) if burst else (),
        workload=recorded,
        seed=seed,
    )
    raise typer.Exit(simulate_load(scenario, plot=plot, telemetry=telemetry, json=json))
