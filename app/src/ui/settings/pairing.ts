/** Pairing by a link, with a question where this would replace a pairing: a link may come from anybody. */
import type { Engine } from "../../model";
import { parsePairing } from "../../engine/pairing";
import { ask } from "../shell/question";

const PREFIX = "#pair=";

/** Pairs; returns false if the user does not want to replace the pairing there is. Throws an Error for people. */
export async function pairWith(engine: Engine, text: string): Promise<boolean> {
  const now = engine.pairing.value;
  const next = parsePairing(text);
  const other =
    now !== null && (now.mesh !== next.mesh || now.user !== next.user || now.brokers[0] !== next.brokers[0]);
  if (other) {
    const words =
      `This app is paired with ${now.mesh} as ${now.user}. The link pairs it with ${next.mesh} as ${next.user}, ` +
      `over ${next.brokers.join(", ")}: your prompts go there then.`;
    if (!(await ask("Pair with another mesh?", words, "Pair"))) return false;
  }
  await engine.pair(text);
  return true;
}

/** Takes a pairing link out of the address bar and the history, where others could see it; null if there is none. */
export function takePairingLink(): string | null {
  if (!location.hash.startsWith(PREFIX)) return null;
  const text = location.hash;
  history.replaceState(null, "", `${location.pathname}${location.search}#/chat`);
  return text;
}
