/** Reads pairing links (`moamesh pair`), strictly: who makes you scan a code must not get more than a connection. */
import type { Pairing } from "../model";
import { isPrintable } from "../wire/printable";
import { isId } from "../wire/topics";

export const PAIRING_LENGTH_MAX = 4_096; // characters: more than a QR code holds
const BROKERS_MAX = 16; // nodes of one cluster
const URL_LENGTH_MAX = 256;
const SECRET_LENGTH_MAX = 256;
const DEVICES_MAX = 64; // three subscriptions each
const NO_LINK = "This is not a pairing link: make one with `moamesh pair`";

/** Returns the pairing text in an address (`...#pair=...`), or null if it holds none. */
export function pairingTextIn(address: string): string | null {
  const match = /#pair=([^&\s]*)/.exec(address);
  return match === null ? null : match[1]!;
}

/** Reads a link or the text after `#pair=`. Throws an Error with one line for people if it is none. */
export function parsePairing(text: string): Pairing {
  const trimmed = text.trim();
  const encoded = (pairingTextIn(trimmed) ?? trimmed.replace(/^#?pair=/, "")).replace(/=+$/, "");
  if (encoded === "" || encoded.length > PAIRING_LENGTH_MAX || !/^[A-Za-z0-9_-]+$/.test(encoded))
    throw new Error(NO_LINK);
  return check(decodeJson(encoded));
}

function decodeJson(encoded: string): Record<string, unknown> {
  try {
    const bytes = Uint8Array.from(atob(encoded.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // a link that was cut off in copying ends up here
  }
  throw new Error(NO_LINK);
}

function check({ v, mesh, brokers, user, secret, devices }: Record<string, unknown>): Pairing {
  if (typeof v === "number" && v > 1) throw new Error("This pairing link is newer than this app: reload the page");
  const isRight =
    v === 1 &&
    isText(mesh) &&
    isId(mesh) &&
    isText(user) &&
    isId(user) &&
    isText(secret) &&
    secret.length >= 1 &&
    secret.length <= SECRET_LENGTH_MAX &&
    isPrintable(secret) &&
    isListOf(brokers, BROKERS_MAX, isBroker) &&
    (devices === undefined || isListOf(devices, DEVICES_MAX, isId));
  if (!isRight) throw new Error(NO_LINK);
  const pairing: Pairing = { v: 1, mesh, brokers: brokers as string[], user, secret };
  return devices === undefined ? pairing : { ...pairing, devices: devices as string[] };
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isListOf(value: unknown, lengthMax: number, isItem: (text: string) => boolean): boolean {
  return (
    Array.isArray(value) &&
    value.length >= 1 &&
    value.length <= lengthMax &&
    value.every((item) => isText(item) && isItem(item))
  );
}

function isBroker(text: string): boolean {
  if (text.length > URL_LENGTH_MAX || !URL.canParse(text)) return false;
  const { protocol, username, password, hash } = new URL(text);
  return /^wss?:$/.test(protocol) && username === "" && password === "" && hash === "";
}
