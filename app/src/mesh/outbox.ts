/**
 * The prompts under way: sends them, sends them again under the same id whenever something may have been lost, and
 * takes what devices say about them. Offline it waits; nothing is given up while there is no connection.
 */
import type { Exchange } from "../model";
import { encode } from "../wire/codec";
import type { ChatMessage, DeviceToUser, PromptOptions } from "../wire/messages";
import * as c from "./conversation";
import { randomHex } from "./ids";
import type { Published, Words } from "./session";

export const PROMPTS_OPEN_MAX = 32; // by one page; a person has a few
/** How long a device may take to confirm a cancel before the page takes it for cancelled. Seconds. */
export const CANCEL_TIMEOUT_S = 10;
const QUERY_ID_BYTES = 16;

export interface OutboxPort {
  readonly isOnline: boolean;
  publish(device: string, words: Words): Promise<Published>;
}

interface Entry {
  conversation: c.Conversation;
  messages: readonly ChatMessage[];
  /** Under which the device is asked what has become of the prompt; the same in each repeat. */
  queryId: string;
  isSending: boolean;
}

/** Holds a conversation for each prompt under way, by its id; bounded by PROMPTS_OPEN_MAX. */
export class Outbox {
  private readonly entries = new Map<string, Entry>();
  private port: OutboxPort | null = null;

  /**
   * `onChange` gets every new state of an exchange, in order; after its end it is not in the outbox any more. `isOld`
   * says whether its device may have forgotten an exchange: then it is looked up, not sent again, which would begin it anew.
   */
  constructor(
    private readonly onChange: (exchange: Exchange) => void,
    private readonly isOld: (exchange: Exchange) => boolean = () => false,
  ) {}

  get isFull(): boolean {
    return this.entries.size >= PROMPTS_OPEN_MAX;
  }

  /** Whether a prompt is under way here. */
  has(id: string): boolean {
    return this.entries.has(id);
  }

  /** Through what to send from now on; null: nothing can be sent. */
  connect(port: OutboxPort | null): void {
    this.port = port;
  }

  /** Takes a prompt, new or from before a page reload, and sends it if there is a connection. */
  add(exchange: Exchange, messages: readonly ChatMessage[], now: number): void {
    const queryId = randomHex(QUERY_ID_BYTES);
    this.entries.set(exchange.id, { conversation: c.open(exchange, now), messages, queryId, isSending: false });
    this.tick(now);
  }

  /** Takes what a device said; returns whether it was about a prompt of this page at that device. */
  deliver(deviceId: string, message: DeviceToUser, now: number): boolean {
    const entry = this.entryOf(message);
    if (entry === undefined || entry.conversation.exchange.deviceId !== deviceId) return false;
    this.update(entry, c.deliver(entry.conversation, message, now));
    return true;
  }

  /** The user no longer wants the answer. Ends at once what was never sent; else the device is asked to confirm. */
  cancel(id: string, now: number): void {
    const entry = this.entries.get(id);
    if (entry === undefined) return;
    const { timing } = entry.conversation;
    if (!timing.received && timing.sendsWithoutReceipt === 0 && !entry.isSending) return this.end(entry, "cancelled");
    const { exchange, timing: wanted } = c.wantCancel(entry.conversation);
    entry.conversation = { exchange, timing: { ...wanted, nextSendAt: now, endsAt: now + CANCEL_TIMEOUT_S } };
    this.tick(now);
  }

  /** Ends everything that is under way without a word of the devices: the pairing has gone. */
  abandon(detail: string): void {
    for (const { conversation } of this.entries.values()) {
      this.onChange({ ...conversation.exchange, state: "failed", detail });
    }
    this.entries.clear();
  }

  /** Drops a prompt of a chat that was deleted; its device is told, if it can be. */
  drop(id: string, now: number): void {
    const entry = this.entries.get(id);
    if (entry === undefined) return;
    this.entries.delete(id);
    if (this.port?.isOnline)
      void this.port.publish(entry.conversation.exchange.deviceId, this.cancelMessage(id));
    this.tick(now);
  }

