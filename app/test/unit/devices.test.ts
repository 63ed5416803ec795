import { beforeEach, expect, test } from "vitest";
import {
  Alerts,
  LOAD_HIGH_FOR_S,
  LOAD_OVER_FOR_S,
  QUEUE_FOR_S,
  SILENT_FOR_S,
} from "../../src/mesh/alerts";
import { DEVICES_MAX, HISTORY_SAMPLES_MAX, Roster } from "../../src/mesh/roster";
import type { Device } from "../../src/model";
import type { DeviceStatus } from "../../src/wire/messages";
import { presence, status } from "../support/samples";

let roster: Roster;
beforeEach(() => {
  roster = new Roster();
});

const state = (now: number, id = "a"): string | undefined => roster.list(now).find((device) => device.id === id)?.state;

test("a device is online by its birth, silent after three intervals, and offline at once by its last will", () => {
  roster.takePresence(presence("a"), 0);
  roster.takeStatus(status("a", { interval_s: 5 }), 1_000, false);
  expect([state(16_000), state(16_001)]).toEqual(["online", "silent"]);
  roster.takePresence(presence("a", { state: "offline" }), 16_500);
  expect(state(16_500)).toBe("offline");
  roster.takePresence(presence("a", { state: "stopped" }), 17_000);
  expect(state(17_000)).toBe("stopped");
});

test("a retained status shows figures, but proves nothing; a fresh one does, also without presence", () => {
  roster.takeStatus(status("a"), 0, true);
  expect(state(0)).toBe("unknown");
  roster.takeStatus(status("a"), 0, false);
  expect(state(0)).toBe("online");
});

test("samples are kept of fresh figures, the newest HISTORY_SAMPLES_MAX", () => {
  roster.takeStatus(status("a"), 0, true);
  for (let at = 1; at <= HISTORY_SAMPLES_MAX + 5; at++)
    roster.takeStatus(status("a", { requests_waiting: at }), at, false);
  const { history } = roster.list(0)[0]!;
  expect([history.length, history[0]!.at, history.at(-1)!.requestsWaiting]).toEqual([
    HISTORY_SAMPLES_MAX,
    6,
    HISTORY_SAMPLES_MAX + 5,
  ]);
});

test("devices come in the order of ids, and one that has not changed is the same object", () => {
  for (const id of ["c", "a", "b"]) roster.takePresence(presence(id), 0);
  const before = roster.list(0);
  expect(before.map(({ id }) => id)).toEqual(["a", "b", "c"]);
  roster.takeStatus(status("b"), 1, false);
  const after = roster.list(1);
  expect([after[0] === before[0], after[1] === before[1], after[2] === before[2]]).toEqual([true, false, true]);
});

test("a hostile publisher cannot fill the page with devices", () => {
  for (let number = 0; number < DEVICES_MAX + 50; number++) roster.takePresence(presence(`d${number}`), 0);
  expect(roster.list(0)).toHaveLength(DEVICES_MAX);
});

test("the arrival rate is smoothed over a minute", () => {
  roster.takeStatus(status("a", { arrival_rate_hz: 1, interval_s: 5 }), 0, false);
  roster.takeStatus(status("a", { arrival_rate_hz: 0, interval_s: 5 }), 5_000, false);
  expect(roster.arrivalRateHz("a")).toBeCloseTo(Math.exp(-5 / 60), 9);
  expect(roster.arrivalRateHz("nobody")).toBe(0);
});

function device(change: Partial<DeviceStatus> = {}, in_: Device["state"] = "online"): Device {
  const shown = { id: "a", state: in_, presence: presence("a"), status: status("a", change) };
  return { ...shown, able: true, troubles: [], history: [] };
}

/** What is alerted at each of these seconds. */
function kinds(alerts: Alerts, shown: Device, ...seconds: number[]): string[][] {
  return seconds.map((second) => alerts.update([shown], 1_000 * second).map(({ id, severity }) => `${severity} ${id}`));
}

test("load above 0.8 warns after a while, above 1 it is critical sooner", () => {
  const high = device({ offered_load: 0.9 });
  expect(kinds(new Alerts(), high, 0, LOAD_HIGH_FOR_S - 1, LOAD_HIGH_FOR_S)).toEqual([[], [], ["warning load/a"]]);
  const over = device({ offered_load: 1.2 });
  expect(kinds(new Alerts(), over, 0, LOAD_OVER_FOR_S, 100)).toEqual([
    [],
    ["critical overload/a"],
    ["critical overload/a"],
  ]);
});

test("load that falls below in between starts its time anew", () => {
  const alerts = new Alerts();
  kinds(alerts, device({ offered_load: 1.2 }), 0);
  kinds(alerts, device({ offered_load: 0.2 }), 5);
  expect(kinds(alerts, device({ offered_load: 1.2 }), 6, 6 + LOAD_OVER_FOR_S - 1)).toEqual([[], []]);
});

test("a queue with more than 80 % of its places taken warns", () => {
  const full = device({ requests_waiting: 25, requests_running: 1 });
  expect(kinds(new Alerts(), full, 0, QUEUE_FOR_S)).toEqual([[], ["warning queue/a"]]);
  const busy = device({ requests_waiting: 24, requests_running: 1 });
  expect(kinds(new Alerts(), busy, 0, QUEUE_FOR_S)).toEqual([[], []]);
});

test("a device that is gone without a farewell is alerted as long as it is shown so; one that stopped is not", () => {
  const alerts = new Alerts();
  expect(kinds(alerts, device({}, "offline"), 0)).toEqual([["warning offline/a"]]); // gone before the page came
  kinds(alerts, device(), 1);
  expect(kinds(alerts, device({}, "silent"), 2, 2 + SILENT_FOR_S)).toEqual([[], ["warning silent/a"]]);
  expect(kinds(alerts, device({}, "offline"), 8, 100_000)).toEqual([["critical offline/a"], ["critical offline/a"]]);
  expect(kinds(alerts, device({}, "stopped"), 100_001)).toEqual([[]]);
});

test("whatever a device says is wrong with it needs attention at once, that it cannot run its model most of all", () => {
  const sick = { ...device(), able: false, troubles: ["cannot run its model: the file is gone", "journal: disk full"] };
  expect(kinds(new Alerts(), sick, 0)).toEqual([["critical unable/a", "warning journal/a"]]);
  const full = { ...device(), troubles: ["journal: disk full"] };
  expect(kinds(new Alerts(), full, 0)).toEqual([["warning journal/a"]]);
  expect(kinds(new Alerts(), { ...sick, state: "stopped" }, 0)).toEqual([[]]);
});

test("a device's health is its own last word: presence before status, the engine's reason first", () => {
  const problems = [
    { part: "journal", detail: "disk full" },
    { part: "engine", detail: "no server answers" },
  ] as DeviceStatus["problems"];
  const told = presence("a");
  roster.takePresence({ ...told, entry: { ...told.entry, able: false } }, 0);
  expect(roster.list(0)[0]!.troubles).toEqual(["cannot run its model: it has not said why yet"]);
  roster.takeStatus(status("a", { able: false, durable: false, problems }), 0, false);
  expect(roster.list(0)[0]).toMatchObject({
    able: false,
    troubles: ["cannot run its model: no server answers", "journal: disk full"],
  });
  roster.takePresence(told, 1);
  expect(roster.list(1)[0]!.able).toBe(true);
});

test("while nothing changes the alerts are the same array", () => {
  const alerts = new Alerts();
  alerts.update([device()], 0);
  const first = alerts.update([device({}, "offline")], 1);
  expect(alerts.update([device({}, "offline")], 2)).toBe(first);
});
