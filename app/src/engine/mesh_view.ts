/** The devices and alerts as signals. Status comes often and is shown together; presence is shown at once. */
import { signal } from "@preact/signals-core";
import { Alerts } from "../mesh/alerts";
import { predict } from "../mesh/prediction";
import { Roster } from "../mesh/roster";
import type { Alert, Device, Prediction } from "../model";
import type { Broadcast } from "../wire/messages";

export const SHOW_EVERY_MS = 200; // however many devices there are, the page is drawn anew at most so often for them

/** Follows what devices say of themselves. `patience`: seconds on a clock that stands still while nothing can be heard. */
export class MeshView {
  readonly devices = signal<readonly Device[]>([]);
  readonly alerts = signal<readonly Alert[]>([]);
  private roster = new Roster();
  private watch = new Alerts();
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly patience: () => number) {}

  /** Takes a presence or status. The device it is about has been compared with its topic. */
  take(message: Broadcast, retained: boolean): void {
    if (message.type === "presence") {
      this.roster.takePresence(message, 1000 * this.patience());
      this.show();
    } else {
      this.roster.takeStatus(message, 1000 * this.patience(), retained, Date.now());
      this.timer ??= setTimeout(() => this.show(), SHOW_EVERY_MS);
    }
  }

  /** To be called every second or so: silence and lasting overload are noticed by time. */
  show(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const now = 1000 * this.patience();
    const devices = this.roster.list(now);
    const shown = this.devices.peek();
    const isSame = devices.length === shown.length && devices.every((device, at) => device === shown[at]);
    if (!isSame) this.devices.value = devices;
    this.alerts.value = this.watch.update(devices, now);
  }

  predict(deviceId: string, layers: number, fanout: number): Prediction {
    const rateOf = (id: string): number => this.roster.arrivalRateHz(id);
    return predict(this.devices.value, rateOf, deviceId, layers, fanout);
  }

  /** Forgets everything: another mesh follows, or none. */
  reset(): void {
    this.roster = new Roster();
    this.watch = new Alerts();
    this.show();
  }
}
