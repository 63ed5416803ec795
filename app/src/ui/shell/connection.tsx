/** Whether the app is connected, and why if it is not. */
import type { VNode } from "preact";
import { useEngine } from "../engine";
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

/** What stands over the page while there is something to be done about the connection; null otherwise. */
export function ConnectionNotice(): VNode | null {
  const engine = useEngine();
  const link = engine.link.value;
  const detail = engine.linkDetail.value;
  if (link === "refused") {
    return (
      <p class="notice" data-tone="bad">
        The mesh does not let this app in: its secret was changed, or the user removed. <a href="#/settings">Pair again</a>
        {detail === "" ? "" : ` (${detail})`}
      </p>
    );
  }
  if (link !== "offline" || detail === "") return null;
  return (
    <p class="notice" data-tone="warn">
      {detail}
    </p>
  );
}
