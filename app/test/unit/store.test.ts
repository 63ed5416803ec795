import { openDB } from "idb";
import { afterEach, expect, test, vi } from "vitest";
import { DATABASE_NAME, type DatabaseStore, openDatabase, UPGRADES } from "../../src/store/database";
import { MemoryStore } from "../../src/store/memory";
import { CHATS_MAX, EXCHANGES_MAX, type Store } from "../../src/store/store";
import { WRITE_INTERVAL_MS, Writer } from "../../src/store/writer";
import type { Chat, Pairing } from "../../src/model";
import { answered, exchange, unexpected } from "../support/samples";

const PAIRING: Pairing = { v: 1, mesh: "home", brokers: ["wss://host"], user: "alice", secret: "x" };
const chat = (id: string, updatedAt = 0): Chat => ({ id, title: id, createdAt: 0, updatedAt });

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const kinds: [string, () => Promise<Store>][] = [
  ["IndexedDB", openDatabase],
  ["memory", async () => new MemoryStore()],
];

test.each(kinds)("%s gives back what was written, in order", async (_name, open) => {
  const store = await open();
  expect([await store.readPairing(), await store.readChats(), await store.readOpen()]).toEqual([null, [], []]);
  await store.writePairing(PAIRING);
  const [first, second, other] = [
    answered("1", 1),
    exchange({ id: "2", askedAt: 2 }),
    answered("3", 3, { chatId: "c2" }),
  ];
  await store.write([chat("c1", 1), chat("c2", 2)], [second, other, first]);
  expect(await store.readPairing()).toEqual(PAIRING);
  expect((await store.readChats()).map(({ id }) => id)).toEqual(["c2", "c1"]);
  expect(await store.readExchanges("c1")).toEqual([first, second]);
  expect(await store.readOpen()).toEqual([second]);
  await store.write([], [{ ...second, state: "answered", answer: "yes" }]);
  expect(await store.readOpen()).toEqual([]);
  await store.deleteChat("c1");
  expect([await store.readExchanges("c1"), (await store.readChats()).length]).toEqual([[], 1]);
  await store.deleteHistory();
  expect([await store.readExchanges("c2"), await store.readChats(), await store.readPairing()]).toEqual([
    [],
    [],
    PAIRING,
  ]);
  await store.writePairing(null);
  expect(await store.readPairing()).toBeNull();
});

test("what was written is there after the page is opened again", async () => {
  await (await openDatabase()).write([chat("c1")], [answered("1", 1)]);
  expect(await (await openDatabase()).readExchanges("c1")).toEqual([answered("1", 1)]);
});

test("an older schema is upgraded, and what was stored is still there", async () => {
  await (await openDatabase()).write([chat("c1")], [answered("1", 1)]);
  const upgraded = await openDatabase([...UPGRADES, (database) => void database.createObjectStore("next" as never)]);
  expect(await upgraded.readExchanges("c1")).toEqual([answered("1", 1)]);
  const plain = await openDB(DATABASE_NAME);
  expect([plain.version, plain.objectStoreNames.contains("next")]).toEqual([UPGRADES.length + 1, true]);
});

test("a database of a newer version than this page knows is left alone", async () => {
  (await openDB(DATABASE_NAME, UPGRADES.length + 1)).close();
  await expect(openDatabase()).rejects.toThrow();
  const left = await openDB(DATABASE_NAME);
  expect(left.version).toBe(UPGRADES.length + 1);
});

test("a page that is still open gives way to a newer page's upgrade", async () => {
  await openDatabase();
  const upgraded = await openDB(DATABASE_NAME, UPGRADES.length + 1); // would wait for ever otherwise
  expect(upgraded.version).toBe(UPGRADES.length + 1);
});

test("chats beyond the bound go, the oldest first, with what was said in them", async () => {
  const store = await openDatabase();
  const chats = Array.from({ length: CHATS_MAX + 2 }, (_, at) => chat(`c${at}`, at));
  await store.write(chats, [answered("1", 1, { chatId: "c0" })]);
  expect((await store.prune()).sort()).toEqual(["c0", "c1"]);
  expect([await store.readExchanges("c0"), (await store.readChats()).length]).toEqual([[], CHATS_MAX]);
});

async function fill(store: DatabaseStore, count: number): Promise<void> {
  const exchanges = Array.from({ length: count }, (_, at) =>
    answered(`p${at}`, at + 1, { chatId: at < 2 ? "old" : "new" }),
  );
  await store.write([chat("old"), chat("new")], exchanges);
}

test("exchanges beyond the bound go, the oldest first, but none that is under way", async () => {
  const store = await openDatabase();
  await fill(store, EXCHANGES_MAX + 1);
  await store.write([], [exchange({ id: "open", askedAt: 0, chatId: "new" })]);
  expect(await store.prune()).toEqual(["old"]);
  expect((await store.readChats()).map(({ id }) => id)).toEqual(["new"]);
  expect(await store.readOpen()).toHaveLength(1);
  expect(await store.readExchanges("new")).toHaveLength(EXCHANGES_MAX);
});

test("where the browser's room is full the oldest fifth makes way", async () => {
  const store = await openDatabase();
  await fill(store, 10);
  const put = vi.spyOn(IDBObjectStore.prototype, "put");
  put.mockImplementationOnce(() => {
    throw new DOMException("full", "QuotaExceededError");
  });
  await store.write([], [answered("new", 100, { chatId: "new" })]);
  expect((await store.readChats()).map(({ id }) => id)).toEqual(["new"]);
  expect((await store.readExchanges("new")).at(-1)!.id).toBe("new");
});

test("while an answer streams it is written twice a second, and only its newest text", async () => {
  vi.useFakeTimers();
  const store = new MemoryStore();
  const write = vi.spyOn(store, "write");
  const writer = new Writer(store, unexpected, () => undefined);
  for (let token = 0; token < 1_000; token++) writer.exchange(exchange({ answer: `${token}` }));
  expect(write).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(WRITE_INTERVAL_MS);
  expect(write).toHaveBeenCalledTimes(1);
  expect((await store.readOpen())[0]!.answer).toBe("999");
});

test("a failed write is told and does not stop the next", async () => {
  const store = new MemoryStore();
  vi.spyOn(store, "write").mockRejectedValueOnce(new Error("gone"));
  const failures: unknown[] = [];
  const writer = new Writer(
    store,
    (error) => failures.push(error),
    () => undefined,
  );
  writer.exchange(exchange());
  await writer.flush();
  writer.chat(chat("c1"));
  await writer.flush();
  expect([failures.length, (await store.readChats()).length]).toEqual([1, 1]);
});
