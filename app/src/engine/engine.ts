/** The app's engine: puts the mesh, the store and the pairing together behind the contract of `model.ts`. */
import { type ReadonlySignal, signal } from "@preact/signals-core";
import { Connection, type OpenSession } from "../mesh/connection";
import { buildMessages } from "../mesh/context";
import { randomHex } from "../mesh/ids";
import { Outbox } from "../mesh/outbox";
import type { Chat, Engine, Exchange, Link, Options, Pairing, Prediction } from "../model";
import { openDatabase } from "../store/database";
import { MemoryStore } from "../store/memory";
import type { Store } from "../store/store";
import { decode } from "../wire/codec";
import { isId, isOwnAnswer, parseTopic } from "../wire/topics";
import { History } from "./history";
import { MeshView } from "./mesh_view";
import { checkOptions, newExchange } from "./new_exchange";
import { followPage } from "./page_events";
import { parsePairing } from "./pairing";
import { Patience } from "./patience";

export const TICK_MS = 500; // finer than the shortest wait, a second
/** Devices keep answers for an hour: what was asked longer ago is looked up, since it might be worked out anew. */
export const TAKE_UP_MAX_S = 3_600;

/** What a test may put in the place of the real thing. */
export interface EngineParts {
  openSession?: () => Promise<OpenSession>;
}

/** Returns an engine; call `start` on it. */
export function createEngine(parts: EngineParts = {}): Engine & { stop(): Promise<void> } {
  return new AppEngine(parts);
}

class AppEngine implements Engine {
  readonly link = signal<Link>("unpaired");
  readonly linkDetail = signal("");
  readonly pairing = signal<Pairing | null>(null);
  readonly storageWorks = signal(true);
  private readonly patience = new Patience();
  private readonly mesh = new MeshView(() => this.patience.now);
  readonly devices = this.mesh.devices;
  readonly alerts = this.mesh.alerts;
  private readonly history = new History(
    () => (this.storageWorks.value = false),
    (exchange, earlier) => this.takeUp(exchange, earlier),
  );
  readonly chats: ReadonlySignal<readonly Chat[]> = this.history.chats;
  private readonly outbox = new Outbox((exchange) => this.history.put(exchange), isOld);
  private store: Store = new MemoryStore();
  private connection: Connection | null = null;
  private stopFollowing: () => void = () => undefined;
  private ticker: ReturnType<typeof setInterval> | null = null;
  /** What must be read before anything is kept: a page may pair or ask while it is still starting. */
  private started: Promise<void> = Promise.resolve();

  constructor(private readonly parts: EngineParts) {}

  start(): Promise<void> {
    this.started = this.begin();
    return this.started;
  }

  private async begin(): Promise<void> {
    const pairing = await this.openStore();
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.stopFollowing = followPage({
      onAwake: () => {
        this.tick();
        this.connection?.nudge();
        void this.history.refresh(); // another page of this user may have asked meanwhile
      },
      onHide: () => void this.history.flush(),
    });
    this.pairing.value ??= pairing;
    if (this.pairing.peek() === null) return;
    await this.history.loadOpen();
    if (this.connection === null) this.connect(this.pairing.peek()!);
  }

  /** Ends all traffic and writes what is not written yet. For tests, and for a page that puts up another engine. */
  async stop(): Promise<void> {
    if (this.ticker !== null) clearInterval(this.ticker);
    this.stopFollowing();
    this.disconnect();
    await this.history.flush();
  }

  // --- pairing --------------------------------------------------------------------------------------------------

  async pair(text: string): Promise<void> {
    const pairing = parsePairing(text);
    await this.started;
    const old = this.pairing.peek();
    this.disconnect();
    if (old !== null && (old.mesh !== pairing.mesh || old.user !== pairing.user)) {
      this.outbox.abandon("The app was paired with another mesh before the answer came");
      this.mesh.reset();
    }
    this.pairing.value = pairing;
    await this.store.writePairing(pairing).catch(() => (this.storageWorks.value = false));
    this.connect(pairing);
  }

  async unpair(everything: boolean): Promise<void> {
    await this.started;
    this.disconnect();
    this.outbox.abandon("The app was unpaired before the answer came");
    this.mesh.reset();
    this.pairing.value = null;
    this.setLink("unpaired", "");
    await this.store.writePairing(null).catch(() => (this.storageWorks.value = false));
    if (everything) await this.history.clear();
    else await this.history.flush();
  }

  // --- asking ---------------------------------------------------------------------------------------------------

  exchanges(chatId: string): ReadonlySignal<readonly Exchange[]> {
    return this.history.exchanges(chatId);
  }

  exchange(exchangeId: string): ReadonlySignal<Exchange | null> {
    return this.history.exchange(exchangeId);
  }

  ask(chatId: string | null, deviceId: string, prompt: string, options: Options): Promise<Exchange> {
    return this.send(chatId ?? randomHex(8), deviceId, prompt, options, null);
  }

  async retry(exchangeId: string): Promise<Exchange> {
    const old = this.history.exchange(exchangeId).peek();
    if (old === null) throw new Error("This question no longer exists");
    return this.send(old.chatId, old.deviceId, old.prompt, old.options, old);
  }

