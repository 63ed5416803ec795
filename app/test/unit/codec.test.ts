import { expect, test } from "vitest";
import { decode, encode } from "../../src/wire/codec";
import { BODY_BYTES_MAX, CHANNELS } from "../../src/wire/shapes";
import { type Channel, inboxTopic, parseTopic, promptsTopic, userSubscriptions } from "../../src/wire/topics";
import cases from "../cases.json";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const channelOf = (type: string): Channel =>
  (Object.keys(CHANNELS) as Channel[]).find((name) => (CHANNELS[name].types as readonly string[]).includes(type))!;

test.each(cases.wire)("a $type is read as the device wrote it", ({ type, body }) => {
  const { v: _, ...fields } = JSON.parse(body);
  expect(decode(channelOf(type), bytes(body))).toEqual({ ...fields, type });
});

test("a message is only taken on the channel that carries it", () => {
  for (const { type, body } of cases.wire) {
    for (const channel of Object.keys(CHANNELS) as Channel[]) {
      expect(decode(channel, bytes(body)) !== null).toBe(channel === channelOf(type));
    }
  }
});

const CHUNK = { v: 2, type: "token-chunk", prompt_id: "p1", index: 0, text: "x" };
const refused: [string, string][] = [
  ["no JSON", "{"],
  ["no object", "[1]"],
  ["null", "null"],
  ["another version", JSON.stringify({ ...CHUNK, v: 1 })],
  ["no version", JSON.stringify({ ...CHUNK, v: undefined })],
  ["an unknown type", JSON.stringify({ ...CHUNK, type: "toString" })],
  ["a number as text", JSON.stringify({ ...CHUNK, index: "0" })],
  ["a fraction as a count", JSON.stringify({ ...CHUNK, index: 0.5 })],
  ["a negative count", JSON.stringify({ ...CHUNK, index: -1 })],
  ["a number too large to be exact", JSON.stringify({ ...CHUNK, index: 2 ** 60 })],
  ["a missing field", JSON.stringify({ ...CHUNK, text: undefined })],
  ["null where there must be text", JSON.stringify({ ...CHUNK, text: null })],
  ["an id with control characters", JSON.stringify({ ...CHUNK, prompt_id: "a\u0000b" })],
  ["an id that turns the writing", JSON.stringify({ ...CHUNK, prompt_id: "a\u202eb" })],
  ["an id that is too long", JSON.stringify({ ...CHUNK, prompt_id: "x".repeat(129) })],
  ["infinity", '{"v":2,"type":"prompt-receipt","prompt_id":"p","device_id":"d","expected_wait_s":1e999}'],
  ["a device name in capitals", '{"v":2,"type":"prompt-receipt","prompt_id":"p","device_id":"D","expected_wait_s":1}'],
  ["absurd nesting", `{"v":2,"type":"token-chunk","prompt_id":${"[".repeat(100_000)}`],
  [
    "a list that is too long",
    JSON.stringify({
      v: 2,
      type: "layer-progress",
      prompt_id: "p",
      layer: 1,
      layer_count: 1,
      asked: Array(2000).fill("d"),
      joined: [],
    }),
  ],
  [
    "a layer out of bounds",
    JSON.stringify({ v: 2, type: "layer-progress", prompt_id: "p", layer: 9, layer_count: 9, asked: [], joined: [] }),
  ],
];

test.each(refused)("%s is refused", (_what, body) => {
  expect(decode("answers", bytes(body))).toBeNull();
});

test("bytes that are not UTF-8, and bodies that are too large, are refused", () => {
  const body = bytes(JSON.stringify(CHUNK));
  expect(decode("answers", body)).not.toBeNull();
  expect(decode("answers", Uint8Array.from([...body.slice(0, -3), 0xff, ...body.slice(-2)]))).toBeNull();
  expect(decode("answers", bytes(JSON.stringify({ ...CHUNK, text: "x".repeat(BODY_BYTES_MAX) })))).toBeNull();
});

test("fields of a newer device are left out, also those that would change an object's kind", () => {
  const body = `{"v":2,"type":"token-chunk","prompt_id":"p1","index":0,"text":"x","__proto__":{"evil":1},"new":2}`;
  const message = decode("answers", bytes(body));
  expect(message).toEqual({ type: "token-chunk", prompt_id: "p1", index: 0, text: "x" });
  expect(Object.getPrototypeOf(message)).toBe(Object.prototype);
});

test("what a device of an older version leaves out has its default", () => {
  const body = '{"v":2,"type":"prompt-refusal","prompt_id":"p1","device_id":"d","reason":"invalid","detail":""}';
  expect(decode("answers", bytes(body))).toMatchObject({ retry_after_s: null });
});

test("no mutation of a right body makes reading throw", () => {
  let seed = 7;
  const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
  for (const { type, body } of cases.wire) {
    for (let round = 0; round < 300; round++) {
      const mutated = bytes(body);
      for (let change = 0; change <= random(3); change++) mutated[random(mutated.length)] = random(256);
      const message = decode(channelOf(type), mutated);
      expect(message === null || message.type === type).toBe(true);
    }
  }
});

test("what is sent is one JSON object in UTF-8, also with a lone surrogate in it", () => {
  const body = encode({ type: "prompt-cancel", prompt_id: "p\ud800 \u{1f30d}" });
  expect(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes(body)))).toEqual({
    v: 2,
    type: "prompt-cancel",
    prompt_id: "p\ufffd \u{1f30d}",
  });
});

test("topics are made and taken apart", () => {
  expect(promptsTopic("home", "kitchen", "alice")).toBe("moamesh/v2/home/devices/kitchen/prompts/user.alice");
  const inbox = inboxTopic("home", "kitchen", "alice");
  expect(inbox).toBe("moamesh/v2/home/devices/kitchen/answers/user.alice/app");
  const address = { mesh: "home", device: "kitchen", channel: "answers", principal: "user.alice", client: "app" };
  expect(parseTopic(inbox)).toEqual(address);
  expect(parseTopic("moamesh/v2/home/devices/kitchen/answers/me/0")?.principal).toBe("me");
  expect(parseTopic("moamesh/v2/home/devices/kitchen/status")?.channel).toBe("status");
  for (const topic of [
    "",
    "x",
    "moamesh/v2/home/devices/kitchen/gossip",
    `${inbox}/x`,
    inbox.replace("user.alice", "admin.alice"),
    inbox.replace("user.alice", "user."),
    inbox.replace("/app", ""),
    inbox.replace("v2", "v1"),
    "moamesh/v2/home/devices/K/status",
    "moamesh/v2/home/devices/kitchen/answers",
    "moamesh/v2/home/devices/kitchen/constructor",
  ]) {
    expect(parseTopic(topic)).toBeNull();
  }
});

test("a user reads its own answers, presence and status: of all devices, or of those named", () => {
  expect(userSubscriptions("home", "alice", undefined)).toEqual([
    { filter: "moamesh/v2/home/devices/+/answers/user.alice/app", qos: 1 },
    { filter: "moamesh/v2/home/devices/+/presence", qos: 1 },
    { filter: "moamesh/v2/home/devices/+/status", qos: 0 },
  ]);
  expect(userSubscriptions("home", "alice", ["a", "b"])).toHaveLength(6);
});
