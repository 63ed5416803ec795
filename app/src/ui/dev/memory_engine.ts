/** An engine without a mesh, for looking at the views while working on them. Development only: never in a build. */
import { signal, type ReadonlySignal, type Signal } from "@preact/signals";
import type {
  Alert,
  Chat,
  Device,
  Engine,
  Exchange,
  Link,
  Options,
  Pairing,
  Prediction,
  PromptState,
} from "../../model";
import { ANSWER, NAMES, PROVENANCE, device, everyState, exchange } from "./samples";

const ENDED: readonly PromptState[] = ["answered", "cancelled"];

export class MemoryEngine implements Engine {
  readonly link = signal<Link>("online");
  readonly linkDetail = signal("");
  readonly pairing: Signal<Pairing | null>;
  readonly devices: Signal<readonly Device[]>;
  readonly alerts = signal<readonly Alert[]>([
    {
      id: "offline-attic",
      severity: "critical",
      deviceId: "attic",
      text: "attic is offline: its connection was cut 40 s ago.",
    },
  ]);
  readonly chats = signal<readonly Chat[]>([]);
  readonly storageWorks = signal(true);
  private readonly lists = new Map<string, Signal<readonly Exchange[]>>();
  private readonly ones = new Map<string, Signal<Exchange | null>>();

  constructor(paired: boolean, long: number) {
    const now = Date.now();
    const pairing: Pairing = {
      v: 1,
      mesh: "home",
      brokers: ["wss://mesh.local:8885"],
      user: "alice",
      secret: "not one",
    };
    this.pairing = signal(paired ? pairing : null);
    this.devices = signal(NAMES.map((name, index) => device(name, index, now)));
    if (!paired) this.link.value = "unpaired";
    this.addChat("every", "Why is the sky blue?", everyState("every"));
    const question = (index: number): Exchange =>
      exchange("long", "answered", {
        prompt: `Question ${index}: why?`,
        answer: ANSWER,
        provenance: PROVENANCE,
        endToEndLatencyS: 3,
      });
    this.addChat(
      "long",
      "A long conversation",
      Array.from({ length: long }, (_, index) => question(index)),
    );
  }

  async start(): Promise<void> {}

  async pair(): Promise<void> {
    throw new Error("This page has no mesh behind it");
  }

  async unpair(): Promise<void> {
    this.pairing.value = null;
    this.link.value = "unpaired";
  }

  exchanges(chatId: string): ReadonlySignal<readonly Exchange[]> {
    return this.list(chatId);
  }

  exchange(exchangeId: string): ReadonlySignal<Exchange | null> {
    return this.one(exchangeId);
  }

  async ask(chatId: string | null, deviceId: string, prompt: string, options: Options): Promise<Exchange> {
    const id = chatId ?? `chat-${this.chats.value.length}`;
    if (chatId === null) this.addChat(id, prompt.slice(0, 60), []);
    const asked = exchange(id, "sending", { deviceId, prompt, options, askedAt: Date.now() });
    this.put(asked);
    void this.play(asked.id);
    return asked;
  }

  async cancel(exchangeId: string): Promise<void> {
    this.change(exchangeId, { state: "cancelled" });
  }

  async retry(exchangeId: string): Promise<Exchange> {
    const old = this.one(exchangeId).value;
    if (old === null) throw new Error("There is no such exchange");
    return this.ask(old.chatId, old.deviceId, old.prompt, old.options);
  }

  async deleteChat(chatId: string): Promise<void> {
    this.chats.value = this.chats.value.filter((chat) => chat.id !== chatId);
    this.list(chatId).value = [];
  }

  async renameChat(chatId: string, title: string): Promise<void> {
    this.chats.value = this.chats.value.map((chat) => (chat.id === chatId ? { ...chat, title } : chat));
  }

  predict(_deviceId: string, layers: number, fanout: number): Prediction {
    const inferences = (fanout + 1) * layers + 1;
    const utilisation = 0.06 * inferences;
    const stable = utilisation < 1;
    return { latencyS: stable ? (1.4 * (layers + 1)) / (1 - utilisation) : null, utilisation, stable, inferences };
  }

  private async play(id: string): Promise<void> {
    const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
    const layer = (number: number, joined: string[]) => ({
      prompt_id: id,
      layer: number,
      layer_count: 1,
      asked: NAMES.slice(0, 3),
      joined,
    });
    const steps: Partial<Exchange>[] = [
      { state: "accepted", expectedWaitS: 1 },
      { state: "proposing", progress: [layer(1, [])] },
      { progress: [layer(1, NAMES.slice(0, 3))] },
    ];
    for (const step of steps) {
      await wait(700);
      this.change(id, step);
    }
    for (const piece of ANSWER.match(/.{1,4}/gs) ?? []) {
      await wait(15);
      this.change(id, { state: "streaming", answer: (this.one(id).value?.answer ?? "") + piece });
    }
    this.change(id, { state: "answered", provenance: { ...PROVENANCE, missing: [] }, endToEndLatencyS: 6.1 });
  }

  private addChat(id: string, title: string, exchanges: Exchange[]): void {
    this.chats.value = [...this.chats.value, { id, title, createdAt: Date.now(), updatedAt: Date.now() }];
    exchanges.forEach((one) => (this.one(one.id).value = one));
    this.list(id).value = exchanges;
  }

  private put(next: Exchange): void {
    this.one(next.id).value = next;
    const list = this.list(next.chatId);
    const others = list.value.filter((one) => one.id !== next.id);
    const known = others.length < list.value.length;
    list.value = known ? list.value.map((one) => (one.id === next.id ? next : one)) : [...list.value, next];
  }

  private change(id: string, change: Partial<Exchange>): void {
    const before = this.one(id).value;
    if (before === null || ENDED.includes(before.state)) return;
    const next = { ...before, ...change };
    if (next.state !== before.state) this.put(next);
    else this.one(id).value = next;
  }

  private list(chatId: string): Signal<readonly Exchange[]> {
    const known = this.lists.get(chatId) ?? signal<readonly Exchange[]>([]);
    this.lists.set(chatId, known);
    return known;
  }

  private one(id: string): Signal<Exchange | null> {
    const known = this.ones.get(id) ?? signal<Exchange | null>(null);
    this.ones.set(id, known);
    return known;
  }
}
