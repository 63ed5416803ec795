/** Things to test with, each right in itself; a test overrides what it is about. */
import { DEFAULT_OPTIONS, type Exchange } from "../../src/model";
import type { DeviceStatus, Presence, Provenance } from "../../src/wire/messages";

export function exchange(change: Partial<Exchange> = {}): Exchange {
  return {
    id: "p1",
    chatId: "c1",
    deviceId: "device-1",
    askedAt: 1_000,
    prompt: "Why?",
    options: DEFAULT_OPTIONS,
    state: "sending",
    answer: "",
    detail: "",
    refusal: null,
    retryAfterS: null,
    expectedWaitS: null,
    progress: [],
    provenance: null,
    endToEndLatencyS: null,
    retryOf: null,
    ...change,
  };
}

export function answered(id: string, askedAt: number, change: Partial<Exchange> = {}): Exchange {
  return exchange({ id, askedAt, state: "answered", prompt: `question ${id}`, answer: `answer ${id}`, ...change });
}

export function presence(id: string, change: Partial<Presence> = {}): { type: "presence" } & Presence {
  const entry = {
    device_id: id,
    home_broker: "",
    model: "smol",
    model_family: "llama",
    incarnation: 1,
    heartbeat: 1,
    requests_waiting: 0,
    service_time_s_mean: null,
    able: true,
    parameter_count: null,
    proof: "",
  };
  const said = { entry, state: "online" as const, queue_capacity: 32, version: "0", install: "", run: "", certificate: "" };
  return { type: "presence", ...said, ...change };
}

export function status(id: string, change: Partial<DeviceStatus> = {}): { type: "device-status" } & DeviceStatus {
  return {
    type: "device-status",
    device_id: id,
    model: "smol",
    synthetic: false,
    interval_s: 5,
    requests_waiting: 0,
    requests_running: 0,
    requests_waiting_mean: 0,
    requests_waiting_predicted: 0,
    queue_capacity: 32,
    arrival_rate_hz: 0,
    service_time_s_mean: 1,
    service_time_scv: 0,
    utilisation: 0,
    offered_load: 0,
    stability_margin: 1,
    accepted: 0,
    completed: 0,
    rejected: 0,
    expired: 0,
    cancelled: 0,
    failed: 0,
    sessions_active: 0,
    peers_alive: 0,
    bad_input: 0,
    able: true,
    durable: true,
    problems: [],
    slots: 1,
    service_rate_hz: 0.5,
    service_rates_hz: [0.5],
    ...change,
  };
}

export const PROVENANCE: Provenance = {
  device_id: "device-1",
  layer_count: 0,
  fanout: 0,
  layers: [],
  aggregation: null,
  substitutes: [],
  missing: [],
  policies: [],
  messages_sent: 0,
  messages_received: 0,
  restarts: 0,
  decisions: [],
    answer_from: "",
    reference_bytes_cut: 0,
};

/** Stands where nothing may fail. */
export function unexpected(error: unknown): never {
  throw new Error(`unexpected: ${String(error)}`);
}
