/**
 * What the app keeps: its pairing, chats and exchanges. In IndexedDB, or in memory where the browser keeps nothing.
 *
 * Bounded by EXCHANGES_MAX and CHATS_MAX: the oldest leave first, but never one that is under way.
 */
import type { Chat, Exchange, Pairing } from "../model";

export const EXCHANGES_MAX = 5_000; // years of a person's questions; some 10 MB
export const CHATS_MAX = 500; // a list longer than that is not looked through

export interface Store {
  readPairing(): Promise<Pairing | null>;
  /** null forgets it. */
  writePairing(pairing: Pairing | null): Promise<void>;
  /** The newest first. */
  readChats(): Promise<Chat[]>;
  /** Oldest first. */
  readExchanges(chatId: string): Promise<Exchange[]>;
  /** All that were under way when they were last written, oldest first. */
  readOpen(): Promise<Exchange[]>;
  /** Writes all of it or nothing. */
  write(chats: readonly Chat[], exchanges: readonly Exchange[]): Promise<void>;
  deleteChat(chatId: string): Promise<void>;
  /** Forgets everything but the pairing. */
  deleteHistory(): Promise<void>;
  /** Removes what is beyond the bounds; returns the ids of the chats that went whole. */
  prune(): Promise<string[]>;
}
