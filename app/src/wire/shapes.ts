// Made by scripts/app_types.py from the device's own message classes: change those, then run it again.

export const SCHEMA_VERSION = 2;
export const BODY_BYTES_MAX = 262144;
export const MESSAGE_ID_LENGTH_MAX = 128;
export const SHORT_TEXT_LENGTH_MAX = 256;
export const COUNT_MAX = 9007199254740992;
export const LAYERS_MAX = 8;
export const FANOUT_MAX = 16;
export const DEADLINE_MAX_S = 86400;
export const OUTPUT_TOKENS_MAX = 8192;
export const TOPIC_ROOT = "moamesh/v2";
export const TOPIC_ID_LENGTH_MAX = 64;
export const USER_LOGIN = "user.";

/** The channels a user knows: how they are read or written, what ends their topics, what they carry. */
export const CHANNELS = {
  prompts: { qos: 1, levels: ["sender"], types: ["prompt", "prompt-cancel", "answers-query"] },
  answers: { qos: 1, levels: ["reader", "client"], types: ["prompt-receipt", "prompt-refusal", "layer-progress", "token-chunk", "answer", "answers-page"] },
  presence: { qos: 1, levels: [], types: ["presence"] },
  status: { qos: 0, levels: [], types: ["device-status"] },
} as const;

/** How a value must look. `default` stands in for a field that is absent. */
export type Shape =
  | "string"
  | "integer"
  | "number"
  | "boolean"
  | { nullable: Shape }
  | { list: Shape }
  | { tuple: Shape[] }
  | { oneOf: string[] }
  | { record: string };
export type Fields = Record<string, { shape: Shape; default?: unknown }>;

