import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createEngine } from "../../src/engine/engine";
import { parsePairing } from "../../src/engine/pairing";
import { Connection } from "../../src/mesh/connection";
import { randomHex } from "../../src/mesh/ids";
import { PING_TIMEOUT_S } from "../../src/mesh/session";
import { DEFAULT_OPTIONS, type Link, type Pairing } from "../../src/model";
import { until } from "../until";
import { mesh } from "./mesh";

const NOBODY = "ws://127.0.0.1:9"; // the discard port: nothing listens there
const cleanUp: (() => void)[] = [];
afterEach(() => {
  for (const end of cleanUp.splice(0).reverse()) end();
});

async function newPairing(devices?: string[]): Promise<Pairing> {
  return parsePairing(await mesh({ do: "pairing", user: `user-${randomHex(4)}`, ...(devices ? { devices } : {}) }));
}

/** A network between page and broker that can be cut without a word, as when a phone leaves its Wi-Fi. */
class Network {
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;

  constructor(port: number) {
    this.server = createServer((near) => {
      const far = connect(port, "127.0.0.1");
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.sockets.add(from);
        from.on("error", () => to.destroy()).on("close", () => to.destroy());
        from.pipe(to);
      }
    });
    cleanUp.push(() => {
      this.server.close();
      for (const socket of this.sockets) socket.destroy();
    });
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Nothing gets through any more on the connections there are; new ones work. */
  cut(): void {
    for (const socket of this.sockets) socket.unpipe().pause();
  }
}

/** A connection and what it has said of itself. */
function follow(pairing: Pairing): { connection: Connection; links: Link[]; readies: () => number } {
  const links: Link[] = [];
  let readies = 0;
  const connection = new Connection(pairing, {
    onLink: (link) => links.push(link),
    onMessage: () => undefined,
    onReady: () => (readies += 1),
  });
  cleanUp.push(() => connection.stop());
  connection.start();
  return { connection, links, readies: () => readies };
}

test("of several addresses one that works will do", async () => {
  const pairing = await newPairing();
  const { links } = follow({ ...pairing, brokers: [NOBODY, NOBODY, ...pairing.brokers] });
  await until(() => links.at(-1) === "online", "online");
});

test("a link that died without a word is found when the page wakes, and mended", async () => {
  const pairing = await newPairing();
  const network = new Network(Number(new URL(pairing.brokers[0]!).port));
  const { connection, links, readies } = follow({ ...pairing, brokers: [await network.open()] });
  await until(() => readies() === 1, "online");
  network.cut();
  expect(connection.isOnline).toBe(true); // nobody can know
  connection.nudge();
  await until(() => readies() === 2, "online again", 1000 * (PING_TIMEOUT_S + 15));
  expect(links).toEqual(["connecting", "online", "offline", "online"]);
});

test("a link that lives is not touched when the page wakes", async () => {
  const { connection, links, readies } = follow(await newPairing());
  await until(() => readies() === 1, "online");
  for (let time = 0; time < 5; time++) connection.nudge();
  await until(() => !(connection as unknown as { isPinging: boolean }).isPinging, "the ping is answered");
  expect(links).toEqual(["connecting", "online"]);
});

test("a prompt to a device that the broker keeps from this user is told as that", async () => {
  const { devices: _, ...pairing } = await newPairing(["device-1"]);
  const page = createEngine();
  cleanUp.push(() => void page.stop());
  await page.start();
  await page.pair(Buffer.from(JSON.stringify(pairing)).toString("base64url"));
  const { id } = await page.ask(null, "device-2", "Why?", DEFAULT_OPTIONS);
  await until(() => page.exchange(id).value?.state === "unreachable", "unreachable");
  expect(page.exchange(id).value?.detail).toContain("does not let you ask device-2");
});

test("a new secret for the same user lets the same page in again", async () => {
  const user = `user-${randomHex(4)}`;
  const page = createEngine();
  cleanUp.push(() => void page.stop());
  await page.start();
  await page.pair(await mesh({ do: "pairing", user }));
  await until(() => page.link.value === "online", "online");
  const link = await mesh({ do: "pairing", user });
  await until(() => page.link.value === "refused", "refused with the old secret");
  await page.pair(link);
  await until(() => page.link.value === "online", "online with the new one");
});
