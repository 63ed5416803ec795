/**
 * Chats and exchanges as signals, read from the store when they are first wanted.
 *
 * A token changes one exchange's signal and nothing else, so it costs the same in a chat of two and of two thousand.
 * The list of a chat changes when an exchange comes, changes its state or goes.
 */
import { type ReadonlySignal, type Signal, signal } from "@preact/signals-core";
import { hasEnded } from "../mesh/conversation";
import type { Chat, Exchange } from "../model";
import { MemoryStore } from "../store/memory";
import type { Store } from "../store/store";
import { Writer } from "../store/writer";

const TITLE_LENGTH_MAX = 60; // one line of the list of chats

interface Listed {
  list: Signal<readonly Exchange[]>;
  loading: Promise<void> | null;
}

/** What was said. In memory it is bounded by what the store keeps. */
export class History {
  readonly chats = signal<readonly Chat[]>([]);
  private store: Store = new MemoryStore();
  private writer: Writer = this.makeWriter();
  private readonly lists = new Map<string, Listed>();
  private readonly signals = new Map<string, Signal<Exchange | null>>();

  /**
   * `onOpen` gets what is found under way when a chat is read, of an earlier page or another one of this user, with all
   * that was said in the chat.
   */
  constructor(
    private readonly onStorageFailure: (error: unknown) => void,
    private readonly onOpen: (exchange: Exchange, all: readonly Exchange[]) => void,
  ) {}

  /** Takes what was stored; to be called before anything is asked. */
  async open(store: Store): Promise<void> {
    this.store = store;
    this.writer = this.makeWriter();
    this.onPruned(await store.prune());
    this.chats.value = await store.readChats();
    for (const [chatId, listed] of this.lists) listed.loading = this.read(chatId, listed); // asked for too early
  }

  /** The exchanges of a chat; empty until they are read. */
  exchanges(chatId: string): ReadonlySignal<readonly Exchange[]> {
    return this.listed(chatId).list;
  }

  /** One exchange; null while it is not known. */
  exchange(id: string): ReadonlySignal<Exchange | null> {
    return this.signalOf(id);
  }

  /** Waits until the exchanges of a chat are read, and returns them as they are now, to the token. */
  async load(chatId: string): Promise<readonly Exchange[]> {
    const listed = this.listed(chatId);
    await listed.loading;
    return listed.list.peek().map((exchange) => this.signalOf(exchange.id).peek() ?? exchange);
  }

  /** Notes a new or changed exchange. */
  put(exchange: Exchange): void {
    const { list } = this.listed(exchange.chatId);
    const one = this.signalOf(exchange.id);
    const old = one.peek();
    one.value = exchange;
    this.writer.exchange(exchange);
    if (old?.state === exchange.state) return;
    list.value = withExchange(list.peek(), exchange);
    void this.writer.flush(); // at once: a page that goes away now has no time left to write
  }

  /** Makes a chat, named after its first prompt, or brings an old one to the top. */
  touchChat(chatId: string, prompt: string, now: number): void {
    const old = this.chats.peek().find(({ id }) => id === chatId);
    const chat = old === undefined ? newChat(chatId, prompt, now) : { ...old, updatedAt: now };
    this.putChat(chat);
  }

  renameChat(chatId: string, title: string): void {
    const chat = this.chats.peek().find(({ id }) => id === chatId);
    if (chat !== undefined) this.putChat({ ...chat, title: toTitle(title) });
  }

  /** Deletes a chat; returns the ids of its exchanges. */
  async deleteChat(chatId: string): Promise<string[]> {
    const ids = (await this.load(chatId)).map(({ id }) => id);
    this.forget([chatId]);
    this.writer.forget(chatId);
    await this.writer.flush(); // what is being written would come back otherwise
    await this.store.deleteChat(chatId).catch(this.onStorageFailure);
    return ids;
  }