  async cancel(exchangeId: string): Promise<void> {
    this.outbox.cancel(exchangeId, this.patience.now);
  }

  async deleteChat(chatId: string): Promise<void> {
    for (const id of await this.history.deleteChat(chatId)) this.outbox.drop(id, this.patience.now);
  }

  async renameChat(chatId: string, title: string): Promise<void> {
    if (title.trim() !== "") this.history.renameChat(chatId, title);
  }

  predict(deviceId: string, layers: number, fanout: number): Prediction {
    return this.mesh.predict(deviceId, layers, fanout);
  }

  private async send(
    chatId: string,
    deviceId: string,
    prompt: string,
    options: Options,
    retried: Exchange | null,
  ): Promise<Exchange> {
    await this.started;
    this.checkMayAsk(deviceId);
    checkOptions(options);
    const all = await this.history.load(chatId);
    const messages = buildMessages(retried === null ? all : before(retried, all), prompt); // throws before it is kept
    const exchange = newExchange(chatId, deviceId, prompt, options, retried?.id ?? null);
    this.history.touchChat(chatId, prompt, exchange.askedAt);
    this.history.put(exchange);
    await this.history.flush(); // kept before it is sent: a reload in between must not lose it
    this.outbox.add(exchange, messages, this.patience.now);
    return exchange;
  }

  private checkMayAsk(deviceId: string): void {
    const pairing = this.pairing.peek();
    if (pairing === null) throw new Error("Pair this app with a mesh first");
    if (!isId(deviceId)) throw new Error("Choose a device to ask");
    if (pairing.devices !== undefined && !pairing.devices.includes(deviceId)) {
      throw new Error(`This pairing does not include ${deviceId}`);
    }
    if (this.outbox.isFull) throw new Error("Too many questions are under way: wait for an answer, or cancel one");
  }

  /** Takes up what was under way when its page was closed: sends it again under the same id, or looks it up. */
  private takeUp(exchange: Exchange, earlier: readonly Exchange[]): void {
    if (this.outbox.has(exchange.id)) return;
    const isSent = exchange.state !== "sending";
    if ((isOld(exchange) && !isSent) || this.outbox.isFull) {
      const detail = isSent ? "The page was closed for too long to get the answer" : "It could not be sent in time";
      this.history.put({ ...exchange, state: isSent ? "failed" : "unreachable", detail });
      return;
    }
    this.outbox.add(exchange, buildMessages(before(exchange, earlier), exchange.prompt), this.patience.now);
  }

  // --- the connection -------------------------------------------------------------------------------------------

  private connect(pairing: Pairing): void {
    const connection = new Connection(
      pairing,
      {
        onLink: (link, detail) => this.setLink(link, detail),
        onMessage: (topic, body, retained) => this.received(topic, body, retained),
        onReady: () => this.outbox.reconnected(this.patience.now),
      },
      this.parts.openSession,
    );
    this.connection = connection;
    this.outbox.connect(connection);
    connection.start();
  }

  private disconnect(): void {
    this.outbox.connect(null);
    this.connection?.stop();
    this.connection = null;
  }

  /** Each device speaks for itself only, and only about prompts of this page: a user's pages share an inbox. */
  private received(topic: string, body: Uint8Array, retained: boolean): void {
    const address = parseTopic(topic);
    const pairing = this.pairing.peek();
    if (address === null || address.mesh !== pairing?.mesh) return;
    const message = decode(address.channel, body);
    if (message === null) return;
    if (message.type === "presence") {
      if (message.entry.device_id === address.device) this.mesh.take(message, retained);
    } else if (message.type === "device-status") {
      if (message.device_id === address.device) this.mesh.take(message, retained);
    } else if (isOwnAnswer(address, pairing.user)) {
      this.outbox.deliver(address.device, message, this.patience.now);
    }
  }

  private setLink(link: Link, detail: string): void {
    this.link.value = link;
    this.linkDetail.value = detail;
  }

  private tick(): void {
    const now = Date.now();
    const isOnline = this.connection?.isOnline ?? false;
    this.patience.tick(now, isOnline);
    this.connection?.tick(now);
    this.outbox.tick(this.patience.now);
    this.mesh.show();
  }

  /** Opens what the browser keeps, or nothing where it does not; returns the pairing that was there. */
  private async openStore(): Promise<Pairing | null> {
    try {
      const store = await openDatabase();
      await this.history.open(store);
      const pairing = await store.readPairing();
      this.store = store;
      return pairing;
    } catch {
      this.storageWorks.value = false;
      await this.history.open(this.store);
      return null;
    }
  }
}

/** Whether its device may have forgotten it by now. */
function isOld({ askedAt }: Exchange): boolean {
  return Date.now() - askedAt > 1000 * TAKE_UP_MAX_S;
}

/** What had been said when it was asked. */
function before({ id, askedAt }: Exchange, all: readonly Exchange[]): Exchange[] {
  return all.filter((other) => other.askedAt <= askedAt && other.id !== id);
}
