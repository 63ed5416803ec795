/**
 * The store in IndexedDB.
 *
 * `UPGRADES` is the schema's history: step n leads from version n to n+1, and a step that was ever released is never
 * changed. A page of an older version that is still open gives way to the newer one; a database of a newer version than
 * this page knows is left alone, and the page then keeps nothing.
 */
import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB } from "idb";
import { hasEnded } from "../mesh/conversation";
import type { Chat, Exchange, Pairing } from "../model";
import { CHATS_MAX, EXCHANGES_MAX, type Store } from "./store";

export const DATABASE_NAME = "moamesh";
const OPEN_TIMEOUT_MS = 3_000; // some browsers never answer in private windows: then nothing is kept
const PRUNE_BATCH_MAX = 500; // exchanges removed at once: a transaction must not hold up the page
const QUOTA_PRUNE_SHARE = 0.2; // of the history, removed where the browser's room is full

/** An exchange as it is stored: `open` is 1 while it is under way (an index knows no booleans), and absent after. */
interface StoredExchange extends Exchange {
  open?: 1;
}

interface Schema extends DBSchema {
  settings: { key: string; value: Pairing };
  chats: { key: string; value: Chat; indexes: { updatedAt: number } };
  exchanges: {
    key: string;
    value: StoredExchange;
    indexes: { chat: [string, number]; askedAt: number; open: number };
  };
}

type Upgrade = (database: IDBPDatabase<Schema>, transaction: IDBPTransaction<Schema, never[], "versionchange">) => void;

export const UPGRADES: readonly Upgrade[] = [
  (database) => {
    database.createObjectStore("settings");
    database.createObjectStore("chats", { keyPath: "id" }).createIndex("updatedAt", "updatedAt");
    const exchanges = database.createObjectStore("exchanges", { keyPath: "id" });
    exchanges.createIndex("chat", ["chatId", "askedAt"]);
    exchanges.createIndex("askedAt", "askedAt");
    exchanges.createIndex("open", "open");
  },
];

/** Opens the database, making or upgrading it. Rejects where the browser does not let us keep anything. */
export async function openDatabase(upgrades: readonly Upgrade[] = UPGRADES): Promise<DatabaseStore> {
  let tooLate = false;
  const opening = openDB<Schema>(DATABASE_NAME, upgrades.length, {
    upgrade: (database, from, _to, transaction) => {
      for (const step of upgrades.slice(from)) step(database, transaction as never);
    },
    blocking: (_current, _wanted, event) => (event.target as IDBDatabase).close(), // a newer page wants to upgrade
  });
  void opening.then((database) => tooLate && database.close()).catch(() => undefined);
  const timeout = new Promise<never>((_, reject) => {
    setTimeout(() => {
      tooLate = true;
      reject(new Error("the browser's database does not answer"));
    }, OPEN_TIMEOUT_MS);
  });
  return new DatabaseStore(await Promise.race([opening, timeout]));
}

/** Keeps everything in IndexedDB. */
export class DatabaseStore implements Store {
  constructor(private readonly database: IDBPDatabase<Schema>) {}

  async readPairing(): Promise<Pairing | null> {
    return (await this.database.get("settings", "pairing")) ?? null;
  }

  async writePairing(pairing: Pairing | null): Promise<void> {
    if (pairing === null) await this.database.delete("settings", "pairing");
    else await this.database.put("settings", pairing, "pairing");
  }

  async readChats(): Promise<Chat[]> {
    return (await this.database.getAllFromIndex("chats", "updatedAt")).reverse();
  }

  async readExchanges(chatId: string): Promise<Exchange[]> {
    const range = IDBKeyRange.bound([chatId, -Infinity], [chatId, Infinity]);
    return (await this.database.getAllFromIndex("exchanges", "chat", range)).map(toExchange);
  }

  async readOpen(): Promise<Exchange[]> {
    const open = await this.database.getAllFromIndex("exchanges", "open");
    return open.map(toExchange).sort((a, b) => a.askedAt - b.askedAt);
  }

  async write(chats: readonly Chat[], exchanges: readonly Exchange[]): Promise<void> {
    try {
      await this.put(chats, exchanges);
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "QuotaExceededError") throw error;
      const count = await this.database.count("exchanges");
      await this.removeOldest(Math.ceil(QUOTA_PRUNE_SHARE * count));
      await this.put(chats, exchanges);
    }
  }

  async deleteChat(chatId: string): Promise<void> {
    const transaction = this.database.transaction(["chats", "exchanges"], "readwrite");
    const exchanges = transaction.objectStore("exchanges");
    const keys = await exchanges.index("chat").getAllKeys(IDBKeyRange.bound([chatId, -Infinity], [chatId, Infinity]));
    await Promise.all([
      transaction.objectStore("chats").delete(chatId),
      ...keys.map((key) => exchanges.delete(key)),
      transaction.done,
    ]);
  }

  async deleteHistory(): Promise<void> {
    const transaction = this.database.transaction(["chats", "exchanges"], "readwrite");
    const stores = [transaction.objectStore("chats"), transaction.objectStore("exchanges")];
    await Promise.all([...stores.map((store) => store.clear()), transaction.done]);
  }

  async prune(): Promise<string[]> {
    const chats = await this.readChats();
    const gone = chats.slice(CHATS_MAX).map(({ id }) => id);
    for (const id of gone) await this.deleteChat(id);
    const excess = (await this.database.count("exchanges")) - EXCHANGES_MAX;
    return excess > 0 ? [...gone, ...(await this.removeOldest(excess))] : gone;
  }

  private async put(chats: readonly Chat[], exchanges: readonly Exchange[]): Promise<void> {
    const transaction = this.database.transaction(["chats", "exchanges"], "readwrite");
    await Promise.all([
      ...chats.map((chat) => transaction.objectStore("chats").put(chat)),
      ...exchanges.map((exchange) => transaction.objectStore("exchanges").put(toStored(exchange))),
      transaction.done,
    ]);
  }

  /** Removes the oldest exchanges that have ended, and then chats that are left empty; returns those chats' ids. */
  private async removeOldest(count: number): Promise<string[]> {
    const transaction = this.database.transaction(["chats", "exchanges"], "readwrite");
    const exchanges = transaction.objectStore("exchanges");
    const touched = new Set<string>();
    let left = Math.min(count, PRUNE_BATCH_MAX);
    let cursor = await exchanges.index("askedAt").openCursor();
    for (; cursor !== null && left > 0; cursor = await cursor.continue()) {
      if (cursor.value.open === 1) continue;
      touched.add(cursor.value.chatId);
      await cursor.delete();
      left -= 1;
    }
    const emptied: string[] = [];
    for (const chatId of touched) {
      const rest = await exchanges.index("chat").count(IDBKeyRange.bound([chatId, -Infinity], [chatId, Infinity]));
      if (rest > 0) continue;
      await transaction.objectStore("chats").delete(chatId);
      emptied.push(chatId);
    }
    await transaction.done;
    return emptied;
  }
}

function toStored(exchange: Exchange): StoredExchange {
  return hasEnded(exchange) ? exchange : { ...exchange, open: 1 };
}

function toExchange({ open: _, ...exchange }: StoredExchange): Exchange {
  return exchange;
}