  async clear(): Promise<void> {
    await this.writer.flush();
    this.forget(this.chats.peek().map(({ id }) => id));
    await this.store.deleteHistory().catch(this.onStorageFailure);
  }

  /** Reads the chats in which something was under way when it was last written. */
  async loadOpen(): Promise<void> {
    const open = await this.store.readOpen().catch(this.failed);
    for (const { chatId } of open) await this.load(chatId);
  }

  /** Reads again what another page may have written meanwhile. */
  async refresh(): Promise<void> {
    await this.writer.flush();
    this.chats.value = await this.store.readChats().catch(() => this.chats.peek() as Chat[]);
    for (const [chatId, listed] of this.lists) await (listed.loading = this.read(chatId, listed));
  }

  /** Writes what is not written yet; resolves when it is. Never rejects. */
  flush(): Promise<void> {
    return this.writer.flush();
  }

  private putChat(chat: Chat): void {
    this.chats.value = [chat, ...this.chats.peek().filter(({ id }) => id !== chat.id)].sort(
      (a, b) => b.updatedAt - a.updatedAt,
    );
    this.writer.chat(chat);
  }

  private listed(chatId: string): Listed {
    let listed = this.lists.get(chatId);
    if (listed === undefined) {
      listed = { list: signal<readonly Exchange[]>([]), loading: null };
      this.lists.set(chatId, listed);
      listed.loading = this.read(chatId, listed);
    }
    return listed;
  }

  private async read(chatId: string, { list }: Listed): Promise<void> {
    const stored = await this.store.readExchanges(chatId).catch(this.failed);
    // what is under way has newer words in memory than in the store
    const known = new Map(list.peek().map((exchange) => [exchange.id, exchange]));
    const merged = stored.map((exchange) => known.get(exchange.id) ?? exchange);
    const added = list.peek().filter(({ id }) => !stored.some((exchange) => exchange.id === id));
    const found = stored.filter(({ id }) => !known.has(id));
    for (const exchange of found) this.signalOf(exchange.id).value ??= exchange;
    if (found.length > 0) list.value = [...merged, ...added];
    for (const exchange of found) if (!hasEnded(exchange)) this.onOpen(exchange, list.peek());
  }

  private readonly failed = (error: unknown): never[] => {
    this.onStorageFailure(error);
    return [];
  };

  private signalOf(id: string): Signal<Exchange | null> {
    let one = this.signals.get(id);
    if (one === undefined) this.signals.set(id, (one = signal<Exchange | null>(null)));
    return one;
  }

  private forget(chatIds: readonly string[]): void {
    const gone = new Set(chatIds);
    if (gone.size === 0) return;
    this.chats.value = this.chats.peek().filter(({ id }) => !gone.has(id));
    for (const chatId of gone) {
      const listed = this.lists.get(chatId);
      if (listed === undefined) continue;
      for (const { id } of listed.list.peek()) {
        this.signalOf(id).value = null;
        this.signals.delete(id);
      }
      listed.list.value = [];
      this.lists.delete(chatId);
    }
  }

  private makeWriter(): Writer {
    return new Writer(this.store, this.onStorageFailure, (chatIds) => this.onPruned(chatIds));
  }

  private onPruned(chatIds: readonly string[]): void {
    this.forget(chatIds);
  }
}

/** Looked for from the end, where what is under way stands. */
function withExchange(list: readonly Exchange[], exchange: Exchange): readonly Exchange[] {
  const at = list.findLastIndex(({ id }) => id === exchange.id);
  return at < 0 ? [...list, exchange] : list.with(at, exchange);
}

function newChat(id: string, prompt: string, now: number): Chat {
  return { id, title: toTitle(prompt), createdAt: now, updatedAt: now };
}

function toTitle(text: string): string {
  const line = text.trim().split("\n", 1)[0]!.trim();
  return line.length <= TITLE_LENGTH_MAX ? line : `${line.slice(0, TITLE_LENGTH_MAX - 1).trimEnd()}…`;
}
