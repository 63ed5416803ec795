import { afterEach, expect, test } from "vitest";
import { createEngine, TAKE_UP_MAX_S } from "../../src/engine/engine";
import { DEFAULT_OPTIONS } from "../../src/model";
import { openDatabase } from "../../src/store/database";
import { exchange } from "../support/samples";
import { until } from "../until";

const NOBODY = "ws://127.0.0.1:9"; // the discard port: nothing listens there
const link = (change: object = {}): string =>
  Buffer.from(
    JSON.stringify({ v: 1, mesh: "home", brokers: [NOBODY], user: "alice", secret: "x", ...change }),
  ).toString("base64url");

type Page = ReturnType<typeof createEngine>;
const pages: Page[] = [];
afterEach(async () => {
  await Promise.all(pages.splice(0).map((page) => page.stop()));
});

async function openPage(pairing = ""): Promise<Page> {
  const page = createEngine();
  pages.push(page);
  await page.start();
  if (pairing !== "") await page.pair(pairing);
  return page;
}

test("unpaired it says so, and asking says what to do first", async () => {
  const page = await openPage();
  expect([page.link.value, page.pairing.value]).toEqual(["unpaired", null]);
  await expect(page.ask(null, "device-1", "Why?", DEFAULT_OPTIONS)).rejects.toThrow("Pair this app");
});

test("without its broker it is offline, keeps the prompt, and the next page still has it", async () => {
  const page = await openPage(link());
  await until(() => page.link.value === "offline", "offline");
  expect(page.linkDetail.value).toContain("127.0.0.1:9");
  const { id, chatId } = await page.ask(null, "device-1", "Why?", DEFAULT_OPTIONS);
  expect(page.exchange(id).value?.state).toBe("sending");
  await page.stop();
  const next = await openPage();
  expect(next.pairing.value?.user).toBe("alice");
  await until(() => next.exchanges(chatId).value.length === 1, "read");
  expect(next.exchange(id).value?.state).toBe("sending");
  await next.cancel(id);
  expect(next.exchange(id).value?.state).toBe("cancelled");
});

test("a page may pair while it is still starting", async () => {
  const page = createEngine();
  pages.push(page);
  const starting = page.start();
  await page.pair(link());
  await starting;
  await page.stop();
  expect((await openPage()).pairing.value?.mesh).toBe("home");
});

test("what was never sent for too long is not asked any more; what was is to be looked up", async () => {
  const askedAt = Date.now() - 1000 * TAKE_UP_MAX_S - 1;
  const store = await openDatabase();
  await store.write([], [exchange({ id: "1", askedAt, state: "accepted" }), exchange({ id: "2", askedAt })]);
  const before = await openPage();
  await before.pair(link());
  await before.stop();
  const page = await openPage();
  await until(() => page.exchanges("c1").value.length === 2, "read");
  expect(page.exchanges("c1").value.map(({ state }) => state)).toEqual(["accepted", "unreachable"]);
});

test("a new mesh ends what was asked of the old one; the same mesh with a new secret does not", async () => {
  const page = await openPage(link());
  const { id } = await page.ask(null, "device-1", "Why?", DEFAULT_OPTIONS);
  await page.pair(link({ secret: "new" }));
  expect(page.exchange(id).value?.state).toBe("sending");
  await page.pair(link({ mesh: "other" }));
  expect(page.exchange(id).value).toMatchObject({ state: "failed", detail: expect.stringContaining("another mesh") });
});

test("unpairing forgets the secret, and on demand the history", async () => {
  const page = await openPage(link());
  const { chatId } = await page.ask(null, "device-1", "Why?", DEFAULT_OPTIONS);
  await page.unpair(false);
  expect([page.link.value, page.chats.value.length]).toEqual(["unpaired", 1]);
  await page.pair(link());
  await page.unpair(true);
  await page.stop();
  const next = await openPage();
  expect([next.pairing.value, next.chats.value, next.exchanges(chatId).value]).toEqual([null, [], []]);
});

test("a wrong link changes nothing", async () => {
  const page = await openPage(link());
  await expect(page.pair("nonsense!")).rejects.toThrow("not a pairing link");
  expect(page.pairing.value?.mesh).toBe("home");
});

test("what no device would take is told before it is kept", async () => {
  const page = await openPage(link({ devices: ["device-1"] }));
  const ask = (device: string, prompt: string, options = DEFAULT_OPTIONS) => page.ask(null, device, prompt, options);
  await expect(ask("device-2", "Why?")).rejects.toThrow("does not include device-2");
  await expect(ask("", "Why?")).rejects.toThrow("Choose a device");
  await expect(ask("device-1", "  ")).rejects.toThrow("empty");
  await expect(ask("device-1", "Why?", { ...DEFAULT_OPTIONS, layers: 9 })).rejects.toThrow("0 to 8");
  await expect(ask("device-1", "Why?", { ...DEFAULT_OPTIONS, temperature: Number.NaN })).rejects.toThrow("0 to 5");
  expect(page.chats.value).toEqual([]);
});
