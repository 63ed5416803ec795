import { afterEach, expect, test } from "vitest";
import { createEngine } from "../../src/engine/engine";
import { randomHex } from "../../src/mesh/ids";
import { DEFAULT_OPTIONS, type Engine, type Exchange, type Options, type PromptState } from "../../src/model";
import { until } from "../until";
import { mesh } from "./mesh";

const LONG: Options = { ...DEFAULT_OPTIONS, layers: 2, fanout: 1 };
const SHORT: Options = { ...DEFAULT_OPTIONS, layers: 0 };

type Page = ReturnType<typeof createEngine>;
const pages: Page[] = [];

afterEach(async () => {
  await Promise.all(pages.splice(0).map((page) => page.stop()));
});

/** Opens the app; paired with a new user unless `user` is "". */
async function openPage(user = `user-${randomHex(4)}`, devices?: string[]): Promise<Page> {
  const page = createEngine();
  pages.push(page);
  await page.start();
  if (user !== "") {
    await page.pair(await mesh({ do: "pairing", user, ...(devices ? { devices } : {}) }));
    await until(() => page.link.value === "online", "online");
  }
  return page;
}

/** Every state that an exchange goes through, and its longest texts, in order. */
function witness(page: Engine, id: string): { states: PromptState[]; texts: string[]; now: () => Exchange } {
  const [states, texts]: [PromptState[], string[]] = [[], []];
  const live = page.exchange(id);
  live.subscribe((exchange) => {
    if (exchange === null) return;
    if (states.at(-1) !== exchange.state) states.push(exchange.state);
    if (texts.at(-1) !== exchange.answer) texts.push(exchange.answer);
  });
  return { states, texts, now: () => live.value! };
}

test("a prompt is answered, its layers and tokens seen on the way", async () => {
  const page = await openPage();
  const { id, chatId } = await page.ask(null, "device-1", "Why is the sky blue?", LONG);
  const seen = witness(page, id);
  await until(() => seen.now().state === "answered", "answered");
  expect(seen.states.slice(seen.states.indexOf("proposing"))).toEqual(["proposing", "streaming", "answered"]);
  const answer = seen.texts.at(-1)!;
  expect(seen.texts.length).toBeGreaterThan(3);
  for (const text of seen.texts) expect(answer.startsWith(text)).toBe(true);
  expect(seen.now().progress.map(({ layer }) => layer)).toEqual([1, 2]);
  expect(seen.now().provenance?.layers.map((layer) => layer.length)).toEqual([2, 2]);
  expect(page.exchanges(chatId).value.map(({ state }) => state)).toEqual(["answered"]);
  expect(page.chats.value.map(({ title }) => title)).toEqual(["Why is the sky blue?"]);
});

test("with the broker restarted in mid-answer the answer still arrives, once", async () => {
  const page = await openPage();
  const ended = Number(await mesh({ do: "sessions_ended", device: "device-1" }));
  const { id } = await page.ask(null, "device-1", "Tell me a story", LONG);
  const seen = witness(page, id);
  await until(() => seen.states.includes("streaming"), "streaming");
  await mesh({ do: "restart_broker" });
  await until(() => seen.now().state === "answered", "answered");
  expect(seen.states.filter((state) => state === "answered")).toHaveLength(1);
  expect(seen.now().answer).toBe(seen.texts.at(-1));
  await until(() => page.link.value === "online", "online again");
  expect(Number(await mesh({ do: "sessions_ended", device: "device-1" })) - ended).toBe(1);
});

test("a prompt under way is taken up again by the next page", async () => {
  const page = await openPage();
  const { id, chatId } = await page.ask(null, "device-1", "Tell me a story", LONG);
  await until(() => page.exchange(id).value?.state === "proposing", "proposing");
  await page.stop();
  const ended = Number(await mesh({ do: "sessions_ended", device: "device-1" }));
  const reloaded = await openPage("");
  expect(reloaded.pairing.value?.user).toBe(page.pairing.value?.user);
  await until(() => reloaded.exchange(id).value?.state === "answered", "answered");
  expect(reloaded.exchanges(chatId).value.map((exchange) => exchange.id)).toEqual([id]);
  expect(Number(await mesh({ do: "sessions_ended", device: "device-1" })) - ended).toBe(1);
});

test("an answer that came while the page was away is fetched", async () => {
  const page = await openPage();
  const ended = Number(await mesh({ do: "sessions_ended", device: "device-1" }));
  const { id } = await page.ask(null, "device-1", "Why?", SHORT);
  await until(() => page.exchange(id).value?.state !== "sending", "received");
  await page.stop();
  let now = ended;
  await until(() => {
    void mesh({ do: "sessions_ended", device: "device-1" }).then((count) => (now = Number(count)));
    return now > ended;
  }, "answered without us");
  const reloaded = await openPage("");
  await until(() => reloaded.exchange(id).value?.state === "answered", "answered");
  expect(reloaded.exchange(id).value?.answer).not.toBe("");
});

