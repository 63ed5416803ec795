/** Which device is asked. */
import type { VNode } from "preact";
import type { Device } from "../../model";
import { useEngine } from "../engine";
import { prefer, preferences } from "../preferences";
import { deviceWords } from "../words";

/** The device that is asked: the one chosen last, as long as it is known; else the one with the least to do. */
export function useChosenDevice(): string {
  const engine = useEngine();
  const { device } = preferences.value;
  const devices = engine.devices.value;
  const allowed = engine.pairing.value?.devices;
  const isOurs = allowed === undefined || allowed.includes(device);
  if (device !== "" && isOurs && (devices.length === 0 || devices.some((one) => one.id === device))) return device;
  return idlest(devices) ?? allowed?.[0] ?? "";
}

function idlest(devices: readonly Device[]): string | null {
  const load = (device: Device): number => device.status?.offered_load ?? 0;
  const online = devices.filter((device) => device.state === "online");
  const able = online.filter((device) => device.able);
  const pool = able.length > 0 ? able : online.length > 0 ? online : devices;
  return (
    pool.reduce<Device | null>((best, one) => (best === null || load(one) < load(best) ? one : best), null)?.id ?? null
  );
}

export function DevicePicker({ deviceId }: { deviceId: string }): VNode {
  const engine = useEngine();
  const devices = engine.devices.value;
  const names = new Set([...devices.map((device) => device.id), ...(deviceId === "" ? [] : [deviceId])]);
  return (
    <select
      aria-label="Device"
      class="device-picker"
      value={deviceId}
      disabled={names.size === 0}
      onChange={(event) => prefer({ device: event.currentTarget.value })}
    >
      {names.size === 0 && <option value="">Looking for devices…</option>}
      {[...names].sort().map((name) => (
        <option key={name} value={name}>
          {name + suffix(devices.find((device) => device.id === name))}
        </option>
      ))}
    </select>
  );
}

function suffix(device: Device | undefined): string {
  return device === undefined || (device.state === "online" && device.able) ? "" : ` (${deviceWords(device).title.toLowerCase()})`;
}
