import { expect, test, vi } from "vitest";
import { History } from "../../src/engine/history";
import type { Exchange } from "../../src/model";
import { openDatabase } from "../../src/store/database";
import { MemoryStore } from "../../src/store/memory";
import { answered, exchange, unexpected } from "../support/samples";

async function historyOf(count: number): Promise<History> {
  const store = new MemoryStore();
  await store.write(
    [],
    Array.from({ length: count }, (_, at) => answered(`old-${at}`, at)),
  );
  const history = new History(unexpected, unexpected);
  await history.open(store);
  await history.load("c1");
  return history;
}

test("a token changes its exchange alone; a new state also the list", async () => {
  const history = await historyOf(3);
  history.put(exchange({ id: "p1", state: "accepted" }));
  const list = history.exchanges("c1").value;
  history.put(exchange({ id: "p1", state: "streaming", answer: "a" }));
  const streaming = history.exchanges("c1").value;
  expect(streaming).not.toBe(list);
  history.put(exchange({ id: "p1", state: "streaming", answer: "ab" }));
  expect(history.exchanges("c1").value).toBe(streaming);
  expect(history.exchange("p1").value?.answer).toBe("ab");
  expect(streaming.slice(0, 3)).toEqual(list.slice(0, 3));
  expect(await history.load("c1")).toContainEqual(exchange({ id: "p1", state: "streaming", answer: "ab" }));
});

test("a token costs the same in a chat of twenty thousand as in one of two", async () => {
  const [short, long] = [await historyOf(2), await historyOf(20_000)];
  const stream = (history: History): number => {
    history.put(exchange({ id: "p1", state: "streaming" }));
    const from = performance.now();
    for (let token = 0; token < 5_000; token++) {
      history.put(exchange({ id: "p1", state: "streaming", answer: `${token}` }));
    }
    return performance.now() - from;
  };
  stream(short); // compiled by now
  // the quickest of many turns: what else the machine does only ever makes one slower
  const quickest = { short: Infinity, long: Infinity };
  for (let turn = 0; turn < 25; turn++) {
    quickest.long = Math.min(quickest.long, stream(long));
    quickest.short = Math.min(quickest.short, stream(short));
  }
  expect(quickest.long / quickest.short).toBeLessThan(3); // a copy of the list for each token makes it hundreds
});

test("what is wanted before the store is open is read once it is", async () => {
  const store = await openDatabase();
  await store.write([], [answered("1", 1)]);
  const history = new History(unexpected, unexpected);
  const [list, one] = [history.exchanges("c1"), history.exchange("1")];
  expect([list.value, one.value]).toEqual([[], null]);
  await history.open(store);
  await history.load("c1");
  expect([list.value, one.value]).toEqual([[answered("1", 1)], answered("1", 1)]);
  expect([history.exchanges("c1") === list, history.exchange("1") === one]).toEqual([true, true]);
});

test("what came while the chat was read is newer than what was stored", async () => {
  const store = await openDatabase();
  await store.write([], [exchange({ answer: "old" }), answered("0", 0)]);
  const history = new History(unexpected, unexpected);
  await history.open(store);
  const loading = history.load("c1");
  history.put(exchange({ state: "answered", answer: "new" }));
  await loading;
  const texts = history.exchanges("c1").value.map(({ answer }: Exchange) => answer);
  expect(texts).toEqual(["answer 0", "new"]);
});

test("a chat is called after its first prompt, comes to the top when used, and can be renamed", async () => {
  const history = await historyOf(0);
  history.touchChat("c1", `\n  ${"Why ".repeat(40)}\nmore`, 1);
  history.touchChat("c2", "Second", 2);
  history.touchChat("c1", "Third", 3);
  expect(history.chats.value.map(({ id }) => id)).toEqual(["c1", "c2"]);
  expect(history.chats.value[0]!.title.length).toBeLessThanOrEqual(60);
  history.renameChat("c2", " A name ");
  expect(history.chats.value[1]!.title).toBe("A name");
});

test("a deleted chat is gone from page and store, also what was not written yet", async () => {
  const store = await openDatabase();
  const history = new History(unexpected, unexpected);
  await history.open(store);
  history.touchChat("c1", "Why?", 1);
  history.put(exchange());
  const [list, one] = [history.exchanges("c1"), history.exchange("p1")];
  expect(await history.deleteChat("c1")).toEqual(["p1"]);
  expect([list.value, one.value, history.chats.value]).toEqual([[], null, []]);
  await history.flush();
  expect([await store.readExchanges("c1"), await store.readChats()]).toEqual([[], []]);
});

test("a new state is written at once, tokens are not", async () => {
  const store = new MemoryStore();
  const write = vi.spyOn(store, "write");
  const history = new History(unexpected, unexpected);
  await history.open(store);
  history.put(exchange({ state: "streaming" }));
  history.put(exchange({ state: "streaming", answer: "a" }));
  await Promise.resolve().then(() => undefined);
  expect(write).toHaveBeenCalledTimes(1);
  history.put(exchange({ state: "answered", answer: "ab" }));
  await history.flush();
  expect((await store.readExchanges("c1"))[0]).toMatchObject({ state: "answered", answer: "ab" });
});

test("what another page has written shows after a refresh, and what is under way there is taken up here", async () => {
  const [mine, other] = [await openDatabase(), await openDatabase()];
  await mine.write([{ id: "c1", title: "mine", createdAt: 0, updatedAt: 1 }], [answered("1", 1)]);
  const open: string[] = [];
  const history = new History(unexpected, ({ id }, all) => open.push(`${id} of ${all.length}`));
  await history.open(mine);
  await history.load("c1");
  await other.write([{ id: "c2", title: "other", createdAt: 0, updatedAt: 2 }], [exchange({ id: "2", askedAt: 2 })]);
  await history.refresh();
  expect(history.chats.value.map(({ title }) => title)).toEqual(["other", "mine"]);
  expect(history.exchanges("c1").value.map(({ id }) => id)).toEqual(["1", "2"]);
  await history.refresh();
  expect(open).toEqual(["2 of 2"]);
});
