option task = {name: "moamesh means_5m", every: 5m, offset: 1m}

p50 = (column, tables=<-) => tables |> quantile(q: 0.50, column: column, method: "exact_selector")
p95 = (column, tables=<-) => tables |> quantile(q: 0.95, column: column, method: "exact_selector")
p99 = (column, tables=<-) => tables |> quantile(q: 0.99, column: column, method: "exact_selector")
points = (measurement) =>
    from(bucket: "moamesh")
        |> range(start: -1h)
        |> filter(fn: (r) => r._measurement == measurement)
figures = (fn, suffix, tables=<-) =>
    tables
        |> aggregateWindow(every: 5m, fn: fn, createEmpty: false, timeSrc: "_start")
        |> map(fn: (r) => ({r with _field: r._field + suffix}))
        |> to(bucket: "moamesh/means_5m")

points(measurement: "agent_queue")
    |> filter(fn: (r) => r._field == "requests_waiting_mean" or r._field == "requests_waiting_predicted" or r._field == "arrival_rate_hz" or r._field == "service_time_s_mean" or r._field == "service_time_scv" or r._field == "service_rate_hz" or r._field == "utilisation" or r._field == "offered_load" or r._field == "stability_margin")
    |> figures(fn: mean, suffix: "")
    |> yield(name: "agent_queue_mean")

points(measurement: "agent_queue")
    |> filter(fn: (r) => r._field == "requests_waiting" or r._field == "offered_load")
    |> figures(fn: max, suffix: "_max")
    |> yield(name: "agent_queue_max")

points(measurement: "agent_queue")
    |> filter(fn: (r) => r._field == "accepted" or r._field == "completed" or r._field == "rejected" or r._field == "expired" or r._field == "cancelled" or r._field == "failed" or r._field == "queue_capacity" or r._field == "slots" or r._field == "peers_alive" or r._field == "synthetic")
    |> figures(fn: last, suffix: "")
    |> yield(name: "agent_queue_last")

points(measurement: "agent_request")
    |> filter(fn: (r) => r._field == "waiting_time_s" or r._field == "service_time_s" or r._field == "sojourn_time_s" or r._field == "time_to_first_token_s")
    |> figures(fn: mean, suffix: "")
    |> yield(name: "agent_request_mean")

points(measurement: "agent_request")
    |> filter(fn: (r) => r._field == "waiting_time_s" or r._field == "service_time_s" or r._field == "sojourn_time_s" or r._field == "time_to_first_token_s")
    |> figures(fn: p95, suffix: "_p95")
    |> yield(name: "agent_request_p95")

points(measurement: "agent_request")
    |> filter(fn: (r) => r._field == "input_tokens" or r._field == "output_tokens")
    |> figures(fn: sum, suffix: "_sum")
    |> yield(name: "agent_request_sum")

points(measurement: "agent_request")
    |> filter(fn: (r) => r._field == "sojourn_time_s")
    |> figures(fn: count, suffix: "_count")
    |> yield(name: "agent_request_count")

points(measurement: "agent_session")
    |> filter(fn: (r) => r._field == "end_to_end_latency_s" or r._field == "layer_count" or r._field == "fanout")
    |> figures(fn: mean, suffix: "")
    |> yield(name: "agent_session_mean")

points(measurement: "agent_session")
    |> filter(fn: (r) => r._field == "end_to_end_latency_s")
    |> figures(fn: p50, suffix: "_p50")
    |> yield(name: "agent_session_p50")

points(measurement: "agent_session")
    |> filter(fn: (r) => r._field == "end_to_end_latency_s")
    |> figures(fn: p95, suffix: "_p95")
    |> yield(name: "agent_session_p95")

points(measurement: "agent_session")
    |> filter(fn: (r) => r._field == "end_to_end_latency_s")
    |> figures(fn: p99, suffix: "_p99")
    |> yield(name: "agent_session_p99")

points(measurement: "agent_session")
    |> filter(fn: (r) => r._field == "responses_expected" or r._field == "responses_joined" or r._field == "substitutes")
    |> figures(fn: sum, suffix: "_sum")
    |> yield(name: "agent_session_sum")

points(measurement: "agent_session")
    |> filter(fn: (r) => r._field == "end_to_end_latency_s")
    |> figures(fn: count, suffix: "_count")
    |> yield(name: "agent_session_count")

points(measurement: "agent_telemetry")
    |> filter(fn: (r) => r._field == "spool_points" or r._field == "spool_bytes")
    |> figures(fn: max, suffix: "_max")
    |> yield(name: "agent_telemetry_max")

points(measurement: "agent_telemetry")
    |> filter(fn: (r) => r._field == "points_written" or r._field == "points_sent" or r._field == "points_lost" or r._field == "points_refused" or r._field == "points_dropped")
    |> figures(fn: last, suffix: "")
    |> yield(name: "agent_telemetry_last")
