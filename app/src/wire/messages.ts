// Made by scripts/app_types.py from the device's own message classes: change those, then run it again.

/** Messages and their parts, as the wire has them. Durations are seconds. */

/** One turn of a chat. */
export interface ChatMessage {
  role: Role;
  content: string;
}

/**
 * What a user may choose for one prompt; `None` leaves the choice to the device's own settings.
 *
 * layers: M, the number of MoA layers; 0 is the plain local LLM.
 * fanout: k, the peers asked in each layer beside the device itself.
 * deadline_s: the answer is worth nothing after this many seconds.
 * join: how many of the k+1 responses of a layer are waited for; `None` is the device's join policy.
 */
export interface PromptOptions {
  layers: number | null;
  fanout: number | null;
  deadline_s: number | null;
  join: number | null;
  sampling: Sampling;
}

/** Who speaks in a chat. */
export type Role = "system" | "user" | "assistant";

/** How the LLM draws tokens. `max_output_tokens` bounds the service time of every item of the prompt. */
export interface Sampling {
  max_output_tokens: number;
  temperature: number;
  seed: number | null;
  stop: string[];
}

/** A chat to be answered. `prompt_id` is the user's own: the same id again means the same prompt. */
export interface Prompt {
  prompt_id: string;
  messages: ChatMessage[];
  options: PromptOptions;
}

/** The user no longer wants this answer. */
export interface PromptCancel {
  prompt_id: string;
}

/**
 * Asks how the sender's own prompts ended: of one by its id, with the whole answer, or a page of all, newest first.
 *
 * Of a sender without a name (`me`) a list holds the asking client's prompts only: everybody there has that name.
 */
export interface AnswersQuery {
  query_id: string;
  prompt_id: string;
  of_client: string;
  since_s: number | null;
  after: string;
  count_max: number;
}

/** The prompt is accepted and will end exactly once. Also the reply to a repeated prompt still under way. */
export interface PromptReceipt {
  prompt_id: string;
  device_id: string;
  expected_wait_s: number | null;
  durable: boolean;
}

/** Why a prompt was not accepted. */
export type RefusalReason = "overloaded" | "too_large" | "invalid" | "unsupported_version" | "stopping" | "unable";

/** The prompt was not accepted, in words. `retry_after_s` only where trying again can help. */
export interface PromptRefusal {
  prompt_id: string;
  device_id: string;
  reason: RefusalReason;
  detail: string;
  retry_after_s: number | null;
}

/** A layer of the session has begun, or has joined: what a user may look at while waiting. */
export interface LayerProgress {
  prompt_id: string;
  layer: number;
  layer_count: number;
  asked: string[];
  joined: string[];
}

/** Some text of the answer as it is generated. Chunks count up from 0; a restart of the count means start over. */
export interface TokenChunk {
  prompt_id: string;
  index: number;
  text: string;
}

/** One inference that went into an answer, by whom, with what it cost. */
export interface Contribution {
  device_id: string;
  model: string;
  waiting_time_s: number;
  service_time_s: number;
  input_tokens: number;
  output_tokens: number;
  input_tokens_cut: number;
  synthetic: boolean;
  finish_reason: FinishReason;
}

/** What a policy made of a layer's responses, told only where it is not the plain "all of them, and go on". */
export interface Decision {
  layer: number;
  kind: string;
  chosen: string[];
  stops: boolean;
  detail: string;
  work: Contribution | null;
}

/** Why the text of an inference ends where it does, in the words of OpenAI's API. */
export type FinishReason = "stop" | "length";

/** A response that was expected in a layer and did not come. */
export interface Missing {
  layer: number;
  device_id: string;
  reason: string;
}

/** How a prompt ended: each accepted prompt has exactly one. */
export type Outcome = "answered" | "expired" | "cancelled" | "failed";

