/** Exchanges in every state a prompt can have, for looking at the views without a mesh. Development only. */
import { DEFAULT_OPTIONS, type Device, type Exchange, type PromptState } from "../../model";
import type { Contribution, DeviceStatus, Provenance } from "../../wire/messages";

export const NAMES = ["kitchen", "bath", "attic", "cellar"];

export function status(id: string, load: number, waiting: number): DeviceStatus {
  return {
    device_id: id,
    model: "SmolLM2-135M-Instruct.Q8_0",
    synthetic: id === "cellar",
    interval_s: 5,
    requests_waiting: waiting,
    requests_running: waiting > 0 ? 1 : 0,
    requests_waiting_mean: waiting * 0.9,
    requests_waiting_predicted: waiting,
    queue_capacity: 16,
    arrival_rate_hz: 0.12,
    service_time_s_mean: 1.4,
    service_time_scv: 0.6,
    utilisation: Math.min(load, 1),
    offered_load: load,
    stability_margin: 0.8 - load,
    accepted: 41,
    completed: 38,
    rejected: 2,
    expired: 0,
    cancelled: 1,
    failed: 0,
    sessions_active: 1,
    peers_alive: 3,
    bad_input: 0,
    able: true,
    durable: true,
    problems: [],
    slots: 1,
    service_rate_hz: 0.5,
    service_rates_hz: [0.5],
  };
}

export function device(id: string, index: number, at: number): Device {
  const history = Array.from({ length: 120 }, (_, step) => ({
    at: at - (120 - step) * 5000,
    requestsWaiting: Math.max(0, Math.round(3 + 3 * Math.sin(step / 9 + index * 1.7) + index)),
    utilisation: 0.5,
    offeredLoad: 0.3 + 0.2 * index,
  }));
  const state = index === 2 ? "offline" : "online";
  const entry = {
    device_id: id,
    home_broker: "",
    model: "SmolLM2-135M-Instruct.Q8_0",
    model_family: "llama",
    incarnation: 1,
    heartbeat: 9,
    requests_waiting: 1,
    service_time_s_mean: 1.4,
    able: true,
    parameter_count: null,
    proof: "",
  };
  const presence = {
    entry,
    state: index === 2 ? ("offline" as const) : ("online" as const),
    queue_capacity: 16,
    version: "0.6.0",
    install: "5d0c1a7e",
    run: "1790000000-4f2a9c1b",
    certificate: "",
  };
  const told = index === 2 ? null : status(id, 0.35 + 0.3 * index, index * 4 + 1);
  return { id, state, presence, status: told, able: true, troubles: [], history };
}

const work = (id: string, waited: number, served: number): Contribution => ({
  device_id: id,
  model: id === "cellar" ? "synthetic" : "SmolLM2-135M-Instruct.Q8_0",
  waiting_time_s: waited,
  service_time_s: served,
  input_tokens: 214,
  output_tokens: 96,
  input_tokens_cut: 0,
  finish_reason: "stop",
  synthetic: id === "cellar",
});

export const PROVENANCE: Provenance = {
  device_id: "kitchen",
  layer_count: 2,
  fanout: 2,
  layers: [
    [work("kitchen", 0.02, 1.41), work("bath", 0.31, 1.77), work("cellar", 1.2, 1.1)],
    [work("kitchen", 0.01, 2.01), work("bath", 0.84, 2.4)],
  ],
  aggregation: work("kitchen", 0.01, 2.6),
  substitutes: [{ layer: 1, device_id: "cellar", instead_of: "attic", reason: "no_receipt" }],
  missing: [{ layer: 2, device_id: "attic", reason: "layer_deadline" }],
  policies: [
    ["peer_selection", "uniform"],
    ["response_selection", "all"],
    ["join", "all"],
  ],
  messages_sent: 8,
  messages_received: 11,
  restarts: 0,
  decisions: [],
  answer_from: "",
  reference_bytes_cut: 0,
};

export const ANSWER = `Rayleigh scattering makes the sky **blue**. Sunlight holds all colours; air scatters *short* waves
most.

### How much more?

The strength grows with $1/\\lambda^4$, so blue (450 nm) is scattered about 4.4 times as much as red (650 nm):

\`\`\`python
def scattering(wavelength_nm: float) -> float:
    """Relative to red light."""
    return (650 / wavelength_nm) ** 4

print(f"{scattering(450):.1f}")  # 4.4
\`\`\`

| colour | nm | strength |
|:--|--:|--:|
| red | 650 | 1.0 |
| green | 530 | 2.3 |
| blue | 450 | 4.4 |

1. Violet is scattered even more,
2. but the sun sends less of it,
   - and our eyes see it less well.

> At sunset the way through the air is long: what is left is red.

More at [an encyclopedia](https://en.wikipedia.org/wiki/Rayleigh_scattering). ![a chart](https://example.org/chart.png)
`;

let made = 0;

export function exchange(chatId: string, state: PromptState, change: Partial<Exchange> = {}): Exchange {
  made += 1;
  return {
    id: `sample-${made}`,
    chatId,
    deviceId: "kitchen",
    askedAt: Date.now() - 4000,
    prompt: "Why is the sky blue?",
    options: DEFAULT_OPTIONS,
    state,
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

export function everyState(chatId: string): Exchange[] {
  const whole = { ...PROVENANCE, missing: [] };
  const progress = [
    {
      prompt_id: "",
      layer: 1,
      layer_count: 2,
      asked: ["kitchen", "bath", "attic"],
      joined: ["kitchen", "bath", "cellar"],
    },
    { prompt_id: "", layer: 2, layer_count: 2, asked: ["kitchen", "bath", "cellar"], joined: [] },
  ];
  const done = { endToEndLatencyS: 7.62 };
  return [
    exchange(chatId, "answered", { ...done, answer: ANSWER, provenance: whole }),
    exchange(chatId, "answered", { ...done, prompt: "And at sunset?", answer: "It is red.", provenance: PROVENANCE }),
    exchange(chatId, "refused", { refusal: "overloaded", detail: "16 of 16 places are taken", retryAfterS: 30 }),
    exchange(chatId, "expired", { detail: "the deadline of 30 s has passed" }),
    exchange(chatId, "failed", { detail: "the engine stopped twice" }),
    exchange(chatId, "unreachable", { deviceId: "attic" }),
    exchange(chatId, "cancelled", { answer: "The sky is" }),
    exchange(chatId, "accepted", { expectedWaitS: 3.2 }),
    exchange(chatId, "proposing", { progress }),
  ];
}
