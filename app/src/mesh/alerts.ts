/**
 * What people should know without looking: the alerts of docs/MONITORING.md, as one page sees them. Those wait for
 * minutes, since they wake people; here somebody is looking, so seconds do. Pure: `now` is milliseconds on any clock.
 */
import type { Alert, Device } from "../model";

export const LOAD_HIGH = 0.8; // of what a device can do: queues grow steeply from here on
export const LOAD_HIGH_FOR_S = 30; // the load is smoothed over a minute by the device: this drops what only grazes it
export const LOAD_OVER_FOR_S = 10;
export const QUEUE_SHARE_HIGH = 0.8; // of its places: soon prompts are refused
export const QUEUE_FOR_S = 10; // a burst may fill a queue for a moment
export const SILENT_FOR_S = 5; // beyond the silence that makes a device silent: a page that wakes hears it by then

interface Condition {
  id: string;
  severity: Alert["severity"];
  deviceId: string;
  text: string;
  afterS: number;
}

/** Keeps since when each condition holds. Bounded: a few for each device, and devices are bounded. */
export class Alerts {
  private readonly since = new Map<string, number>();
  private readonly seenOnline = new Set<string>();
  private last: readonly Alert[] = [];

  /** Returns what holds at `now`: the same array while nothing changed. Call it at least every few seconds. */
  update(devices: readonly Device[], now: number): readonly Alert[] {
    const conditions = devices.flatMap((device) => this.conditionsOf(device));
    const ids = new Set(conditions.map(({ id }) => id));
    for (const id of this.since.keys()) if (!ids.has(id)) this.since.delete(id);
    const alerts = conditions.filter((condition) => this.holdsLongEnough(condition, now)).map(toAlert);
    const isSame =
      alerts.length === this.last.length &&
      alerts.every(({ id, text }, at) => id === this.last[at]!.id && text === this.last[at]!.text);
    if (!isSame) this.last = alerts;
    return this.last;
  }

  private holdsLongEnough({ id, afterS }: Condition, now: number): boolean {
    const since = this.since.get(id) ?? now;
    this.since.set(id, since);
    return (now - since) / 1000 >= afterS;
  }

  private conditionsOf(device: Device): Condition[] {
    const { id, state } = device;
    if (state === "online") this.seenOnline.add(id);
    // for as long as the list shows it in red or yellow: all cannot be well above it
    if (state === "offline" || state === "silent") return [absent(device, this.seenOnline.has(id))];
    return state === "online" ? [...troubles(device), ...overloads(device)] : [];
  }
}

/** A device that went without a farewell. One that was gone before the page came is less urgent: no news to anybody. */
function absent({ id, state }: Device, wasSeen: boolean): Condition {
  const text = state === "offline" ? `${id} is offline: its connection was lost` : `${id} is silent: it does not report`;
  const severity = state === "offline" && wasSeen ? "critical" : "warning";
  return { id: `${state}/${id}`, severity, deviceId: id, text, afterS: state === "offline" ? 0 : SILENT_FOR_S };
}

/** What the device itself says is wrong with it. */
function troubles({ id, able, troubles }: Device): Condition[] {
  return troubles.map((text, at) => {
    const isCritical = !able && at === 0;
    const kind = isCritical ? "unable" : text.split(":", 1)[0];
    return {
      id: `${kind}/${id}`,
      severity: isCritical ? "critical" : "warning",
      deviceId: id,
      text: isCritical ? `${id} ${text}` : `${id}, ${text}`,
      afterS: 0,
    };
  });
}

function overloads({ id, status }: Device): Condition[] {
  if (status === null) return [];
  const found: Condition[] = [];
  const add = (kind: string, severity: Alert["severity"], text: string, afterS: number): void => {
    found.push({ id: `${kind}/${id}`, severity, deviceId: id, text, afterS });
  };
  if (status.offered_load >= 1) {
    add(
      "overload",
      "critical",
      `${id} is overloaded: its queue grows. Fewer layers or a lower fanout help`,
      LOAD_OVER_FOR_S,
    );
  }
  if (status.offered_load > LOAD_HIGH) {
    const isOver = status.offered_load >= 1;
    // its clock runs on while the load is above 1, so that coming down from there is told at once
    add("load", "warning", `${id} is near its limit: answers take long`, isOver ? Infinity : LOAD_HIGH_FOR_S);
  }
  const taken = status.requests_waiting + status.requests_running;
  if (status.queue_capacity > 0 && taken > QUEUE_SHARE_HIGH * status.queue_capacity) {
    add("queue", "warning", `${id} has almost no room left in its queue: prompts may soon be refused`, QUEUE_FOR_S);
  }
  return found;
}

function toAlert({ id, severity, deviceId, text }: Condition): Alert {
  return { id, severity, deviceId, text };
}
