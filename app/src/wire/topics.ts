/** Every topic a user knows: the only place in the app where a topic is made or read. */
import { CHANNELS, TOPIC_ID_LENGTH_MAX, TOPIC_ROOT, USER_LOGIN } from "./shapes";

export type Channel = keyof typeof CHANNELS;

/** A topic taken apart. `principal` is who writes, or under `answers` who reads; "" where the channel names none. */
export interface Address {
  mesh: string;
  device: string;
  channel: Channel;
  principal: string;
  client: string;
}

export interface Subscription {
  filter: string;
  qos: 0 | 1;
}

const ID = new RegExp(`^[a-z0-9-]{1,${TOPIC_ID_LENGTH_MAX}}$`);
/** Which of its user's clients the app is; always the same, so that a page that is loaded anew still hears its own. */
export const APP_CLIENT = "app";
const ANY = "+";

/** Whether `text` may name a mesh, a device or a user. */
export function isId(text: string): boolean {
  return ID.test(text);
}

/** Whether `text` may be whom a broker lets in, as far as a user meets them. */
function isPrincipal(text: string): boolean {
  return isId(text.startsWith(USER_LOGIN) ? text.slice(USER_LOGIN.length) : text);
}

/** The broker user name of a user. */
export function userLogin(user: string): string {
  return USER_LOGIN + user;
}

/** Where prompts of this user for a device go. The ids must be ids. */
export function promptsTopic(mesh: string, device: string, user: string): string {
  return topic(mesh, device, "prompts", userLogin(user));
}

/** Where a device answers this user's app. The ids must be ids. */
export function inboxTopic(mesh: string, device: string, user: string): string {
  return topic(mesh, device, "answers", userLogin(user), APP_CLIENT);
}

/** What a user reads: answers to it, presence and status; of all devices, or one filter each for those named. */
export function userSubscriptions(mesh: string, user: string, devices: readonly string[] | undefined): Subscription[] {
  return (devices ?? [ANY]).flatMap((device) =>
    (["answers", "presence", "status"] as const).map((channel) => ({
      filter: channel === "answers" ? inboxTopic(mesh, device, user) : topic(mesh, device, channel),
      qos: CHANNELS[channel].qos,
    })),
  );
}

/** Whether it is where this user's app is answered. */
export function isOwnAnswer({ channel, principal, client }: Address, user: string): boolean {
  return channel === "answers" && principal === userLogin(user) && client === APP_CLIENT;
}

/** Takes a topic apart; null if it is none of ours. */
export function parseTopic(text: string): Address | null {
  if (!text.startsWith(`${TOPIC_ROOT}/`)) return null;
  const [mesh = "", devices, device = "", channel = "", ...rest] = text.slice(TOPIC_ROOT.length + 1).split("/");
  if (devices !== "devices" || !Object.hasOwn(CHANNELS, channel)) return null;
  const { levels } = CHANNELS[channel as Channel];
  const [principal = "", client = ""] = rest;
  if (rest.length !== levels.length || ![mesh, device].every(isId)) return null;
  if (levels.length > 0 && !isPrincipal(principal)) return null;
  if (levels.length > 1 && !isId(client)) return null;
  return { mesh, device, channel: channel as Channel, principal, client };
}

function topic(mesh: string, device: string, channel: Channel, ...levels: string[]): string {
  return [TOPIC_ROOT, mesh, "devices", device, channel, ...levels].join("/");
}
