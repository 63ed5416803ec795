/**
 * Bytes to messages and back. Whatever is wrong with received bytes, `decode` returns null and never throws: devices
 * are not trusted, and the broker even less.
 *
 * Nothing is converted ("2" is no number). Fields that this version does not know are left out, so that an app that a
 * phone has kept for a while can still talk to newer devices; a newer schema version is refused.
 */
import { isPrintable } from "./printable";
import type { AnswersPage, AnswersQuery, Broadcast, DeviceToUser, Prompt, PromptCancel } from "./messages";
import * as s from "./shapes";
import { type Channel, isId } from "./topics";

/** What a device may tell a user. */
export type Received = DeviceToUser | Broadcast;

const LIST_LENGTH_MAX = 1024; // far above what the longest session lists: 8 layers of 17 with all their substitutes

const LONE_SURROGATE = /\p{Surrogate}/gu; // with the u flag whole pairs are one character and do not match

class Malformed extends Error {}

/** Returns the message in `body`, which must be one that `channel` carries; null if it is none. */
export function decode(channel: Channel, body: Uint8Array): Received | null {
  if (body.byteLength > s.BODY_BYTES_MAX) return null;
  try {
    const fields: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
    if (!isObject(fields) || own(fields, "v") !== s.SCHEMA_VERSION) return null;
    const type = own(fields, "type");
    if (typeof type !== "string" || !(s.CHANNELS[channel].types as readonly string[]).includes(type)) return null;
    if (!Object.hasOwn(s.CLASS_OF_TYPE, type)) return null;
    const name = s.CLASS_OF_TYPE[type as keyof typeof s.CLASS_OF_TYPE];
    const message = { type, ...record(name, fields) } as Received;
    return isPlausible(message) ? message : null;
  } catch {
    return null; // Malformed, a SyntaxError of JSON, a TypeError of UTF-8, a RangeError of absurd nesting
  }
}

/** Returns the body of a message from this user. A lone surrogate, which UTF-8 cannot say, becomes U+FFFD. */
export function encode(
  message:
    | ({ type: "prompt" } & Prompt)
    | ({ type: "prompt-cancel" } & PromptCancel)
    | ({ type: "answers-query" } & AnswersQuery),
): string {
  return JSON.stringify({ v: s.SCHEMA_VERSION, ...message }, (_, value: unknown) =>
    typeof value === "string" ? value.replace(LONE_SURROGATE, "\ufffd") : value,
  );
}

function record(name: string, fields: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [field, { shape, default: absent }] of Object.entries(s.SHAPES[name]!)) {
    const given = own(fields, field);
    if (given === undefined && absent === undefined) throw new Malformed(field);
    result[field] = given === undefined ? structuredClone(absent) : read(shape, given);
  }
  return result;
}

function read(shape: s.Shape, value: unknown): unknown {
  if (typeof shape === "string") return readPrimitive(shape, value);
  if ("nullable" in shape) return value === null ? null : read(shape.nullable, value);
  if ("record" in shape) {
    if (!isObject(value)) throw new Malformed(shape.record);
    return record(shape.record, value);
  }
  if ("oneOf" in shape) {
    if (typeof value !== "string" || !shape.oneOf.includes(value)) throw new Malformed("oneOf");
    return value;
  }
  if (!Array.isArray(value) || value.length > LIST_LENGTH_MAX) throw new Malformed("list");
  if ("list" in shape) return value.map((item) => read(shape.list, item));
  if (value.length !== shape.tuple.length) throw new Malformed("tuple");
  return value.map((item, at) => read(shape.tuple[at]!, item));
}

function readPrimitive(shape: "string" | "integer" | "number" | "boolean", value: unknown): unknown {
  const isRight =
    shape === "integer"
      ? Number.isInteger(value) && Math.abs(value as number) <= s.COUNT_MAX
      : shape === "number"
        ? Number.isFinite(value) // 1e999 is JSON, and Infinity once read
        : typeof value === shape;
  if (!isRight) throw new Malformed(shape);
  return value;
}

/** Bounds that shapes cannot say, as `edge_agent/wire/checks.py` has them. */
function isPlausible(message: Received): boolean {
  switch (message.type) {
    case "prompt-receipt":
    case "answer":
      return isMessageId(message.prompt_id) && isId(message.device_id);
    case "prompt-refusal":
      return (message.prompt_id === "" || isMessageId(message.prompt_id)) && isId(message.device_id);
    case "answers-page":
      return isPlausiblePage(message);
    case "token-chunk":
      return isMessageId(message.prompt_id) && message.index >= 0;
    case "layer-progress":
      return (
        isMessageId(message.prompt_id) &&
        [message.layer, message.layer_count].every((layer) => layer >= 0 && layer <= s.LAYERS_MAX) &&
        [...message.asked, ...message.joined].every(isId)
      );
    case "presence":
      return isId(message.entry.device_id) && isShort(message.version) && message.queue_capacity >= 0;
    case "device-status": {
      const { stability_margin: _, ...notNegative } = message;
      const numbers = Object.values(notNegative).filter((value) => typeof value === "number");
      return isId(message.device_id) && isShort(message.model) && numbers.every((value) => value >= 0);
    }
  }
}

/** Also the answer in it is the device's own. */
function isPlausiblePage({ query_id, device_id, answers, answer, whole_s }: AnswersPage): boolean {
  return (
    isMessageId(query_id) &&
    isId(device_id) &&
    whole_s >= 0 &&
    answers.every((line) => isMessageId(line.prompt_id) && isId(line.client) && line.age_s >= 0 && line.text_bytes >= 0) &&
    (answer === null || (isMessageId(answer.prompt_id) && answer.device_id === device_id))
  );
}

function isMessageId(text: string): boolean {
  return text.length >= 1 && text.length <= s.MESSAGE_ID_LENGTH_MAX && isPrintable(text);
}

function isShort(text: string): boolean {
  return text.length <= s.SHORT_TEXT_LENGTH_MAX && isPrintable(text);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A field of the body itself: `toString` and `__proto__` are no fields. */
function own(fields: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}
