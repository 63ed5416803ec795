/** What happens to the page: it sleeps, wakes, loses and finds its network. Outside of a page nothing ever does. */
export interface PageEvents {
  /** Visible again, restored, or the network is back. */
  onAwake(): void;
  /** About to be hidden, frozen or closed: the last chance to write. */
  onHide(): void;
}

/** Calls `events` from now on; returns what ends it. */
export function followPage({ onAwake, onHide }: PageEvents): () => void {
  if (typeof document === "undefined") return () => undefined;
  const onVisibility = (): void => (document.visibilityState === "visible" ? onAwake() : onHide());
  const pairs = [
    [document, "visibilitychange", onVisibility],
    [window, "online", onAwake],
    [window, "pageshow", onAwake],
    [window, "pagehide", onHide],
  ] as const;
  for (const [target, name, listener] of pairs) target.addEventListener(name, listener);
  return () => {
    for (const [target, name, listener] of pairs) target.removeEventListener(name, listener);
  };
}
