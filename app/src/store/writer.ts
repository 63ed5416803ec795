/**
 * Writes behind the page's back: while an answer streams in, its exchange is written a few times a second at most, and
 * at once where that matters (asked, ended). Failures are told once and never reach a view.
 */
import type { Chat, Exchange } from "../model";
import type { Store } from "./store";

export const WRITE_INTERVAL_MS = 500; // what a crash of the page can lose of a streamed answer: the device has it all
const PRUNE_EVERY_WRITES = 200; // counting is not free; the bounds are generous

/** Collects what changed, newest state only; so it is bounded by what can be under way. */
export class Writer {
  private readonly chats = new Map<string, Chat>();
  private readonly exchanges = new Map<string, Exchange>();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private last: Promise<void> = Promise.resolve();
  private writes = 0;

  constructor(
    private readonly store: Store,
    private readonly onFailure: (error: unknown) => void,
    private readonly onPruned: (chatIds: readonly string[]) => void,
  ) {}

  /** Notes a chat to be written soon. */
  chat(chat: Chat): void {
    this.chats.set(chat.id, chat);
    this.schedule();
  }

  /** Notes an exchange to be written soon. */
  exchange(exchange: Exchange): void {
    this.exchanges.set(exchange.id, exchange);
    this.schedule();
  }

  /** Takes back what is noted of a chat that is being deleted. */
  forget(chatId: string): void {
    this.chats.delete(chatId);
    for (const { id, chatId: of } of this.exchanges.values()) if (of === chatId) this.exchanges.delete(id);
  }

  /** Writes all that is noted, after what is being written already. Never rejects. */
  flush(): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.last = this.last.then(() => this.write());
    return this.last;
  }

  private schedule(): void {
    this.timer ??= setTimeout(() => void this.flush(), WRITE_INTERVAL_MS);
  }

  private async write(): Promise<void> {
    if (this.chats.size + this.exchanges.size === 0) return;
    const [chats, exchanges] = [[...this.chats.values()], [...this.exchanges.values()]];
    this.chats.clear();
    this.exchanges.clear();
    try {
      await this.store.write(chats, exchanges);
      this.writes += 1;
      if (this.writes % PRUNE_EVERY_WRITES === 0) this.onPruned(await this.store.prune());
    } catch (error) {
      this.onFailure(error);
    }
  }
}
