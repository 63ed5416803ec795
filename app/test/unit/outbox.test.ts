import { beforeEach, expect, test } from "vitest";
import { CANCEL_TIMEOUT_S, Outbox, PROMPTS_OPEN_MAX } from "../../src/mesh/outbox";
import type { Published } from "../../src/mesh/session";
import type { Exchange } from "../../src/model";
import { exchange, PROVENANCE } from "../support/samples";

const TURNS = [{ role: "user" as const, content: "Why?" }];
const receipt = {
  type: "prompt-receipt" as const,
  prompt_id: "p1",
  device_id: "device-1",
  expected_wait_s: null,
  durable: true,
};

let sent: string[];
let queryIds: string[];
let ends: Exchange[];
let outbox: Outbox;
let isOnline: boolean;
let result: Published;

beforeEach(() => {
  [sent, queryIds, ends, isOnline, result] = [[], [], [], true, "taken"];
  outbox = new Outbox((changed) => ends.push(changed));
  outbox.connect({
    get isOnline() {
      return isOnline;
    },
    publish: async (device, { body, correlation }) => {
      const { type, prompt_id: id, query_id } = JSON.parse(body) as { type: string; prompt_id: string; query_id?: string };
      expect([device, correlation]).toEqual(["device-1", query_id ?? id]);
      if (query_id !== undefined) queryIds.push(query_id);
      sent.push(`${type} ${id}`);
      return result;
    },
  });
});

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

test("offline it keeps a prompt for as long as it takes, and sends it when there is a connection", async () => {
  isOnline = false;
  outbox.add(exchange(), TURNS, 0);
  outbox.tick(10_000);
  expect([sent, ends]).toEqual([[], []]);
  isOnline = true;
  outbox.reconnected(0);
  await settled();
  expect(sent).toEqual(["prompt p1"]);
});

test("after a new connection everything under way is sent again under the same id", async () => {
  outbox.add(exchange(), TURNS, 0);
  await settled();
  outbox.deliver("device-1", receipt, 1);
  outbox.reconnected(2);
  await settled();
  expect(sent).toEqual(["prompt p1", "prompt p1"]);
});

const line = { prompt_id: "p1", client: "app", age_s: 4_000, text: "", text_bytes: 0, partial: false };
const empty = { type: "answers-page" as const, device_id: "device-1", next: "", whole_s: 3_600 };

/** An outbox with a prompt that a device took so long ago that it may have forgotten it; returns a page for its query. */
async function lookedUp(): Promise<typeof empty & { query_id: string }> {
  const { port } = outbox as unknown as { port: Parameters<Outbox["connect"]>[0] };
  outbox = new Outbox((changed) => ends.push(changed), () => true);
  outbox.connect(port);
  outbox.add(exchange({ state: "accepted" }), TURNS, 0);
  await settled();
  expect(sent).toEqual(["answers-query p1"]);
  expect(queryIds).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/)]);
  return { ...empty, query_id: queryIds[0] ?? "" };
}

test("a query keeps its own id when it is repeated, and another prompt's has another", async () => {
  await lookedUp();
  outbox.reconnected(1);
  await settled();
  expect(queryIds[1]).toBe(queryIds[0]);
  outbox.add(exchange({ id: "p2", state: "accepted" }), TURNS, 2);
  await settled();
  expect(queryIds[2]).not.toBe(queryIds[0]);
});

test("a page of another prompt, or of none, says nothing about this one", async () => {
  const page = await lookedUp();
  const other = [{ ...line, prompt_id: "p2", standing: "refused" as const, text: "no" }];
  for (const answers of [other, []]) outbox.deliver("device-1", { ...page, answers, answer: null }, 1);
  expect(ends).toEqual([]);
  expect(outbox.has("p1")).toBe(true);
  expect(outbox.deliver("device-1", { ...page, query_id: "p1", answers: other, answer: null }, 1)).toBe(false);
});

test("a refused query is asked again later where it may be, and never is a refusal of the prompt", async () => {
  const { query_id } = await lookedUp();
  const refusal = { type: "prompt-refusal" as const, prompt_id: query_id, device_id: "device-1", detail: "no such thing" };
  expect(outbox.deliver("device-1", { ...refusal, reason: "overloaded", retry_after_s: 4 }, 1)).toBe(true);
  expect(ends).toEqual([]);
  outbox.tick(5);
  await settled();
  expect(sent).toEqual(["answers-query p1", "answers-query p1"]);
  outbox.deliver("device-1", { ...refusal, reason: "invalid", retry_after_s: null }, 6);
  expect(ends).toMatchObject([{ id: "p1", state: "failed", detail: "It cannot be looked up: no such thing" }]);
});

