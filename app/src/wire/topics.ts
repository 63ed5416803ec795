/** Every topic a user knows: the only place in the app where a topic is made or read. */
import { CHANNELS, TOPIC_ID_LENGTH_MAX, TOPIC_ROOT, USER_LOGIN } from "./shapes";

export type Channel = keyof typeof CHANNELS;

/** A topic taken apart. `client` is "" except under `answers`. */
export interface Address {
  mesh: string;
  device: string;
  channel: Channel;
  client: string;
}

export interface Subscription {
  filter: string;
  qos: 0 | 1;
}

const ID = new RegExp(`^[a-z0-9-]{1,${TOPIC_ID_LENGTH_MAX}}$`);
const ANY = "+";

/** Whether `text` may name a mesh, a device or a user. */
export function isId(text: string): boolean {
  return ID.test(text);
}

/** The broker user name of a user. */
export function userLogin(user: string): string {
  return USER_LOGIN + user;
}

/** Where prompts for a device go. The ids must be ids. */
export function promptsTopic(mesh: string, device: string): string {
  return topic(mesh, device, "prompts");
}

/** Where a device answers this user. The ids must be ids. */
export function inboxTopic(mesh: string, device: string, user: string): string {
  return topic(mesh, device, "answers", user);
}

/** What a user reads: answers to it, presence and status; of all devices, or one filter each for those named. */
export function userSubscriptions(mesh: string, user: string, devices: readonly string[] | undefined): Subscription[] {
  return (devices ?? [ANY]).flatMap((device) =>
    (["answers", "presence", "status"] as const).map((channel) => ({
      filter: topic(mesh, device, channel, channel === "answers" ? user : ""),
      qos: CHANNELS[channel].qos,
    })),
  );
}

/** Takes a topic apart; null if it is none of ours. */
export function parseTopic(text: string): Address | null {
  if (!text.startsWith(`${TOPIC_ROOT}/`)) return null;
  const [mesh = "", devices, device = "", channel = "", ...rest] = text.slice(TOPIC_ROOT.length + 1).split("/");
  if (devices !== "devices" || !Object.hasOwn(CHANNELS, channel)) return null;
  const clients = channel === "answers" ? 1 : 0;
  if (rest.length !== clients || ![mesh, device, ...rest].every(isId)) return null;
  return { mesh, device, channel: channel as Channel, client: rest[0] ?? "" };
}

function topic(mesh: string, device: string, channel: Channel, client = ""): string {
  return `${TOPIC_ROOT}/${mesh}/devices/${device}/${channel}${client && `/${client}`}`;
}
