import { expect, test } from "vitest";
import { Patience } from "../../src/engine/patience";
import { pairingTextIn, parsePairing } from "../../src/engine/pairing";
import { usableBrokers } from "../../src/mesh/connection";
import { buildMessages, CONTEXT_EXCHANGES_MAX, CONTEXT_LENGTH_MAX, PROMPT_BYTES_MAX } from "../../src/mesh/context";
import { answered } from "../support/samples";

const RIGHT = { v: 1, mesh: "home", brokers: ["wss://host:8885"], user: "alice", secret: "s3cret-Ü" };
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

test("a link, the text after #pair=, and that with padding say the same", () => {
  const text = encode(RIGHT);
  for (const given of [`https://host:8080/#pair=${text}`, `#pair=${text}`, ` ${text}\n`, `pair=${text}==`]) {
    expect(parsePairing(given)).toEqual(RIGHT);
  }
  expect(parsePairing(encode({ ...RIGHT, devices: ["kitchen"], extra: "x" }))).toEqual({
    ...RIGHT,
    devices: ["kitchen"],
  });
  expect(pairingTextIn("https://host/#/chat/1")).toBeNull();
});

const wrong: [string, unknown][] = [
  ["nothing", ""],
  ["no object", [1]],
  ["another version", { ...RIGHT, v: 0 }],
  ["a mesh that is no id", { ...RIGHT, mesh: "Home/+" }],
  ["a user that is no id", { ...RIGHT, user: "#" }],
  ["no secret", { ...RIGHT, secret: "" }],
  ["a secret with a line break", { ...RIGHT, secret: "a\nb" }],
  ["no broker", { ...RIGHT, brokers: [] }],
  ["too many brokers", { ...RIGHT, brokers: Array(17).fill("wss://host") }],
  ["a broker that is no WebSocket", { ...RIGHT, brokers: ["javascript:alert(1)"] }],
  ["a broker with a password in it", { ...RIGHT, brokers: ["wss://a:b@host"] }],
  ["a device that is no id", { ...RIGHT, devices: ["+"] }],
];

test.each(wrong)("%s is no pairing, and says what to do", (_what, value) => {
  expect(() => parsePairing(value === "" ? "" : encode(value))).toThrow("moamesh pair");
});

test("a link that is cut off, too long or newer is told in one line", () => {
  expect(() => parsePairing(encode(RIGHT).slice(0, 40))).toThrow("not a pairing link");
  expect(() => parsePairing("A".repeat(5_000))).toThrow("not a pairing link");
  expect(() => parsePairing(encode({ ...RIGHT, v: 2 }))).toThrow("newer than this app");
});

test("a page that came over https may only use encrypted brokers, but for this machine's own", () => {
  const brokers = ["ws://host:1", "wss://host:2", "ws://127.0.0.1:3", "ws://localhost.evil.example:4"];
  expect(usableBrokers(brokers, "http:")).toEqual(brokers);
  expect(usableBrokers(brokers, "https:")).toEqual(["wss://host:2", "ws://127.0.0.1:3"]);
});

test("earlier answered exchanges go along, oldest first, but not what was tried again", () => {
  const earlier = [
    answered("1", 1),
    answered("2", 2, { state: "failed" }),
    answered("3", 3),
    answered("4", 4, { retryOf: "3" }),
  ];
  expect(buildMessages(earlier, "now").map(({ role, content }) => `${role} ${content}`)).toEqual([
    "user question 1",
    "assistant answer 1",
    "user question 4",
    "assistant answer 4",
    "user now",
  ]);
});

test("the context is bounded in exchanges and in length, and has no hole", () => {
  const many = Array.from({ length: 50 }, (_, at) => answered(String(at), at));
  expect(buildMessages(many, "now")).toHaveLength(2 * CONTEXT_EXCHANGES_MAX + 1);
  const long = [answered("1", 1), answered("2", 2, { answer: "x".repeat(CONTEXT_LENGTH_MAX) }), answered("3", 3)];
  expect(buildMessages(long, "now").map(({ content }) => content)).toEqual(["question 3", "answer 3", "now"]);
});

test("an empty prompt and one that no device takes are told before they are sent", () => {
  expect(() => buildMessages([], " \n")).toThrow("empty");
  expect(() => buildMessages([], "ü".repeat(PROMPT_BYTES_MAX / 2))).toThrow(`at most ${PROMPT_BYTES_MAX}`);
});

test("patience runs while there is a connection, and neither while the phone sleeps nor backwards", () => {
  const patience = new Patience();
  patience.tick(0, true);
  patience.tick(1_000, true);
  patience.tick(2_000, false);
  patience.tick(3_600_000, true);
  patience.tick(3_500_000, true);
  patience.tick(3_501_000, true);
  expect(patience.now).toBe(2);
});
