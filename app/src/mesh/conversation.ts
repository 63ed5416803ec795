/**
 * One prompt as its user sees it: what has come back, and when to send it again. Pure: time is an argument.
 *
 * The same rules as the Python client's `edge_agent/client/conversation.py`. Sending a prompt again is harmless: a
 * device knows prompt ids it has seen, and repeats its receipt while it works and its answer when it is done. So the
 * app repeats whenever something may have been lost, and drops what then comes twice.
 *
 * `now` is seconds of patience: a clock that stands still while there is no connection or the phone sleeps.
 */
import type { Exchange, PromptState } from "../model";
import type { AnswersPage, DeviceToUser, LayerProgress, PromptRefusal } from "../wire/messages";

/** How patient the app is. Shorter: quicker errors, more repeats on slow networks. All seconds. */
export const RECEIPT_TIMEOUT_S = 3; // first wait for a receipt; doubles with each repeat
export const SENDS_MAX = 4; // 3 + 6 + 12 + 24 s: a restarting device comes back in that time
export const RESEND_S = 1; // after the broker did not take a prompt; a new connection brings it forward
export const PROBE_INTERVAL_S = 20; // without news of an accepted prompt it is sent again: finds lost answers
export const ANSWER_TIMEOUT_S = 330; // where the prompt names no deadline: a device's default deadline and a little
export const GRACE_S = 30; // beyond the prompt's own deadline, for the way back
const DETAIL_LENGTH_MAX = 500; // characters: a few lines on a phone
/** Characters of an answer: a whole one fits into one message of 256 KiB. */
export const ANSWER_LENGTH_MAX = 256 * 1024;
const GAP = " … "; // stands for chunks that were missed; the whole answer replaces it in the end

/** What is known beside the exchange itself; lost with the page, and made anew when a prompt is taken up again. */
export interface Timing {
  received: boolean;
  /** The next chunk's number; null after a page reload, when it is not known. */
  nextChunk: number | null;
  sendsWithoutReceipt: number;
  nextSendAt: number;
  endsAt: number;
  timeoutS: number;
  cancelWanted: boolean;
}

/** An exchange under way. Replaced, never changed. */
export interface Conversation {
  readonly exchange: Exchange;
  readonly timing: Timing;
}

/** What `step` says is to be done now. */
export type Due = "nothing" | "send" | "unreachable" | "timeout";

const ENDED: ReadonlySet<PromptState> = new Set<PromptState>([
  "answered",
  "refused",
  "expired",
  "cancelled",
  "failed",
  "unreachable",
]);

/** Whether nothing more will come. */
export function hasEnded(exchange: Exchange): boolean {
  return ENDED.has(exchange.state);
}

/** Begins: a new prompt, or one taken up again after a page reload. It is due at once. */
export function open(exchange: Exchange, now: number): Conversation {
  const { deadlineS } = exchange.options;
  const timeoutS = deadlineS === null ? ANSWER_TIMEOUT_S : deadlineS + GRACE_S;
  const timing: Timing = {
    received: exchange.state !== "sending",
    nextChunk: exchange.answer === "" ? 0 : null,
    sendsWithoutReceipt: 0,
    nextSendAt: now,
    endsAt: now + timeoutS,
    timeoutS,
    cancelWanted: false,
  };
  return { exchange, timing };
}

/** Takes a message about this prompt. The exchange in it stays the same object where the message changes nothing. */
export function deliver(conversation: Conversation, message: DeviceToUser, now: number): Conversation {
  if (hasEnded(conversation.exchange)) return conversation;
  const timing: Timing = { ...conversation.timing, nextSendAt: now + PROBE_INTERVAL_S };
  if (message.type === "answers-page") {
    if (message.answers[0]?.prompt_id !== conversation.exchange.id) return conversation; // of something else
    return { exchange: lookedUp(conversation.exchange, timing, message), timing: { ...timing, received: true } };
  }
  if (message.type === "prompt-refusal" && message.prompt_id !== conversation.exchange.id) {
    return lookupRefused(conversation.exchange, timing, message, now);
  }
  const isRepeat =
    (message.type === "prompt-receipt" && timing.received) ||
    (message.type === "token-chunk" && isRepeatedChunk(timing.nextChunk, message.index));
  if (isRepeat) return { exchange: conversation.exchange, timing };
  timing.received = true;
  const exchange = apply(conversation.exchange, timing, message);
  if (message.type === "token-chunk") timing.nextChunk = message.index + 1;
  return { exchange, timing };
}

/** A count that starts again at 0 means that the device starts the answer over. */
function isRepeatedChunk(next: number | null, index: number): boolean {
  return next !== null && index > 0 && index < next;
}