test("earlier exchanges go along, and a retry is a prompt of its own", async () => {
  const page = await openPage();
  const first = await page.ask(null, "device-1", "My name is Ada", SHORT);
  await until(() => page.exchange(first.id).value?.state === "answered", "answered");
  const second = await page.ask(first.chatId, "device-1", "What is my name?", SHORT);
  await until(() => page.exchange(second.id).value?.state === "answered", "answered");
  const tokens = (id: string): number => page.exchange(id).value!.provenance!.aggregation!.input_tokens;
  expect(tokens(second.id)).toBeGreaterThan(tokens(first.id));
  const again = await page.retry(second.id);
  await until(() => page.exchange(again.id).value?.state === "answered", "answered");
  expect(page.exchange(again.id).value?.retryOf).toBe(second.id);
  expect(tokens(again.id)).toBe(tokens(second.id));
});

test("a cancelled prompt ends as cancelled", async () => {
  const page = await openPage();
  const { id } = await page.ask(null, "device-1", "Tell me a story", LONG);
  await until(() => page.exchange(id).value?.state === "proposing", "proposing");
  await page.cancel(id);
  await until(() => page.exchange(id).value?.state === "cancelled", "cancelled");
});

test("a device that is full refuses in words, and says when to try again", async () => {
  const page = await openPage();
  const asked = await Promise.all(Array.from({ length: 12 }, () => page.ask(null, "device-1", "Why?", SHORT)));
  const states = (): PromptState[] => asked.map(({ id }) => page.exchange(id).value!.state);
  await until(() => states().includes("refused"), "one is refused");
  const refused = page.exchange(asked[states().indexOf("refused")]!.id).value!;
  expect([refused.refusal, refused.detail !== "", refused.retryAfterS! >= 1]).toEqual(["overloaded", true, true]);
  await Promise.all(asked.map(({ id }) => page.cancel(id)));
  await until(() => states().every((state) => /answered|refused|cancelled/.test(state)), "all have ended");
});

test("a wrong secret is refused, which is not being offline", async () => {
  const page = await openPage();
  const { brokers, mesh: name, user } = page.pairing.value!;
  const wrong = { v: 1, mesh: name, brokers, user, secret: "wrong" };
  await page.pair(Buffer.from(JSON.stringify(wrong)).toString("base64url"));
  await until(() => page.link.value === "refused", "refused");
  await page.pair(Buffer.from(JSON.stringify({ ...wrong, brokers: ["ws://127.0.0.1:9"] })).toString("base64url"));
  await until(() => page.link.value === "offline", "offline");
});

test("a user who was removed is refused from then on", async () => {
  const page = await openPage();
  await mesh({ do: "remove_user", user: page.pairing.value!.user });
  await until(() => page.link.value === "refused", "refused");
  expect(page.linkDetail.value).toContain("pair again");
});

test("users of one device see and ask that one only", async () => {
  const page = await openPage(undefined, ["device-1"]);
  await until(() => page.devices.value.some(({ id }) => id === "device-1"), "device-1 is seen");
  await expect(page.ask(null, "device-2", "Why?", SHORT)).rejects.toThrow("does not include device-2");
  const { id } = await page.ask(null, "device-1", "Why?", SHORT);
  await until(() => page.exchange(id).value?.state === "answered", "answered");
  expect(page.devices.value.map((device) => device.id)).toEqual(["device-1"]);
});

test("a killed device is offline at once and alerted; one that comes back is online", async () => {
  const page = await openPage();
  const state = (): string | undefined => page.devices.value.find(({ id }) => id === "device-2")?.state;
  await until(() => state() === "online" && page.devices.value.every(({ status }) => status !== null), "online");
  expect(page.predict("device-1", 2, 1).inferences).toBe(5);
  await mesh({ do: "kill_device", device: "device-2" });
  await until(() => state() === "offline", "offline");
  expect(page.alerts.value.map(({ id, severity }) => [id, severity])).toEqual([["offline/device-2", "critical"]]);
  await mesh({ do: "restart_device", device: "device-2" });
  await until(() => state() === "online" && page.alerts.value.length === 0, "online again");
});

test("a browser that keeps nothing works all the same, and says so", async () => {
  globalThis.indexedDB = {
    open: () => {
      throw new DOMException("denied", "SecurityError");
    },
  } as unknown as IDBFactory;
  const page = await openPage();
  expect(page.storageWorks.value).toBe(false);
  const { id } = await page.ask(null, "device-1", "Why?", SHORT);
  await until(() => page.exchange(id).value?.state === "answered", "answered");
});
