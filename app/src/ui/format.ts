/** Numbers and times as people read them. */

/** A duration in seconds: "0.34 s", "4.2 s", "42 s", "3 min 5 s". */
export function seconds(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value < 0.995) return `${value.toFixed(2)} s`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) {
    const whole = Math.round(value);
    return whole % 60 === 0 ? `${whole / 60} min` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
  }
  return `${(value / 3600).toFixed(1)} h`;
}

/** A duration as a clock counts it, in whole seconds: "7 s", "2 min 5 s". */
export function wholeSeconds(value: number): string {
  const whole = Math.max(0, Math.round(value));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** A share as a percentage without decimals; "–" for what is not known. */
export function percent(value: number | null): string {
  return value === null || !Number.isFinite(value) ? "–" : `${Math.round(value * 100)} %`;
}

/** A mean of few things, such as a queue's length: one decimal at most. */
export function figure(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}

/** "1 device", "3 devices". */
export function count(value: number, noun: string, plural = `${noun}s`): string {
  return `${value} ${value === 1 ? noun : plural}`;
}

/** A rate per second as people say it: per second, minute or hour, whichever gives a number above one. */
export function rate(hertz: number): string {
  if (hertz <= 0) return "none";
  if (hertz >= 1) return `${figure(hertz)} / s`;
  return hertz * 60 >= 1 ? `${figure(round1(hertz * 60))} / min` : `${figure(round1(hertz * 3600))} / h`;
}

function round1(value: number): number {
  return Math.round(value * 10) / 10;
}

/** When something was, beside now: "14:05" today, "Tue 14:05" this week, "3 Nov 2026" before. */
export function when(at: number, now: number): string {
  const then = new Date(at);
  const time = then.toLocaleTimeString(undefined, { timeStyle: "short" });
  if (then.toDateString() === new Date(now).toDateString()) return time;
  const WEEK_MS = 6 * 86_400_000; // within six days a weekday names one day only
  if (now - at < WEEK_MS) return `${then.toLocaleDateString(undefined, { weekday: "short" })} ${time}`;
  return then.toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}
