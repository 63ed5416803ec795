import { expect, test } from "vitest";
import * as c from "../../src/mesh/conversation";
import { DEFAULT_OPTIONS } from "../../src/model";
import type { Answer, DeviceToUser, Outcome } from "../../src/wire/messages";
import { exchange, PROVENANCE } from "../support/samples";

const receipt: DeviceToUser = {
  type: "prompt-receipt",
  prompt_id: "p1",
  device_id: "device-1",
  expected_wait_s: 2,
  durable: true,
};
const chunk = (index: number, text: string): DeviceToUser => ({ type: "token-chunk", prompt_id: "p1", index, text });
const progress = (layer: number, joined: string[] = []): DeviceToUser => ({
  type: "layer-progress",
  prompt_id: "p1",
  layer,
  layer_count: 2,
  asked: ["device-1"],
  joined,
});
const answer = (outcome: Outcome, text: string): { type: "answer" } & Answer => ({
  type: "answer",
  prompt_id: "p1",
  device_id: "device-1",
  partial: false,
  outcome,
  text,
  detail: "why",
  end_to_end_latency_s: 3,
  provenance: PROVENANCE,
});
const refusal: DeviceToUser = {
  type: "prompt-refusal",
  prompt_id: "p1",
  device_id: "device-1",
  reason: "overloaded",
  detail: "the queue is full",
  retry_after_s: 4,
};

function after(...messages: DeviceToUser[]): c.Conversation {
  return messages.reduce((conversation, message) => c.deliver(conversation, message, 1), c.open(exchange(), 0));
}

test("a prompt goes from sending to answered, and its text grows", () => {
  const states = [receipt, progress(1), progress(2), chunk(0, "Hel"), chunk(1, "lo"), answer("answered", "Hello")];
  let conversation = c.open(exchange(), 0);
  const seen = states.map((message) => {
    conversation = c.deliver(conversation, message, 1);
    return [conversation.exchange.state, conversation.exchange.answer];
  });
  expect(seen).toEqual([
    ["accepted", ""],
    ["proposing", ""],
    ["proposing", ""],
    ["streaming", "Hel"],
    ["streaming", "Hello"],
    ["answered", "Hello"],
  ]);
  expect(conversation.exchange).toMatchObject({ expectedWaitS: 2, endToEndLatencyS: 3, detail: "why" });
});

test("the newest word on each layer is kept, in the order of layers", () => {
  const { progress: all } = after(progress(2), progress(1), progress(1, ["device-1"])).exchange;
  expect(all.map(({ layer, joined }) => [layer, joined])).toEqual([
    [1, ["device-1"]],
    [2, []],
  ]);
});

test("repeated chunks are dropped, and a count that starts again starts the text over", () => {
  expect(after(chunk(0, "a"), chunk(1, "b"), chunk(1, "b")).exchange.answer).toBe("ab");
  expect(after(chunk(0, "a"), chunk(1, "b"), chunk(0, "x"), chunk(1, "y")).exchange.answer).toBe("xy");
});

test("missed chunks show as a gap until the whole answer is there", () => {
  const conversation = after(chunk(0, "a"), chunk(3, "d"));
  expect(conversation.exchange.answer).toBe("a … d");
  expect(c.deliver(conversation, answer("answered", "abcd"), 2).exchange.answer).toBe("abcd");
});

test("after a page reload the text goes on where it is, with a gap", () => {
  const reloaded = c.open(exchange({ state: "streaming", answer: "ab" }), 0);
  const later = c.deliver(c.deliver(reloaded, chunk(5, "f"), 1), chunk(6, "g"), 1);
  expect(later.exchange.answer).toBe("ab … fg");
});

test("a prompt ends once: what comes after its end changes nothing", () => {
  const ended = after(answer("answered", "Hello"));
  for (const message of [answer("answered", "again"), chunk(0, "x"), refusal, receipt]) {
    expect(c.deliver(ended, message, 2)).toBe(ended);
  }
});

test.each(["expired", "cancelled", "failed"] as const)("an answer that is %s keeps the text so far", (outcome) => {
  expect(after(chunk(0, "so far"), answer(outcome, "")).exchange).toMatchObject({ state: outcome, answer: "so far" });
});

test("a refusal says why and when to try again; after a cancel it means cancelled", () => {
  const why = { state: "refused", refusal: "overloaded", detail: "the queue is full", retryAfterS: 4 };
  expect(after(refusal).exchange).toMatchObject(why);
  const cancelled = c.deliver(c.wantCancel(c.open(exchange(), 0)), refusal, 1);
  expect(cancelled.exchange).toMatchObject({ state: "cancelled", refusal: null });
});

test("without a receipt it is sent again after 3, 6 and 12 seconds, and given up after 24 more", () => {
  let conversation = c.open(exchange(), 0);
  const sentAt: number[] = [];
  let now = 0;
  for (; c.due(conversation, now) !== "unreachable"; now += 0.5) {
    if (c.due(conversation, now) !== "send") continue;
    sentAt.push(now);
    conversation = c.addSent(conversation, now, true);
  }
  expect(sentAt).toEqual([0, 3, 9, 21]);
  expect(now).toBe(45);
  expect(c.giveUp(conversation, "unreachable").state).toBe("unreachable");
});

test("a prompt that the broker did not take is sent again every second, for as long as it takes", () => {
  let conversation = c.addSent(c.open(exchange(), 0), 0, false);
  for (let now = 1; now < 60; now++) {
    expect(c.due(conversation, now)).toBe("send");
    conversation = c.addSent(conversation, now, false);
    expect(c.due(conversation, now)).toBe("nothing");
  }
});

test("an accepted prompt is asked after every 20 seconds without news, and at once after a new connection", () => {
  let conversation = c.deliver(c.addSent(c.open(exchange(), 0), 0, true), receipt, 1);
  expect([c.due(conversation, 20.5), c.due(conversation, 21)]).toEqual(["nothing", "send"]);
  conversation = c.addSent(conversation, 21, true);
  expect(c.due(conversation, 22)).toBe("nothing");
  expect(c.due(c.reconnected(conversation, 22), 22)).toBe("send");
});

test("it times out after its deadline and a little", () => {
  const options = { ...DEFAULT_OPTIONS, deadlineS: 10 };
  const conversation = c.deliver(c.open(exchange({ options }), 0), receipt, 39);
  expect([c.due(conversation, 39.9), c.due(conversation, 40)]).toEqual(["nothing", "timeout"]);
  expect(c.giveUp(conversation, "timeout")).toMatchObject({
    state: "failed",
    detail: "device-1 did not answer within 40 s",
  });
});

test("a long word of a device is cut", () => {
  const long = { ...answer("failed", ""), detail: "x".repeat(10_000) };
  expect(after(long).exchange.detail.length).toBe(500);
});

test("an answer without an end is cut", () => {
  const text = "x".repeat(c.ANSWER_LENGTH_MAX);
  expect(after(chunk(0, text), chunk(1, "more")).exchange.answer).toBe(text);
});

test("an answer that is the best proposal says so, with the device's reason", () => {
  const part = { ...answer("answered", "yes"), partial: true, detail: "nobody could aggregate in time" };
  const { exchange: shown } = c.deliver(c.deliver(c.open(exchange(), 0), receipt, 1), part, 2);
  expect([shown.state, shown.answer, shown.partial, shown.detail]).toEqual([
    "answered",
    "yes",
    true,
    "nobody could aggregate in time",
  ]);
});