/** What the device says has become of a prompt that was asked long ago. */
function lookedUp(exchange: Exchange, timing: Timing, { answers, answer }: AnswersPage): Exchange {
  if (answer?.prompt_id === exchange.id) return apply(exchange, timing, { type: "answer", ...answer });
  switch (answers[0]?.standing) {
    case "running":
      return exchange;
    case "refused":
      return { ...exchange, state: "refused", detail: cut(answers[0].text) };
    default: {
      const detail = `Its answer is no longer available: ${exchange.deviceId} keeps answers for a limited time`;
      return { ...exchange, state: "failed", detail };
    }
  }
}

/** The device does not say what has become of it: for now, or at all. The prompt itself was not refused. */
function lookupRefused(exchange: Exchange, timing: Timing, refusal: PromptRefusal, now: number): Conversation {
  const { detail, retry_after_s: wait } = refusal;
  if (wait !== null) return { exchange, timing: { ...timing, nextSendAt: now + Math.max(wait, RESEND_S) } };
  return { exchange: { ...exchange, state: "failed", detail: cut(`It cannot be looked up: ${detail}`) }, timing };
}

type AboutPrompt = Exclude<DeviceToUser, { type: "answers-page" }>;

function apply(exchange: Exchange, timing: Timing, message: AboutPrompt): Exchange {
  switch (message.type) {
    case "prompt-receipt":
      return { ...exchange, state: "accepted", expectedWaitS: message.expected_wait_s };
    case "layer-progress": {
      const { type: _, ...progress } = message;
      return { ...exchange, state: "proposing", progress: withProgress(exchange.progress, progress) };
    }
    case "token-chunk": {
      const missed = message.index !== timing.nextChunk && exchange.answer !== "" ? GAP : "";
      const answer = message.index === 0 ? message.text : exchange.answer + missed + message.text;
      return { ...exchange, state: "streaming", answer: answer.slice(0, ANSWER_LENGTH_MAX) };
    }
    case "answer":
      return {
        ...exchange,
        state: message.outcome,
        answer: message.text || exchange.answer, // a cancelled one keeps what was there
        partial: message.partial,
        detail: cut(message.detail),
        provenance: message.provenance,
        endToEndLatencyS: message.end_to_end_latency_s,
      };
    case "prompt-refusal":
      // Its cancel came before the prompt, or the device has forgotten both: either way it is not wanted any more.
      if (timing.cancelWanted) return { ...exchange, state: "cancelled", detail: "" };
      return {
        ...exchange,
        state: "refused",
        detail: cut(message.detail),
        refusal: message.reason,
        retryAfterS: message.retry_after_s,
      };
  }
}

function withProgress(all: readonly LayerProgress[], news: LayerProgress): LayerProgress[] {
  return [...all.filter((old) => old.layer !== news.layer), news].sort((a, b) => a.layer - b.layer);
}

/** The connection is new, so anything may have been lost: send again at once. */
export function reconnected(conversation: Conversation, now: number): Conversation {
  return { ...conversation, timing: { ...conversation.timing, nextSendAt: now } };
}

/** Notes that the prompt was sent; `taken` says whether the broker acknowledged it. */
export function addSent(conversation: Conversation, now: number, taken: boolean): Conversation {
  const timing = { ...conversation.timing };
  if (timing.received) timing.nextSendAt = now + PROBE_INTERVAL_S;
  else if (!taken) timing.nextSendAt = now + RESEND_S;
  else {
    timing.nextSendAt = now + RECEIPT_TIMEOUT_S * 2 ** timing.sendsWithoutReceipt;
    timing.sendsWithoutReceipt += 1;
  }
  return { ...conversation, timing };
}

/** Notes that the user no longer wants the answer: from now on a refusal means that it is cancelled. */
export function wantCancel(conversation: Conversation): Conversation {
  return { ...conversation, timing: { ...conversation.timing, cancelWanted: true } };
}

/** Says what is to be done at `now`. After "unreachable" or "timeout" end it with `giveUp`. */
export function due(conversation: Conversation, now: number): Due {
  const { timing } = conversation;
  if (now >= timing.endsAt) return "timeout";
  if (now < timing.nextSendAt) return "nothing";
  return !timing.received && timing.sendsWithoutReceipt >= SENDS_MAX ? "unreachable" : "send";
}

/** Ends it without a word of the device. */
export function giveUp(
  conversation: Conversation,
  why: "unreachable" | "timeout" | "cancelled" | "forbidden",
): Exchange {
  const { exchange, timing } = conversation;
  const { deviceId } = exchange;
  switch (why) {
    case "cancelled":
      return { ...exchange, state: "cancelled" };
    case "timeout":
      return {
        ...exchange,
        state: "failed",
        detail: `${deviceId} did not answer within ${Math.round(timing.timeoutS)} s`,
      };
    case "unreachable":
      return { ...exchange, state: "unreachable", detail: `${deviceId} does not respond: is it on?` };
    case "forbidden":
      return { ...exchange, state: "unreachable", detail: `the broker does not let you ask ${deviceId}` };
  }
}

function cut(text: string): string {
  return text.length <= DETAIL_LENGTH_MAX ? text : `${text.slice(0, DETAIL_LENGTH_MAX - 1)}…`;
}
