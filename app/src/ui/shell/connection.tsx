/** Whether the app is connected, and why if it is not. */
import type { VNode } from "preact";
import { useEngine } from "../engine";
import { useLasting } from "../media";
import { linkWords } from "../words";

export function ConnectionStatus(): VNode {
  const engine = useEngine();
  const { tone, title } = linkWords(engine.link.value);
  const detail = engine.linkDetail.value;
  return (
    <p class="connection" role="status" aria-label="Connection" data-link={engine.link.value} title={detail}>
      <span class="dot" data-tone={tone} aria-hidden="true" />
      {title}
    </p>
  );
}

const OFFLINE_SAID_AFTER_MS = 2_000; // most connections are back by then, and a line that comes and goes moves the page

/** What stands over the page while there is something to be said about the connection; null otherwise. */
export function ConnectionNotice(): VNode | null {
  const engine = useEngine();
  const link = engine.link.value;
  const detail = engine.linkDetail.value;
  const offline = useLasting(link === "offline", OFFLINE_SAID_AFTER_MS);
  if (link === "refused") {
    return (
      <p class="notice" data-tone="bad">
        The mesh does not let this app in: its secret was changed, or the user removed.{" "}
        <a href="#/settings">Pair again</a>
        {detail === "" ? "" : ` (${detail})`}
      </p>
    );
  }
  if (!offline) return null;
  return (
    <p class="notice" data-tone="warn" title={detail}>
      No connection to the mesh. Chats can be read, and prompts are sent when it is back.
    </p>
  );
}
