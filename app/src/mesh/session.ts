/**
 * One MQTT 5 connection over a WebSocket, from CONNECT to its end; it never reconnects (`connection.ts` does). The only
 * file that knows mqtt.js. It is a chunk of its own, so that the page can be seen before it is loaded.
 *
 * Only the client and the browser's stream of mqtt.js are imported: its ready-made bundle is half as large again,
 * because it carries its command line's helpers, timers in a worker (which our content security policy would block)
 * and debug output.
 */
import MqttClient from "mqtt/lib/client";
import { browserStreamBuilder } from "mqtt/lib/connect/ws";
import type { Subscription } from "../wire/topics";

// A module of Node's older kind: some bundlers hand out its `default`, others the whole of it.
const Client = ("default" in MqttClient ? MqttClient.default : MqttClient) as typeof MqttClient;

export const CONNECT_TIMEOUT_S = 10; // a broker that has not answered by then is taken for absent
export const PING_TIMEOUT_S = 5; // a living broker answers a ping in far less, also over a phone's network
/** MQTT keepalive. Long, because browsers slow the timers of hidden pages to one a minute; `ping` finds dead links. */
export const KEEPALIVE_S = 150;
const PACKET_BYTES_MAX = 300 * 1024; // a body of 256 KiB with its topic and properties
const BAD_LOGIN = new Set([4, 5, 0x86, 0x87, 0x8a, 0x8c]); // user name or password, not authorized, banned, method
const NOT_AUTHORIZED = 0x87;

/** The broker does not let this user in. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
}

export interface SessionOptions {
  url: string;
  clientId: string;
  username: string;
  password: string;
}

export interface SessionEvents {
  onMessage(topic: string, body: Uint8Array, retained: boolean): void;
  /** The connection is gone; called once, never before `openSession` has resolved. */
  onClose(reason: string): void;
}

/** `forbidden`: the broker says that this user may not publish there. `lost`: nobody knows whether it arrived. */
export type Published = "taken" | "forbidden" | "lost";

export interface Message {
  topic: string;
  body: string;
  qos: 0 | 1;
  responseTopic: string;
  correlation: string;
  expiresInS: number | null;
}

/** A message to a device without its topics, which follow from whose connection it goes over. */
export type Words = Omit<Message, "topic" | "responseTopic">;

export interface Session {
  /** Subscribes to all at once; returns the filters that the broker refused. Rejects when the connection is lost. */
  subscribe(subscriptions: readonly Subscription[]): Promise<string[]>;
  publish(message: Message): Promise<Published>;
  /** Whether the broker answers; it may take PING_TIMEOUT_S, or longer while something else still comes. */
  ping(): Promise<boolean>;
  close(): void;
}

/** Connects. Rejects with RefusedError, or an Error whose message is for people. */
export function openSession(options: SessionOptions, events: SessionEvents): Promise<Session> {
  return new Promise((resolve, reject) => {
    const client = makeClient(options);
    let isOpen = false;
    let reason = "";
    client.on("error", (error) => {
      reason = error.message;
      if (isOpen) return;
      const code = "code" in error ? Number(error.code) : 0;
      reject(BAD_LOGIN.has(code) ? new RefusedError(reason) : new Error(reason));
      client.end(true);
    });
    client.on("disconnect", (packet) => {
      reason = `the broker closed the connection (${packet.reasonCode ?? 0})`;
    });
    client.on("close", () => {
      if (isOpen) events.onClose(reason || "the connection was lost");
      else reject(new Error(reason || "no connection"));
      isOpen = false;
    });
    client.on("message", (topic, payload, packet) => events.onMessage(topic, payload, packet.retain));
    client.once("connect", () => {
      isOpen = true;
      resolve(new OpenSession(client));
    });
  });
}

function makeClient({ url, clientId, username, password }: SessionOptions): MqttClient {
  const { protocol, hostname, port } = new URL(url);
  const client = new Client((self) => browserStreamBuilder(self, self.options as never), {
    protocol: protocol === "wss:" ? "wss" : "ws",
    hostname,
    port: Number(port) || (protocol === "wss:" ? 443 : 80),
    transformWsUrl: () => url, // as the pairing link has it, with its path
    protocolVersion: 5,
    protocolId: "MQTT",
    clean: true,
    clientId,
    username,
    password,
    keepalive: KEEPALIVE_S,
    connectTimeout: 1000 * CONNECT_TIMEOUT_S,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    timerVariant: "native",
    properties: { maximumPacketSize: PACKET_BYTES_MAX },
    manualConnect: true, // the listeners below come first
  });
  queueMicrotask(() => client.connect());
  return client;
}

class OpenSession implements Session {
  /** Who waits for the broker; bounded by the prompts under way. */
  private readonly waiting = new Set<() => void>();

  constructor(private readonly client: MqttClient) {
    client.once("close", () => this.waiting.forEach((onClose) => onClose()));
  }

  async subscribe(subscriptions: readonly Subscription[]): Promise<string[]> {
    const wanted = Object.fromEntries(subscriptions.map(({ filter, qos }) => [filter, { qos }]));
    const reasons = await this.untilClose(
      new Promise<readonly number[] | null>((resolve) => {
        this.client.subscribe(wanted as never, (error, _granted, packet) => {
          const codes = packet?.granted as number[] | undefined;
          resolve(codes ?? (error ? null : []));
        });
      }),
      null,
    );
    if (reasons === null) throw new Error("the connection was lost while subscribing");
    return subscriptions.filter((_, at) => (reasons[at] ?? 0) >= 0x80).map(({ filter }) => filter);
  }

  publish({ topic, body, qos, responseTopic, correlation, expiresInS }: Message): Promise<Published> {
    const published = new Promise<Published>((resolve) => {
      const properties = {
        responseTopic,
        correlationData: correlation as unknown as Buffer, // mqtt-packet takes text as well; its types say less
        ...(expiresInS === null ? {} : { messageExpiryInterval: Math.max(1, Math.round(expiresInS)) }),
      };
      this.client.publish(topic, body, { qos, properties }, (error) => {
        if (!error) resolve("taken");
        else resolve("code" in error && Number(error.code) === NOT_AUTHORIZED ? "forbidden" : "lost");
      });
    });
    return this.untilClose(published, "lost");
  }

  ping(): Promise<boolean> {
    const answered = new Promise<boolean>((resolve) => {
      const settle = (alive: boolean): void => {
        clearTimeout(timer);
        this.client.removeListener("packetreceive", onPacket);
        resolve(alive);
      };
      const wait = () => setTimeout(settle, 1000 * PING_TIMEOUT_S, false);
      // Other packets prove nothing: they may have been on their way when the link died. But a slow link gets its time.
      const onPacket = ({ cmd }: { cmd: string }): void => {
        if (cmd === "pingresp") return settle(true);
        clearTimeout(timer);
        timer = wait();
      };
      let timer = wait();
      this.client.on("packetreceive", onPacket);
      if (this.client.connected) this.client.sendPing();
    });
    return this.untilClose(answered, false);
  }

  close(): void {
    this.client.end(true);
  }

  /** Waits for `work`, but no longer than the connection lasts. */
  private untilClose<T>(work: Promise<T>, lost: T): Promise<T> {
    if (!this.client.connected) return Promise.resolve(lost);
    return new Promise((resolve) => {
      const onClose = (): void => resolve(lost);
      this.waiting.add(onClose);
      void work.then((value) => {
        this.waiting.delete(onClose);
        resolve(value);
      });
    });
  }
}
