/**
 * What is known of the devices of a mesh, from their presence and status; as `edge_agent/client/roster.py`. Pure: `now`
 * is milliseconds on one clock, passed in. Let it be one that stands still while nothing can be heard: a device is
 * silent when it could have been heard and was not.
 *
 * A device whose process is killed is offline at once, by its last will; one that falls silent is so after three of its
 * own intervals.
 */
import type { Device, DeviceState, Sample } from "../model";
import type { DeviceStatus, Presence } from "../wire/messages";

export const DEVICES_MAX = 512; // a screen shows fewer by far; bounds what a hostile publisher can make a phone keep
export const HISTORY_SAMPLES_MAX = 360; // half an hour of a status every 5 s: as much as a graph on a phone shows
const SILENT_AFTER_INTERVALS = 3; // two statuses may be lost or late before a device counts as silent
const SILENT_AFTER_MIN_S = 6; // a device that reports every second is allowed to be busy for a moment
const RATE_WINDOW_S = 60; // prompts come one by one: an arrival rate of one interval says next to nothing

interface Known {
  presence: Presence | null;
  status: DeviceStatus | null;
  /** Its last sign of life; null if there was none since the page began. */
  heardAt: number | null;
  history: readonly Sample[];
  /** Prompts per second, smoothed over RATE_WINDOW_S. */
  arrivalRateHz: number;
  /** What `list` returned last, to give the same object again while nothing changed. */
  shown: Device | null;
}

/** The devices heard of. Bounded by DEVICES_MAX; more are not noticed. */
export class Roster {
  private readonly known = new Map<string, Known>();

  /** Notes a presence. A birth counts as a sign of life. */
  takePresence(presence: Presence, now: number): void {
    const known = this.find(presence.entry.device_id);
    if (known === undefined) return;
    known.presence = presence;
    known.shown = null;
    if (presence.state === "online") known.heardAt = now;
  }

  /** Notes live figures; retained ones are no sign of life and no sample. `at` is when, in milliseconds of Date.now(). */
  takeStatus(status: DeviceStatus, now: number, retained: boolean, at = now): void {
    const known = this.find(status.device_id);
    if (known === undefined) return;
    const isFirst = known.status === null;
    known.status = status;
    known.shown = null;
    const gain = isFirst ? 1 : -Math.expm1(-status.interval_s / RATE_WINDOW_S);
    known.arrivalRateHz += gain * (status.arrival_rate_hz - known.arrivalRateHz);
    if (retained) return;
    known.heardAt = now;
    const sample: Sample = {
      at,
      requestsWaiting: status.requests_waiting,
      utilisation: status.utilisation,
      offeredLoad: status.offered_load,
    };
    known.history = [...known.history.slice(1 - HISTORY_SAMPLES_MAX), sample];
  }

  /** Every device in the order of ids. Devices that have not changed since the last call are the same objects. */
  list(now: number): readonly Device[] {
    return [...this.known.keys()].sort().map((id) => this.show(id, this.known.get(id)!, now));
  }

  /** A device's prompts per second, smoothed; 0 for one not heard of. */
  arrivalRateHz(id: string): number {
    return this.known.get(id)?.arrivalRateHz ?? 0;
  }

  private show(id: string, known: Known, now: number): Device {
    const state = stateOf(known, now);
    if (known.shown === null || known.shown.state !== state) {
      const { presence, status, history } = known;
      const able = presence?.entry.able ?? status?.able ?? true; // presence is told at once when that changes
      known.shown = { id, state, presence, status, able, troubles: troublesOf(able, status), history };
    }
    return known.shown;
  }

  private find(id: string): Known | undefined {
    let known = this.known.get(id);
    if (known === undefined && this.known.size < DEVICES_MAX) {
      known = { presence: null, status: null, heardAt: null, history: [], arrivalRateHz: 0, shown: null };
      this.known.set(id, known);
    }
    return known;
  }
}

/** What a device says is wrong with it. Its presence may be news that its next status explains. */
function troublesOf(able: boolean, status: DeviceStatus | null): readonly string[] {
  const problems = status?.problems ?? [];
  const others = problems.filter(({ part }) => part !== "engine").map(({ part, detail }) => `${part}: ${detail}`);
  if (able) return others;
  const why = problems.find(({ part }) => part === "engine")?.detail ?? "it has not said why yet";
  return [`cannot run its model: ${why}`, ...others];
}

/**
 * Presence decides where there is any. Without it (a broker that keeps no retained messages) a fresh status does; a
 * retained status proves nothing, because its device may be long gone.
 */
function stateOf(known: Known, now: number): DeviceState {
  const silentAfterS = Math.max(SILENT_AFTER_MIN_S, SILENT_AFTER_INTERVALS * (known.status?.interval_s ?? 0));
  const isFresh = known.heardAt !== null && now - known.heardAt <= 1000 * silentAfterS;
  if (known.presence === null) return isFresh ? "online" : "unknown";
  if (known.presence.state === "online") return isFresh ? "online" : "silent";
  return known.presence.state;
}