test("what was asked long ago is looked up, and its answer taken from the page", async () => {
  const page = await lookedUp();
  const running = [{ ...line, standing: "running" as const }];
  expect(outbox.deliver("device-1", { ...page, answers: running, answer: null }, 1)).toBe(true);
  expect(ends).toEqual([]);
  expect(outbox.deliver("device-2", { ...page, answers: running, answer: null }, 1)).toBe(false);
  const whole = {
    prompt_id: "p1",
    device_id: "device-1",
    outcome: "answered" as const,
    text: "because",
    detail: "",
    end_to_end_latency_s: 1,
    provenance: PROVENANCE,
    partial: false,
  };
  const answered = [{ ...line, standing: "answered" as const }];
  outbox.deliver("device-1", { ...page, answers: answered, answer: whole }, 2);
  expect(ends).toMatchObject([{ id: "p1", state: "answered", answer: "because" }]);
  expect(outbox.has("p1")).toBe(false);
});

test("what is gone is said to be, and not asked anew", async () => {
  const page = await lookedUp();
  const gone = [{ ...line, standing: "gone" as const, text: "no prompt with that id is known here" }];
  outbox.deliver("device-1", { ...page, answers: gone, answer: null }, 1);
  expect(ends).toMatchObject([{ id: "p1", state: "failed", detail: expect.stringContaining("no longer available") }]);
  expect(sent).toEqual(["answers-query p1"]);
});

test("other devices cannot speak about a prompt, and prompts of other pages are not ours", async () => {
  outbox.add(exchange(), TURNS, 0);
  await settled();
  expect(outbox.deliver("device-2", receipt, 1)).toBe(false);
  expect(outbox.deliver("device-1", { ...receipt, prompt_id: "p2" }, 1)).toBe(false);
  expect(ends).toEqual([]);
});

test("a cancel before it was ever sent ends it at once", () => {
  isOnline = false;
  outbox.add(exchange(), TURNS, 0);
  outbox.cancel("p1", 1);
  expect([sent, ends.map(({ state }) => state)]).toEqual([[], ["cancelled"]]);
});

test("a cancel follows the prompt, and is sent again after a lost connection; the prompt is not", async () => {
  outbox.add(exchange(), TURNS, 0);
  outbox.cancel("p1", 0);
  await settled();
  await settled();
  expect(sent).toEqual(["prompt p1", "prompt-cancel p1"]);
  outbox.reconnected(1);
  await settled();
  expect(sent.at(-1)).toBe("prompt-cancel p1");
  outbox.tick(CANCEL_TIMEOUT_S);
  expect(ends.map(({ state }) => state)).toEqual(["cancelled"]);
});

test("a device that never says it has the prompt is unreachable", async () => {
  outbox.add(exchange(), TURNS, 0);
  for (const now of [0, 3, 9, 21, 45]) {
    outbox.tick(now);
    await settled();
  }
  expect([sent.length, ends.map(({ state }) => state)]).toEqual([4, ["unreachable"]]);
});

test("where the broker forbids it, it says so and does not try again", async () => {
  result = "forbidden";
  outbox.add(exchange(), TURNS, 0);
  await settled();
  outbox.tick(100);
  expect(sent).toHaveLength(1);
  expect(ends[0]).toMatchObject({ state: "unreachable", detail: "the broker does not let you ask device-1" });
});

test("it is bounded, and empties when the pairing goes", () => {
  isOnline = false;
  for (let count = 0; count < PROMPTS_OPEN_MAX; count++) outbox.add(exchange({ id: `p${count}` }), TURNS, 0);
  expect(outbox.isFull).toBe(true);
  outbox.abandon("unpaired");
  expect(outbox.isFull).toBe(false);
  expect(ends.every(({ state, detail }) => state === "failed" && detail === "unpaired")).toBe(true);
});

test("a prompt of a deleted chat is dropped without a word to the page, and its device told", async () => {
  outbox.add(exchange(), TURNS, 0);
  await settled();
  outbox.drop("p1", 1);
  await settled();
  expect([sent.at(-1), ends]).toEqual(["prompt-cancel p1", []]);
});
