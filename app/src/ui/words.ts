/** What the states of a prompt, of a device and of the connection are called, and what may be done about them. */
import type { Device, DeviceState, Exchange, Link, PromptState } from "../model";
import { count, seconds } from "./format";

/** How a state is meant: `busy` is neither good nor bad, it passes. */
export type Tone = "calm" | "busy" | "good" | "warn" | "bad";

export interface Words {
  tone: Tone;
  /** One or two words. */
  title: string;
  /** What it means and what may be done; "" where the title says all. */
  text: string;
}

/** Whether the prompt has not ended. */
export function isUnderWay(state: PromptState): boolean {
  return state === "sending" || state === "accepted" || state === "proposing" || state === "streaming";
}

/** Whether an answer came, but without all the responses that it was to be made of, or without being made of them. */
export function isPartial(exchange: Exchange): boolean {
  return exchange.state === "answered" && (isProposal(exchange) || (exchange.provenance?.missing.length ?? 0) > 0);
}

/** Whether the answer is one device's proposal: there was no time, or no device, to make one of all. */
function isProposal(exchange: Exchange): boolean {
  return exchange.partial === true;
}

const REFUSED: Record<NonNullable<Exchange["refusal"]>, string> = {
  overloaded: "has as many prompts as it can take",
  too_large: "does not take a prompt that long. Shorten it, or start a new chat: earlier turns are sent along",
  invalid: "does not take this prompt",
  unsupported_version: "speaks another version of the protocol. Update the device, or reload this app",
  stopping: "is shutting down. Ask another device, or wait until it is back",
  unable: "cannot run its model just now. Ask another device",
};

/** What to tell about an exchange as it stands. */
export function exchangeWords(exchange: Exchange, link: Link): Words {
  const device = exchange.deviceId;
  const detail = exchange.detail === "" ? "" : ` (${exchange.detail})`;
  switch (exchange.state) {
    case "sending":
      return link === "online"
        ? { tone: "busy", title: "Sending", text: `Waiting for ${device} to confirm.` }
        : { tone: "warn", title: "Not sent yet", text: notSent(link) };
    case "accepted":
      return { tone: "busy", title: "Accepted", text: accepted(exchange) };
    case "proposing":
      return { tone: "busy", title: "Devices propose", text: layerText(exchange) };
    case "streaming":
      return { tone: "busy", title: "Answering", text: "" };
    case "answered":
      return isPartial(exchange)
        ? { tone: "warn", title: "Partial", text: partial(exchange) }
        : whole(exchange);
    case "refused":
      return {
        tone: "warn",
        title: exchange.refusal === "overloaded" ? "Busy" : "Refused",
        text: `${device} ${REFUSED[exchange.refusal ?? "invalid"]}${detail}.`,
      };
    case "expired":
      return {
        tone: "warn",
        title: "Expired",
        text: `The answer was not ready in time${detail}. Try again with fewer layers, or allow more time in Settings.`,
      };
    case "cancelled":
      return { tone: "calm", title: "Cancelled", text: "You stopped this prompt." };
    case "failed":
      return {
        tone: "bad",
        title: "Failed",
        text: `${sentence(exchange, `${device} could not answer`)} Trying again often helps.`,
      };
    case "unreachable":
      return {
        tone: "bad",
        title: "No reply",
        text: `${sentence(exchange, `${device} does not respond: is it on?`)} Try again, or ask another device.`,
      };
  }
}

/** What the engine or the device says of it ("the engine stopped") as a sentence. A device's name stays as it is. */
function sentence({ detail, deviceId }: Exchange, otherwise: string): string {
  const text = detail || otherwise;
  const begun = text.startsWith(deviceId) ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return begun + (/[.?!]$/.test(text) ? "" : ".");
}

function notSent(link: Link): string {
  if (link === "refused") return "The mesh does not let this app in: see Settings.";
  if (link === "unpaired") return "This app is not paired with a mesh: see Settings.";
  return "No connection to the mesh. The prompt is sent as soon as there is one.";
}

function accepted(exchange: Exchange): string {
  const wait = exchange.expectedWaitS;
  if (wait === null) return `${exchange.deviceId} has the prompt.`;
  return wait < 0.5 ? `${exchange.deviceId} begins now.` : `${exchange.deviceId} begins in about ${seconds(wait)}.`;
}

function layerText(exchange: Exchange): string {
  const now = exchange.progress.at(-1);
  if (now === undefined) return "";
  if (now.joined.length === 0)
    return `Layer ${now.layer} of ${now.layer_count}: ${count(now.asked.length, "device")} asked.`;
  if (now.layer < now.layer_count) return `Layer ${now.layer} of ${now.layer_count} is complete.`;
  return `All layers are complete; ${exchange.deviceId} makes the answer from them.`;
}

/** An answer that was aggregated: whole, unless a bound ended it or the model was not shown all of the prompt. */
function whole(exchange: Exchange): Words {
  const made = exchange.provenance?.aggregation ?? null;
  const ended = made?.finish_reason === "length" ? "The answer was cut off at its bound: ask for the rest. " : "";
  const shown = made?.input_tokens_cut ?? 0;
  const missed = shown > 0 ? `${count(shown, "token")} of the prompt did not fit into the model's context.` : "";
  const text = `${ended}${missed}`.trim();
  if (text === "") return { tone: "good", title: "Answered", text };
  return { tone: "warn", title: ended === "" ? "Answered" : "Cut off", text };
}

function partial(exchange: Exchange): string {
  if (isProposal(exchange)) {
    const from = exchange.provenance?.answer_from ?? "";
    const whose = from === "" ? "one device's proposal" : `the proposal of ${from}`;
    return `This is ${whose}, not improved by the others${exchange.detail === "" ? "" : `: ${exchange.detail}`}.`;
  }
  const missing = exchange.provenance?.missing ?? [];
  const names = [...new Set(missing.map((one) => one.device_id))];
  return `Answered without ${count(missing.length, "response")} (${names.join(", ")}).`;
}

const DEVICE_STATE: Record<DeviceState, { tone: Tone; title: string }> = {
  online: { tone: "good", title: "Online" },
  silent: { tone: "warn", title: "Silent" },
  stopped: { tone: "calm", title: "Stopped" },
  offline: { tone: "bad", title: "Offline" },
  unknown: { tone: "calm", title: "Not heard from yet" },
};

/** What to call a device's state. */
export function deviceWords(device: Device): { tone: Tone; title: string } {
  if (device.state === "online" && !device.able) return { tone: "bad", title: "Cannot answer" };
  return DEVICE_STATE[device.state];
}

/** What to call the connection's state. */
export function linkWords(link: Link): { tone: Tone; title: string } {
  switch (link) {
    case "online":
      return { tone: "good", title: "Online" };
    case "connecting":
      return { tone: "busy", title: "Connecting…" };
    case "offline":
      return { tone: "warn", title: "Offline" };
    case "refused":
      return { tone: "bad", title: "Access denied" };
    case "unpaired":
      return { tone: "calm", title: "Not paired" };
  }
}