  /** The connection is new, so anything may have been lost: sends everything again. */
  reconnected(now: number): void {
    for (const entry of this.entries.values()) entry.conversation = c.reconnected(entry.conversation, now);
    this.tick(now);
  }

  /** Sends what is due. To be called at least every second or so while online. */
  tick(now: number): void {
    if (!this.port?.isOnline) return;
    for (const entry of [...this.entries.values()]) {
      if (entry.isSending) continue;
      const due = c.due(entry.conversation, now);
      if (due === "send") void this.send(entry, this.port, now);
      else if (due !== "nothing") this.end(entry, entry.conversation.timing.cancelWanted ? "cancelled" : due);
    }
  }

  private async send(entry: Entry, port: OutboxPort, now: number): Promise<void> {
    const { exchange, timing } = entry.conversation;
    entry.isSending = true;
    const message = timing.cancelWanted ? this.cancelMessage(exchange.id) : this.promptOrQuery(entry);
    const published = await port.publish(exchange.deviceId, message);
    entry.isSending = false;
    if (this.entries.get(exchange.id) !== entry) return; // ended meanwhile
    if (published === "forbidden") return this.end(entry, "forbidden");
    const isOvertaken = entry.conversation.timing.cancelWanted && !timing.cancelWanted;
    if (isOvertaken)
      this.tick(now); // the cancel waited for the prompt to be on its way
    else entry.conversation = c.addSent(entry.conversation, now, published === "taken");
  }

  /** What a message is about: a prompt by its id, or a query. */
  private entryOf(message: DeviceToUser): Entry | undefined {
    if (message.type !== "answers-page") {
      const entry = this.entries.get(message.prompt_id);
      if (entry !== undefined || message.type !== "prompt-refusal") return entry;
    }
    const id = message.type === "answers-page" ? message.query_id : message.prompt_id;
    return [...this.entries.values()].find(({ queryId }) => queryId === id);
  }

  private promptOrQuery(entry: Entry): Words {
    const { exchange, timing } = entry.conversation;
    return timing.received && this.isOld(exchange) ? this.queryMessage(entry) : this.promptMessage(entry);
  }

  private queryMessage({ queryId, conversation: { exchange } }: Entry): Words {
    const query = { query_id: queryId, prompt_id: exchange.id, of_client: "", since_s: null, after: "", count_max: 1 };
    return { body: encode({ type: "answers-query", ...query }), qos: 1, correlation: queryId, expiresInS: null };
  }

  private promptMessage({ conversation: { exchange }, messages }: Entry): Words {
    const options = toWire(exchange.options);
    const body = encode({ type: "prompt", prompt_id: exchange.id, messages: [...messages], options });
    return { body, qos: 1, correlation: exchange.id, expiresInS: exchange.options.deadlineS };
  }

  private cancelMessage(id: string): Words {
    return { body: encode({ type: "prompt-cancel", prompt_id: id }), qos: 1, correlation: id, expiresInS: null };
  }

  private update(entry: Entry, conversation: c.Conversation): void {
    const isChanged = conversation.exchange !== entry.conversation.exchange;
    entry.conversation = conversation;
    if (c.hasEnded(conversation.exchange)) this.entries.delete(conversation.exchange.id);
    if (isChanged) this.onChange(conversation.exchange);
  }

  private end(entry: Entry, why: Parameters<typeof c.giveUp>[1]): void {
    this.entries.delete(entry.conversation.exchange.id);
    this.onChange(c.giveUp(entry.conversation, why));
  }
}

function toWire(options: Exchange["options"]): PromptOptions {
  const { layers, fanout, deadlineS, maxOutputTokens, temperature } = options;
  const sampling = { max_output_tokens: maxOutputTokens, temperature, seed: null, stop: [] };
  return { layers, fanout, deadline_s: deadlineS, join: null, sampling };
}
