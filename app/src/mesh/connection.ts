/**
 * The connection to a mesh's broker: kept up with backoff and jitter over several addresses, subscribed anew each time.
 *
 * A phone loses its network without a word, sleeps, and wakes elsewhere. So besides the broker's own word a ping finds
 * out whether the link lives: when the page becomes visible, when the network comes back, and after silence.
 */
import type { Link, Pairing } from "../model";
import { inboxTopic, promptsTopic, userLogin, userSubscriptions } from "../wire/topics";
import { randomHex } from "./ids";
import type { Published, Session, Words } from "./session";

export const BACKOFF_MIN_S = 0.2;
export const BACKOFF_MAX_S = 5; // short, since somebody is looking; hidden pages wait longer by their slow timers
export const REFUSED_RETRY_S = 30; // a broker that restarts may not know its users for a moment
export const SILENCE_S = 20; // devices tell their status every 5 s: without a word for so long a ping asks

export interface ConnectionEvents {
  onLink(link: Link, detail: string): void;
  onMessage(topic: string, body: Uint8Array, retained: boolean): void;
  /** Connected anew, with all subscriptions in place: what was under way may have been lost. */
  onReady(): void;
}

/** Opens sessions; the chunk with mqtt.js is loaded at the first. */
export type OpenSession = typeof import("./session").openSession;

const loadSession = async (): Promise<OpenSession> => (await import("./session")).openSession;

export class Connection {
  private session: Session | null = null;
  private isStopped = false;
  private tries = 0;
  private at: number;
  private wake: (() => void) | null = null;
  private lastHeard = 0;
  private isPinging = false;
  private readonly clientId: string;
  private readonly brokers: readonly string[];

  constructor(
    private readonly pairing: Pairing,
    private readonly events: ConnectionEvents,
    private readonly load: () => Promise<OpenSession> = loadSession,
  ) {
    // Two pages of one user must not throw each other out, and nobody is to guess this and throw out either.
    this.clientId = `${pairing.mesh}.${userLogin(pairing.user)}.${randomHex(10)}`;
    this.brokers = usableBrokers(pairing.brokers);
    this.at = Math.floor(Math.random() * this.brokers.length); // spreads users over the nodes of a cluster
  }

  /** Connects and stays connected until `stop`. Returns at once. */
  start(): void {
    void this.run();
  }

  /** Ends it; nothing is called any more. */
  stop(): void {
    this.isStopped = true;
    this.session?.close();
    this.session = null;
    this.wake?.();
  }

  get isOnline(): boolean {
    return this.session !== null;
  }

  /** Publishes to a device of the mesh in this user's name, answers wanted at its inbox there. */
  async publish(device: string, words: Words): Promise<Published> {
    if (this.session === null) return "lost";
    const { mesh, user } = this.pairing;
    const responseTopic = inboxTopic(mesh, device, user);
    return this.session.publish({ ...words, topic: promptsTopic(mesh, device, user), responseTopic });
  }

  /** The page is visible again, or the network is back: tries at once, or makes sure that the connection lives. */
  nudge(): void {
    this.tries = 0;
    if (this.session === null) this.wake?.();
    else void this.check();
  }

  /** To be called every few seconds: after silence it makes sure that the connection lives. */
  tick(now: number): void {
    if (this.session !== null && now - this.lastHeard > 1000 * SILENCE_S) void this.check();
  }

  private async check(): Promise<void> {
    const { session } = this;
    if (session === null || this.isPinging) return;
    this.isPinging = true;
    const alive = await session.ping();
    this.isPinging = false;
    if (alive) this.lastHeard = Date.now();
    else session.close();
  }

  private async run(): Promise<void> {
    if (this.brokers.length === 0) {
      this.events.onLink(
        "offline",
        "This page came over https, so that the browser allows no ws:// broker: open it over http, or pair with wss://",
      );
      return;
    }
    this.events.onLink("connecting", "");
    while (!this.isStopped) {
      const waitS = await this.connectOnce();
      if (this.isStopped) return;
      await this.pause(waitS);
    }
  }

  /** One connection from its opening to its end; returns how long to wait before the next. */
  private async connectOnce(): Promise<number> {
    const url = this.brokers[this.at % this.brokers.length]!;
    this.at += 1; // the next try goes to the next address
    let ended: (reason: string) => void = () => undefined;
    const end = new Promise<string>((resolve) => (ended = resolve));
    try {
      const open = await this.load();
      const { user, secret, mesh, devices } = this.pairing;
      const session = await open(
        { url, clientId: this.clientId, username: userLogin(user), password: secret },
        {
          onMessage: (topic, body, retained) => {
            this.lastHeard = Date.now();
            if (!this.isStopped) this.events.onMessage(topic, body, retained);
          },
          onClose: ended,
        },
      );
      if (this.isStopped) {
        session.close();
        return 0;
      }
      const refused = await session.subscribe(userSubscriptions(mesh, user, devices)).catch((error: unknown) => {
        session.close();
        throw error;
      });
      this.opened(session, refused);
      this.lost(url, await end);
    } catch (error) {
      if (isRefusal(error)) {
        this.events.onLink("refused", "The broker no longer accepts this pairing: pair again");
        return REFUSED_RETRY_S;
      }
      this.lost(url, error instanceof Error ? error.message : String(error));
    }
    return this.nextBackoffS();
  }

  private opened(session: Session, refused: readonly string[]): void {
    if (this.isStopped) return session.close();
    this.session = session;
    this.tries = 0;
    this.lastHeard = Date.now();
    const detail = refused.length === 0 ? "" : "The broker does not let you read everything of the mesh: answers may not arrive";
    this.events.onLink("online", detail);
    this.events.onReady();
  }

  private lost(url: string, reason: string): void {
    this.session = null;
    if (!this.isStopped) this.events.onLink("offline", `No connection to ${new URL(url).host}: ${reason}`);
  }

  private nextBackoffS(): number {
    // longer with each round over all addresses: one dead address must not hide a living one
    const round = Math.min(Math.floor(this.tries / this.brokers.length), 10);
    this.tries += 1;
    // jitter: the pages of a broker that comes back must not come back at the same moment
    return Math.min(BACKOFF_MIN_S * 2 ** round, BACKOFF_MAX_S) * (0.5 + Math.random() / 2);
  }

  private pause(seconds: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.wake = null;
        resolve();
      };
      const timer = setTimeout(done, 1000 * seconds);
      this.wake = done;
    });
  }
}

/** A page that came over https may not open ws://, but for this very machine. */
export function usableBrokers(brokers: readonly string[], pageProtocol = globalThis.location?.protocol): string[] {
  if (pageProtocol !== "https:") return [...brokers];
  return brokers.filter(
    (url) => url.startsWith("wss:") || /^ws:\/\/(localhost|127\.0\.0\.1|\[::1\])(:|\/|$)/.test(url),
  );
}

function isRefusal(error: unknown): boolean {
  // by name: the class is in the lazy chunk
  return error instanceof Error && error.name === "RefusedError";
}
