/** What this browser remembers of how its user likes the app: small, and of no use to anybody else. */
import { signal, type Signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

export interface Preferences {
  theme: Theme;
  /** The device asked last; "" before the first prompt. */
  device: string;
  layers: number;
  fanout: number;
  maxOutputTokens: number;
  temperature: number;
  /** null leaves the deadline to the device. */
  deadlineS: number | null;
}

export const LAYERS_MAX = 8; // as edge_agent.core.chat: a device refuses more
export const FANOUT_MAX = 16;
export const OUTPUT_TOKENS_CHOICES = [64, 128, 256, 512, 1024, 2048] as const;
export const DEADLINE_CHOICES_S = [30, 60, 300, 900, 3600] as const;

const KEY = "moamesh.preferences";
const DEFAULTS: Preferences = {
  theme: "system",
  device: "",
  layers: 2, // as a device of its own accord
  fanout: 2,
  maxOutputTokens: 256,
  temperature: 0.7,
  deadlineS: null,
};

/** Makes preferences of whatever was stored: what is unknown or out of bounds is left at its default. */
export function readPreferences(text: string | null): Preferences {
  let stored: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    if (typeof value === "object" && value !== null) stored = value as Record<string, unknown>;
  } catch {
    // not ours, or cut short: the defaults do
  }
  const whole = (value: unknown, max: number, otherwise: number): number =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max ? (value as number) : otherwise;
  const { theme, device, temperature, deadlineS } = stored;
  return {
    theme: theme === "light" || theme === "dark" ? theme : DEFAULTS.theme,
    device: typeof device === "string" ? device : DEFAULTS.device,
    layers: whole(stored["layers"], LAYERS_MAX, DEFAULTS.layers),
    fanout: whole(stored["fanout"], FANOUT_MAX, DEFAULTS.fanout),
    maxOutputTokens:
      OUTPUT_TOKENS_CHOICES.find((choice) => choice === stored["maxOutputTokens"]) ?? DEFAULTS.maxOutputTokens,
    temperature:
      typeof temperature === "number" && temperature >= 0 && temperature <= 2 ? temperature : DEFAULTS.temperature,
    deadlineS: DEADLINE_CHOICES_S.find((choice) => choice === deadlineS) ?? null,
  };
}

function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is forbidden: the defaults do, for as long as the page lives
  }
}

/** The preferences of now. */
export const preferences: Signal<Preferences> = signal(readPreferences(stored()));

/** Changes some preferences and keeps them. */
export function prefer(change: Partial<Preferences>): void {
  preferences.value = { ...preferences.value, ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences.value));
  } catch {
    // storage is forbidden or full: they hold until the page is closed
  }
}