/** What made an answer. */
export interface Provenance {
  device_id: string;
  layer_count: number;
  fanout: number;
  layers: Contribution[][];
  aggregation: Contribution | null;
  substitutes: Substitute[];
  missing: Missing[];
  policies: [string, string][];
  messages_sent: number;
  messages_received: number;
  restarts: number;
  decisions: Decision[];
  answer_from: string;
  reference_bytes_cut: number;
}

/** A peer asked in the place of another. */
export interface Substitute {
  layer: number;
  device_id: string;
  instead_of: string;
  reason: string;
}

/** The end of a prompt, sent exactly once per prompt id (again only when the prompt is repeated). */
export interface Answer {
  prompt_id: string;
  device_id: string;
  outcome: Outcome;
  text: string;
  detail: string;
  end_to_end_latency_s: number;
  provenance: Provenance;
  partial: boolean;
}

/** One line of a list: a prompt and how it stands. */
export interface AnswerSummary {
  prompt_id: string;
  client: string;
  standing: Standing;
  age_s: number;
  text: string;
  text_bytes: number;
  partial: boolean;
}

/** Where a prompt stands: it runs, how it ended, it was refused, or nothing is known of it (any more). */
export type Standing = "running" | "refused" | "answered" | "expired" | "cancelled" | "failed" | "gone";

/** What a query gets: the line of one prompt with its answer, or the lines of a list, the newest first. */
export interface AnswersPage {
  query_id: string;
  device_id: string;
  answers: AnswerSummary[];
  answer: Answer | null;
  next: string;
  whole_s: number;
}

/**
 * What a device says of itself, in its own gossip and presence and carried on by others.
 *
 * The incarnation and then the heartbeat say which is newer (`core.incarnations`).
 */
export interface PeerEntry {
  device_id: string;
  home_broker: string;
  model: string;
  model_family: string;
  incarnation: number;
  heartbeat: number;
  requests_waiting: number;
  service_time_s_mean: number | null;
  able: boolean;
  parameter_count: number | null;
  proof: string;
}

/** Three-state birth and last will. */
export type PresenceState = "online" | "stopped" | "offline";

/** A device's birth message (`online`), its farewell (`stopped`), or the broker's word (`offline`, last will). */
export interface Presence {
  entry: PeerEntry;
  state: PresenceState;
  queue_capacity: number;
  version: string;
  certificate: string;
  install: string;
  run: string;
}

/** What can be well or not. */
export type Part = "engine" | "journal" | "reserve" | "telemetry" | "broker" | "gateway" | "steward" | "discovery" | "identity";

/** What is wrong with a part, in one line that says the way out where there is one. */
export interface Problem {
  part: Part;
  detail: string;
}

/**
 * The live queue and load figures of a device, to the digit the numbers that telemetry records for the interval.
 *
 * What each means is said at `core.load.IntervalFigures`.
 */
export interface DeviceStatus {
  device_id: string;
  model: string;
  synthetic: boolean;
  interval_s: number;
  requests_waiting: number;
  requests_running: number;
  requests_waiting_mean: number;
  requests_waiting_predicted: number;
  queue_capacity: number;
  arrival_rate_hz: number;
  service_time_s_mean: number;
  service_time_scv: number;
  utilisation: number;
  offered_load: number;
  stability_margin: number;
  accepted: number;
  completed: number;
  rejected: number;
  expired: number;
  cancelled: number;
  failed: number;
  sessions_active: number;
  peers_alive: number;
  bad_input: number;
  able: boolean;
  durable: boolean;
  problems: Problem[];
  slots: number;
  service_rate_hz: number;
  service_rates_hz: number[];
}

export type DeviceToUser = ({ type: "prompt-receipt" } & PromptReceipt) | ({ type: "prompt-refusal" } & PromptRefusal) | ({ type: "layer-progress" } & LayerProgress) | ({ type: "token-chunk" } & TokenChunk) | ({ type: "answer" } & Answer) | ({ type: "answers-page" } & AnswersPage);

export type Broadcast = ({ type: "presence" } & Presence) | ({ type: "device-status" } & DeviceStatus);
