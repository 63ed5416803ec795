/** What the server of this page says of itself (`GET about.json`): nothing secret, so anybody may ask. */

export interface About {
  moamesh: string;
  mesh: string;
  device: string | null;
  /** "" where the broker has no WebSockets: no app can reach it. */
  webBroker: string;
  /** What to install then. */
  hint: string;
}

const TEXT_LENGTH_MAX = 400; // a line or two; more is not what this file is for

/** Returns it, or null where the page is served by something that does not say (or not now). Never throws. */
export async function fetchAbout(): Promise<About | null> {
  try {
    const response = await fetch("./about.json", { cache: "no-store" });
    return response.ok ? readAbout(await response.json()) : null;
  } catch {
    return null;
  }
}

/** Reads the body; what is absent or of another type is "". */
export function readAbout(value: unknown): About | null {
  if (typeof value !== "object" || value === null) return null;
  const fields = value as Record<string, unknown>;
  const text = (name: string): string =>
    typeof fields[name] === "string" ? fields[name].slice(0, TEXT_LENGTH_MAX) : "";
  return {
    moamesh: text("moamesh"),
    mesh: text("mesh"),
    device: text("device") || null,
    webBroker: text("web_broker"),
    hint: text("hint"),
  };
}
