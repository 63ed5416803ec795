/** A store that lasts as long as the page: where the browser refuses to keep anything. */
import type { Chat, Exchange, Pairing } from "../model";
import { hasEnded } from "../mesh/conversation";
import { CHATS_MAX, type Store } from "./store";

/** Keeps everything in maps. */
export class MemoryStore implements Store {
  private pairing: Pairing | null = null;
  private readonly chats = new Map<string, Chat>();
  private readonly exchanges = new Map<string, Exchange>();

  async readPairing(): Promise<Pairing | null> {
    return this.pairing;
  }

  async writePairing(pairing: Pairing | null): Promise<void> {
    this.pairing = pairing;
  }

  async readChats(): Promise<Chat[]> {
    return [...this.chats.values()].sort((a, b) => b.updatedAt - a.updatedAt);
  }

  async readExchanges(chatId: string): Promise<Exchange[]> {
    return [...this.exchanges.values()]
      .filter((exchange) => exchange.chatId === chatId)
      .sort((a, b) => a.askedAt - b.askedAt);
  }

  async readOpen(): Promise<Exchange[]> {
    return [...this.exchanges.values()].filter((exchange) => !hasEnded(exchange)).sort((a, b) => a.askedAt - b.askedAt);
  }

  async write(chats: readonly Chat[], exchanges: readonly Exchange[]): Promise<void> {
    for (const chat of chats) this.chats.set(chat.id, chat);
    for (const exchange of exchanges) this.exchanges.set(exchange.id, exchange);
  }

  async deleteChat(chatId: string): Promise<void> {
    this.chats.delete(chatId);
    for (const { id } of await this.readExchanges(chatId)) this.exchanges.delete(id);
  }

  async deleteHistory(): Promise<void> {
    this.chats.clear();
    this.exchanges.clear();
  }

  /** Only by chats: a page does not live long enough for more. */
  async prune(): Promise<string[]> {
    const gone = (await this.readChats()).slice(CHATS_MAX).map(({ id }) => id);
    for (const id of gone) await this.deleteChat(id);
    return gone;
  }
}
