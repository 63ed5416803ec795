/**
 * What the views show and what they may ask for: the one door between the engine (src/engine, src/mesh, src/store) and
 * the views (src/ui). Views read signals and call the engine; they know nothing of MQTT or IndexedDB. The engine knows
 * nothing of the page.
 *
 * Times are milliseconds of Date.now() where they are shown to people, durations are seconds.
 */
import type { ReadonlySignal } from "@preact/signals";
import type { DeviceStatus, LayerProgress, Presence, Provenance, RefusalReason } from "./wire/messages";

/** What a pairing link holds (`moamesh pair`). */
export interface Pairing {
  v: 1;
  mesh: string;
  /** ws:// or wss:// URLs of the broker; any one will do. */
  brokers: string[];
  user: string;
  secret: string;
  /** The only devices this user may ask; absent: all. */
  devices?: string[];
}

/** `refused`: the broker does not let this user in (secret changed, user removed): only pairing anew helps. */
export type Link = "unpaired" | "connecting" | "online" | "offline" | "refused";

export type DeviceState = "online" | "silent" | "stopped" | "offline" | "unknown";

/** One sample of a device's live figures, for the graphs. */
export interface Sample {
  at: number;
  requestsWaiting: number;
  utilisation: number;
  offeredLoad: number;
}

export interface Device {
  id: string;
  state: DeviceState;
  presence: Presence | null;
  status: DeviceStatus | null;
  /** Whether it can run its model, by its last word. */
  able: boolean;
  /** What is wrong with it, a line for each part; why it is not able comes first. */
  troubles: readonly string[];
  /** Oldest first; bounded by HISTORY_SAMPLES_MAX. */
  history: readonly Sample[];
}

export interface Alert {
  /** Steady while the condition holds, so that a view can key on it. */
  id: string;
  severity: "warning" | "critical";
  deviceId: string;
  text: string;
}

/**
 * Where a prompt stands. `sending`: not yet received by the device (also while offline: it is sent again with the same
 * id). `unreachable`: the device never said that it has it. The rest are the device's own words.
 */
export type PromptState =
  | "sending"
  | "accepted"
  | "proposing"
  | "streaming"
  | "answered"
  | "refused"
  | "expired"
  | "cancelled"
  | "failed"
  | "unreachable";

export interface Options {
  /** M; null leaves it to the device. */
  layers: number | null;
  /** k; null leaves it to the device. */
  fanout: number | null;
  deadlineS: number | null;
  maxOutputTokens: number;
  temperature: number;
}

/** A prompt and what came back. Stored whole in IndexedDB, so it must stay plain data. */
export interface Exchange {
  id: string;
  chatId: string;
  deviceId: string;
  askedAt: number;
  prompt: string;
  options: Options;
  state: PromptState;
  /** So far, or whole when it has ended. */
  answer: string;
  /** Whether the answer is the best proposal instead of an aggregation. Absent in what older versions stored. */
  partial?: boolean;
  /** Why it was refused, failed, expired or answered in part, in the device's words; "" otherwise. */
  detail: string;
  refusal: RefusalReason | null;
  retryAfterS: number | null;
  expectedWaitS: number | null;
  /** The newest word on each layer, in the order of layers. */
  progress: LayerProgress[];
  provenance: Provenance | null;
  endToEndLatencyS: number | null;
  /** The exchange that this one tries again, or null. */
  retryOf: string | null;
}

export interface Chat {
  id: string;
  title: string;
  createdAt: number;
  updatedAt: number;
}

/** What theory expects of one more prompt with these options, from the device's own figures. */
export interface Prediction {
  /** null before the devices have told a service time, or where the mesh would not be stable. */
  latencyS: number | null;
  /** ρ if every prompt were asked so, at the rates measured now. */
  utilisation: number | null;
  stable: boolean;
  /** Inferences that the prompt costs the mesh: (k+1)M+1. */
  inferences: number;
}

export interface Engine {
  readonly link: ReadonlySignal<Link>;
  /** Why the link is as it is, in words for people; "" if there is nothing to say. */
  readonly linkDetail: ReadonlySignal<string>;
  readonly pairing: ReadonlySignal<Pairing | null>;
  readonly devices: ReadonlySignal<readonly Device[]>;
  readonly alerts: ReadonlySignal<readonly Alert[]>;
  readonly chats: ReadonlySignal<readonly Chat[]>;
  /** False where the browser refuses to keep anything (private windows): history is then lost with the page. */
  readonly storageWorks: ReadonlySignal<boolean>;

  /** Reads what was stored and connects if paired. Call once. */
  start(): Promise<void>;
  /** Takes a pairing link or the text after `#pair=`; throws an Error with one line for people if it is none. */
  pair(text: string): Promise<void>;
  /** Forgets the secret; `everything` also the history. */
  unpair(everything: boolean): Promise<void>;

  /**
   * The exchanges of a chat, oldest first. Changes when one is added, changes its state or goes, not with each token:
   * follow one exchange with `exchange`, so that a token costs the same however long the chat is. The same signal for
   * the same chat.
   */
  exchanges(chatId: string): ReadonlySignal<readonly Exchange[]>;
  /** One exchange, live to the token; null once it is deleted. The same signal for the same exchange. */
  exchange(exchangeId: string): ReadonlySignal<Exchange | null>;
  /** Asks; `chatId` null begins a chat. Earlier exchanges of the chat go along as context. Returns the new exchange. */
  ask(chatId: string | null, deviceId: string, prompt: string, options: Options): Promise<Exchange>;
  cancel(exchangeId: string): Promise<void>;
  /** Asks the same again under a new id. */
  retry(exchangeId: string): Promise<Exchange>;
  deleteChat(chatId: string): Promise<void>;
  renameChat(chatId: string, title: string): Promise<void>;

  predict(deviceId: string, layers: number, fanout: number): Prediction;
}

export const DEFAULT_OPTIONS: Options = {
  layers: null,
  fanout: null,
  deadlineS: null,
  maxOutputTokens: 256,
  temperature: 0.7,
};