/** Every class that is received, by name. */
export const SHAPES: Record<string, Fields> = {
  PromptReceipt: {
    prompt_id: { shape: "string" },
    device_id: { shape: "string" },
    expected_wait_s: { shape: { nullable: "number" } },
    durable: { shape: "boolean", default: true },
  },
  PromptRefusal: {
    prompt_id: { shape: "string" },
    device_id: { shape: "string" },
    reason: { shape: { oneOf: ["overloaded", "too_large", "invalid", "unsupported_version", "stopping", "unable"] } },
    detail: { shape: "string" },
    retry_after_s: { shape: { nullable: "number" }, default: null },
  },
  LayerProgress: {
    prompt_id: { shape: "string" },
    layer: { shape: "integer" },
    layer_count: { shape: "integer" },
    asked: { shape: { list: "string" } },
    joined: { shape: { list: "string" } },
  },
  TokenChunk: {
    prompt_id: { shape: "string" },
    index: { shape: "integer" },
    text: { shape: "string" },
  },
  Contribution: {
    device_id: { shape: "string" },
    model: { shape: "string" },
    waiting_time_s: { shape: "number" },
    service_time_s: { shape: "number" },
    input_tokens: { shape: "integer" },
    output_tokens: { shape: "integer" },
    input_tokens_cut: { shape: "integer", default: 0 },
    synthetic: { shape: "boolean", default: false },
    finish_reason: { shape: { oneOf: ["stop", "length"] }, default: "stop" },
  },
  Decision: {
    layer: { shape: "integer" },
    kind: { shape: "string" },
    chosen: { shape: { list: "string" } },
    stops: { shape: "boolean" },
    detail: { shape: "string" },
    work: { shape: { nullable: { record: "Contribution" } } },
  },
  Missing: {
    layer: { shape: "integer" },
    device_id: { shape: "string" },
    reason: { shape: "string" },
  },
  Provenance: {
    device_id: { shape: "string" },
    layer_count: { shape: "integer" },
    fanout: { shape: "integer" },
    layers: { shape: { list: { list: { record: "Contribution" } } } },
    aggregation: { shape: { nullable: { record: "Contribution" } } },
    substitutes: { shape: { list: { record: "Substitute" } } },
    missing: { shape: { list: { record: "Missing" } } },
    policies: { shape: { list: { tuple: ["string", "string"] } } },
    messages_sent: { shape: "integer" },
    messages_received: { shape: "integer" },
    restarts: { shape: "integer", default: 0 },
    decisions: { shape: { list: { record: "Decision" } }, default: [] },
    answer_from: { shape: "string", default: "" },
    reference_bytes_cut: { shape: "integer", default: 0 },
  },
  Substitute: {
    layer: { shape: "integer" },
    device_id: { shape: "string" },
    instead_of: { shape: "string" },
    reason: { shape: "string" },
  },
  Answer: {
    prompt_id: { shape: "string" },
    device_id: { shape: "string" },
    outcome: { shape: { oneOf: ["answered", "expired", "cancelled", "failed"] } },
    text: { shape: "string" },
    detail: { shape: "string" },
    end_to_end_latency_s: { shape: "number" },
    provenance: { shape: { record: "Provenance" } },
    partial: { shape: "boolean", default: false },
  },
  AnswerSummary: {
    prompt_id: { shape: "string" },
    client: { shape: "string" },
    standing: { shape: { oneOf: ["running", "refused", "answered", "expired", "cancelled", "failed", "gone"] } },
    age_s: { shape: "number" },
    text: { shape: "string" },
    text_bytes: { shape: "integer" },
    partial: { shape: "boolean", default: false },
  },
  AnswersPage: {
    query_id: { shape: "string" },
    device_id: { shape: "string" },
    answers: { shape: { list: { record: "AnswerSummary" } } },
    answer: { shape: { nullable: { record: "Answer" } }, default: null },
    next: { shape: "string", default: "" },
    whole_s: { shape: "number", default: 0.0 },
  },
  PeerEntry: {
    device_id: { shape: "string" },
    home_broker: { shape: "string" },
    model: { shape: "string" },
    model_family: { shape: "string" },
    incarnation: { shape: "integer" },
    heartbeat: { shape: "integer" },
    requests_waiting: { shape: "integer" },
    service_time_s_mean: { shape: { nullable: "number" } },
    able: { shape: "boolean", default: true },
    parameter_count: { shape: { nullable: "integer" }, default: null },
    proof: { shape: "string", default: "" },
  },
  Presence: {
    entry: { shape: { record: "PeerEntry" } },
    state: { shape: { oneOf: ["online", "stopped", "offline"] } },
    queue_capacity: { shape: "integer" },
    version: { shape: "string" },
    certificate: { shape: "string", default: "" },
    install: { shape: "string", default: "" },
    run: { shape: "string", default: "" },
  },
  Problem: {
    part: { shape: { oneOf: ["engine", "journal", "reserve", "telemetry", "broker", "gateway", "steward", "discovery", "identity"] } },
    detail: { shape: "string" },
  },
  DeviceStatus: {
    device_id: { shape: "string" },
    model: { shape: "string" },
    synthetic: { shape: "boolean" },
    interval_s: { shape: "number" },
    requests_waiting: { shape: "integer" },
    requests_running: { shape: "integer" },
    requests_waiting_mean: { shape: "number" },
    requests_waiting_predicted: { shape: "number" },
    queue_capacity: { shape: "integer" },
    arrival_rate_hz: { shape: "number" },
    service_time_s_mean: { shape: "number" },
    service_time_scv: { shape: "number" },
    utilisation: { shape: "number" },
    offered_load: { shape: "number" },
    stability_margin: { shape: "number" },
    accepted: { shape: "integer" },
    completed: { shape: "integer" },
    rejected: { shape: "integer" },
    expired: { shape: "integer" },
    cancelled: { shape: "integer" },
    failed: { shape: "integer" },
    sessions_active: { shape: "integer" },
    peers_alive: { shape: "integer" },
    bad_input: { shape: "integer", default: 0 },
    able: { shape: "boolean", default: true },
    durable: { shape: "boolean", default: true },
    problems: { shape: { list: { record: "Problem" } }, default: [] },
    slots: { shape: "integer", default: 1 },
    service_rate_hz: { shape: "number", default: 0.0 },
    service_rates_hz: { shape: { list: "number" }, default: [] },
  },
};

/** The class of each `type` on the wire. */
export const CLASS_OF_TYPE = {
  "prompt-receipt": "PromptReceipt",
  "prompt-refusal": "PromptRefusal",
  "layer-progress": "LayerProgress",
  "token-chunk": "TokenChunk",
  "answer": "Answer",
  "answers-page": "AnswersPage",
  "presence": "Presence",
  "device-status": "DeviceStatus",
} as const;
